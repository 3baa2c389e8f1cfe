#!/usr/bin/python3
"""The standard measurements of Fanfare, on a stack of its own in build/bench-run that is always stopped and removed.

  bench/suite.py [--only PART] [--keep] [--full] [--posts-count N] [--verify-sample N] [--readers N]
                 [--programs DIR] [--dir DIR] [--higgs FILE] [--activity FILE] [--posts FILE] [--names FILE]

Shows live progress on stderr, prints a table, writes bench/out/results.json (with --only: bench/out/results-PART.json). Each figure has
its workload beside it. What it measures, how and how long it takes: docs/bench.md. Exit codes: 0 measured and every comparison with
the oracle without a difference, 1 not, 2 bad arguments.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "deploy"))
sys.path.insert(0, os.path.join(ROOT, "bench"))
from servers import Failure, save_json  # noqa: E402
from stack import Stack  # noqa: E402
import higgs  # noqa: E402

STANDARD_SECONDS = 600
DATA = os.path.join(os.path.dirname(ROOT), "shared", "data")
OUT = os.path.join(ROOT, "bench", "out")

# The limits of one user are not what is measured here; everything else is as shipped, but the same for all daemons.
OPTIONS = {"feedd.posts_per_s": "0", "feedd.reads_per_s": "0", "feedd.threads": "2", "timeline.cap": "800",
           "timeline.slack": "100", "timeline.lateness": "60s", "timeline.ttl": "7d"}

AIMS = {"fanout_ratio": (">=", 0.5), "reads_per_cpu_s": (">=", 6000), "publish_visible_p99_ms": ("<", 200),
        "higgs_import_seconds": ("<", 60), "demo_import_seconds": ("<", 10), "verify_differences": ("==", 0)}

UNITS = {"fanout_ratio": "", "read_ratio": "", "timeline_bytes_per_entry": "bytes", "verify_differences": "feeds"}


class Suite:
    """What the parts share: the stack, the figures so far, and running fanfare-bench."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = os.path.abspath(arguments.dir)
        self.stack = None
        self.results = {"made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "commit": commit()}
        self.details = {}
        self.skipped = {}
        self.failed = {}    # part -> what was wrong with what it found, or why it broke off
        self.broken = set()  # parts that broke off
        self.readers = arguments.readers

    def figure(self, name, value, workload):
        self.results[name] = value
        self.results[name + "_workload"] = workload

    def take(self, detail, *names, renamed=None):
        """Copies figures of a command's report, workload and all."""
        for name in names:
            if name in detail:
                self.figure((renamed or {}).get(name, name), detail[name], detail.get(name + "_workload", ""))

    def bench(self, part, *arguments, pids=(), timeout=300):
        """Runs a command of fanfare-bench on the stack; returns its report."""
        s = self.stack
        argv = [os.path.join(s.programs, "fanfare-bench"), "-c", s.config, "--url", s.url, *map(str, arguments)]
        for kind in pids:
            for p in processes(s, kind):
                argv += ["--pid", f"{kind}={p.pid}"]
        say(f"{' '.join(map(str, arguments))}")
        done = subprocess.run(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failure(f"fanfare-bench {' '.join(map(str, arguments))} failed (exit {done.returncode})")
        report = json.loads(done.stdout)
        self.details.setdefault(part, {})[str(arguments[0])] = report
        if report.get("status", {}).get("429"):
            self.failed[part] = "requests were refused by a user's rate limit, which the suite means to lift: the figures are worth nothing"
        return report

    def verify(self, part, name, *arguments, timeout=600):
        """fanfarectl verify; differences are a result, not a failure to run."""
        say(f"verify {' '.join(map(str, arguments))}")
        s = self.stack
        argv = [os.path.join(s.programs, "fanfarectl"), "-c", s.config, "--url", s.url, "verify", "--json", *map(str, arguments)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=timeout, check=False)
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        if done.returncode not in (0, 3) or not lines:
            raise Failure(f"fanfarectl verify {' '.join(map(str, arguments))} failed (exit {done.returncode})")
        for line in lines[:-1]:
            print(line, file=sys.stderr)
        report = json.loads(lines[-1])
        self.details.setdefault(part, {})[name] = report
        if report["differences"]:
            self.failed[part] = f"{name}: {report['differences']} differences from the oracle"
        return report

    def texts(self):
        return ("--posts", self.arguments.posts) if self.arguments.posts else ()

    def fanoutds(self):
        return [x for d in self.stack.fanoutd for x in ("--fanoutd", f"http://127.0.0.1:{d.port}")]

    def fresh_stack(self, **more):
        """A stack with nothing in it; the one before is stopped and removed."""
        self.remove()
        say("starting a stack")
        self.stack = Stack(self.folder, programs=self.arguments.programs, options=dict(OPTIONS, **more),
                           postgres_settings={"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"})
        self.stack.start()

    def remove(self):
        if self.stack:
            data = self.stack.postgres.data
            self.stack.stop()
            self.stack = None
            shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def processes(stack, kind):
    return {"feedd": stack.feedd, "fanoutd": stack.fanoutd, "redis": stack.redis, "memcached": stack.memcached,
            "postgres": [stack.postgres]}[kind]


SERVERS = ("feedd", "fanoutd", "redis", "memcached", "postgres")


# ---- The parts, in the order in which they run ----

def part_dataset(s):
    """100,000 readers, 5,000 authors with 400 followers each, 40 posts an author; all timelines made resident."""
    s.fresh_stack()
    s.bench("dataset", "dataset", "--readers", s.readers, "--authors", s.readers // 20, *s.texts())
    s.take(s.bench("dataset", "fill"), "timeline_bytes_per_entry")
    s.verify("dataset", "after fill", "--sample", 200)


def part_read(s):
    report = s.bench("read", "read", "--warm", "--seconds", 20, pids=SERVERS)
    s.take(report, "reads_per_cpu_s", "reads_per_s")


def part_empty(s):
    size = round(s.details["read"]["read"]["body_bytes"]) if "read" in s.details else 8000
    report = s.bench("empty", "empty", "--size", size, "--threads", OPTIONS["feedd.threads"], "--seconds", 8)
    s.take(report, "http_empty_per_cpu_s")
    if "reads_per_cpu_s" in s.results:
        s.figure("read_ratio", s.results["reads_per_cpu_s"] / report["http_empty_per_cpu_s"],
                 "reads_per_cpu_s / http_empty_per_cpu_s, bodies of the same size")


def part_visible(s):
    report = s.bench("visible", "visible", "--rate", 100, "--seconds", 15, *s.texts(), pids=SERVERS)
    s.take(report, "publish_visible_p50_ms", "publish_visible_p99_ms")


def part_fanout(s):
    report = s.bench("fanout", "publish", "--count", 10000, "--drain", *s.fanoutds(), *s.texts(), pids=SERVERS)
    s.take(report, "posts_per_s", "deliveries_per_cpu_s", "deliveries_per_s")
    if report["outbox_left"] or report["acknowledged_missing"]:
        s.failed["fanout"] = f"{report['outbox_left']} jobs not done, {report['acknowledged_missing']} acknowledged posts missing"
    checked = s.verify("fanout", "after the drain", "--sample", 500)
    s.figure("verify_differences", checked["differences"],
             f"{checked['feeds']} users drawn at random after all writes of the suite, first 800 of each feed against the oracle; "
             f"first pages from resident timelines: {checked['resident']}")


def part_raw_redis(s):
    first = s.details["fanout"]["publish"]["first_post_id"]
    report = s.bench("raw_redis", "raw-redis", "--since-id", first, "--slack", pids=("redis",))
    s.take(report, "redis_lpushx_per_cpu_s", "redis_lpushx_trimmed_per_cpu_s")
    s.figure("fanout_ratio", s.results["deliveries_per_cpu_s"] / report["redis_lpushx_per_cpu_s"],
             "deliveries_per_cpu_s (fanoutd + Redis + PostgreSQL) / redis_lpushx_per_cpu_s (Redis alone, same keys, same order, batches of "
             "1,000), right after each other on the same resident lists")
    s.stack.ctl("rebuild", "--all")


def part_raw_pg(s):
    report = s.bench("raw_pg", "raw-pg", "--seconds", 4, *s.texts(), pids=("postgres",))
    s.take(report, "pg_posts_per_s", "pg_posts_per_cpu_s", "pg_batched_posts_per_s", "pg_batched_posts_per_cpu_s")


def part_import(s):
    """The graphs that there are, into the same database."""
    demo = os.path.join(ROOT, "deploy", "demo", "github-mutual.tsv.gz")
    graphs = [("demo", demo, ["--mutual", "--prefix", "demo"]), ("higgs", s.arguments.higgs, ["--prefix", "higgs"])]
    if not s.stack:
        s.fresh_stack()
    for name, path, more in graphs:
        if not path or not os.path.exists(path):
            s.skipped[f"import of {name}"] = "no such file"
            continue
        report = s.bench(f"import_{name}", "load", path, *more)
        s.take(report, "import_seconds", "import_rows_per_s",
               renamed={"import_seconds": f"{name}_import_seconds", "import_rows_per_s": f"{name}_import_rows_per_s"})


# name -> (function, parts that must have run before)
PARTS = {
    "dataset": (part_dataset, ()),
    "read": (part_read, ("dataset",)),
    "empty": (part_empty, ()),
    "visible": (part_visible, ("dataset",)),
    "fanout": (part_fanout, ("dataset",)),
    "raw_redis": (part_raw_redis, ("dataset", "fanout")),
    "raw_pg": (part_raw_pg, ()),
    "import": (part_import, ()),
}


# ---- Running, showing, writing ----

def say(text):
    print(f"\n== {text}", file=sys.stderr, flush=True)


def machine():
    model, memory = "", 0
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="utf-8") as f:
        memory = int(f.readline().split()[1]) // 1024
    return {"cpus": len(os.sched_getaffinity(0)), "model": model, "memory_mb": memory, "kernel": platform.release()}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().strip() or None


def chosen(only):
    """The parts to run: all, or one with those it needs."""
    if not only:
        return list(PARTS)
    wanted = {only, *PARTS[only][1]}
    return [name for name in PARTS if name in wanted]


def met(name, value):
    sign, aim = AIMS[name]
    good = {"<": value < aim, ">=": value >= aim, "==": value == aim}[sign]
    return f"{'met' if good else 'MISSED'} (aim {sign} {aim:g})"


def print_table(suite):
    print(f"\n{'figure':34} {'value':>14}  unit     aim")
    for name, value in suite.results.items():
        if not isinstance(value, (int, float)) or name + "_workload" not in suite.results:
            continue
        unit = UNITS.get(name) if name in UNITS else "ms" if name.endswith("_ms") else "s" if name.endswith("_seconds") else "/s"
        print(f"{name:34} {value:14,.2f}  {unit:8} {met(name, value) if name in AIMS else ''}")
    for name, why in suite.skipped.items():
        print(f"skipped: {name}: {why}")
    for name, why in suite.failed.items():
        print(f"FAILED: {name}: {why}")


def write_results(suite, name):
    os.makedirs(OUT, exist_ok=True)
    path = os.path.join(OUT, name)
    save_json(path, dict(suite.results, skipped=suite.skipped, failed=suite.failed, details=suite.details))
    print(f"\nwritten: {os.path.relpath(path, os.getcwd())}")


def run_parts(suite, names, seconds):
    def too_long(*_):
        raise Failure(f"the suite took more than {seconds} s")
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    for name in names:
        began = time.monotonic()
        function, needs = PARTS[name]
        if suite.broken.intersection(needs):
            suite.skipped[name] = "what it needs broke off"
            suite.broken.add(name)
            continue
        if name in ("empty", "raw_pg") and not suite.stack:
            suite.fresh_stack()
        try:
            function(suite)
        except (Failure, subprocess.TimeoutExpired, KeyError) as e:
            suite.failed[name] = f"{type(e).__name__}: {e}"
            suite.broken.add(name)
            print(f"FAILED: {name}: {e}", file=sys.stderr)
            if "took more than" in str(e):
                break
        suite.details.setdefault(name, {})["wall_seconds"] = round(time.monotonic() - began, 1)
    signal.alarm(0)


def wait_for_interrupt(suite):
    s = suite.stack
    if not s:
        return
    print(f"\nthe stack stays up: -c {s.config} --url {s.url}; Ctrl-C stops and removes it", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", choices=[*PARTS, "higgs"], help="one part, with those it needs")
    p.add_argument("--keep", action="store_true", help="leave the stack up at the end, until Ctrl-C")
    p.add_argument("--full", action="store_true", help="the long runs on the Higgs graph as well")
    p.add_argument("--posts-count", type=int, default=50000, metavar="N", help="posts of each Higgs run (50000)")
    p.add_argument("--verify-sample", type=int, default=0, metavar="N", help="compare N feeds instead of all in the Higgs runs")
    p.add_argument("--readers", type=int, default=100000, metavar="N", help="size of the data set, for a quick try (100000)")
    p.add_argument("--dir", default=os.path.join(ROOT, "build", "bench-run"), help="folder of the stack (build/bench-run)")
    p.add_argument("--programs", default=os.path.join(ROOT, "bin"), help="where the programs are (bin)")
    for name, file in (("higgs", "higgs-graph.tsv.gz"), ("activity", "higgs-activity.tsv.gz"), ("posts", "posts.txt.gz"),
                       ("names", "names.txt.gz")):
        p.add_argument(f"--{name}", default=None, metavar="FILE", help=f"(../shared/data/{file} where it is there)")
        p.set_defaults(**{f"{name}_default": os.path.join(DATA, file)})
    a = p.parse_args()
    for name in ("higgs", "activity", "posts", "names"):
        given, default = getattr(a, name), getattr(a, f"{name}_default")
        if given and not os.path.exists(given):
            p.error(f"--{name}: there is no file {given}")
        setattr(a, name, given or (default if os.path.exists(default) else None))
    return a


def main():
    arguments = parse_arguments()
    suite = Suite(arguments)

    def interrupted(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    try:
        if arguments.only != "higgs":
            run_parts(suite, chosen(arguments.only), STANDARD_SECONDS)
            print_table(suite)
        if arguments.full or arguments.only == "higgs":
            higgs.run(suite, say)
        write_results(suite, f"results-{arguments.only}.json" if arguments.only else "results.json")
        if arguments.keep:
            wait_for_interrupt(suite)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 1
    except Failure as e:
        print(f"suite: {e}", file=sys.stderr)
        return 1
    finally:
        for signo in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signo, signal.SIG_IGN)
        suite.remove()
    return 1 if suite.failed else 0


if __name__ == "__main__":
    sys.exit(main())
