#!/usr/bin/python3
"""Makes docs/options.md (from what the programs say with --help-options) and docs/metrics.md (from the families in the source and a
hand-written column here).

usage: docs/generate_reference.py [--check] [--bin DIR] [--live URL]...

  --check     writes nothing, exits 1 when a page is not what it would write
  --bin DIR   where feedd and fanoutd are (default: bin)
  --live URL  also holds the page against what a running daemon serves at URL/metrics: names, kinds, help, label names

Exit codes: 0 as it should be, 1 a page or a family differs, 2 bad arguments or no programs.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
OPTIONS_PAGE = ROOT / "docs" / "options.md"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
DAEMONS = ("feedd", "fanoutd")
KINDS = {"METRIC_COUNTER": "counter", "METRIC_COUNTER_SECONDS": "counter", "METRIC_GAUGE": "gauge", "METRIC_HISTOGRAM": "histogram"}

# family -> (label names, what an operator makes of it). Every family of the source must be here and nothing else.
NOTES = {
    "fanfare_build_info": ("version", "Two versions at once outside an upgrade: a daemon was forgotten."),
    "process_cpu_seconds_total": ("", "Rate near the number of threads: add daemons."),
    "process_resident_memory_bytes": ("", "Growth that does not end under steady load is a bug."),
    "process_open_fds": ("", "Alert at 80 % of `process_max_fds`."),
    "process_max_fds": ("", ""),
    "process_start_time_seconds": ("", "Changes without a deployment: the daemon was restarted; look into its log."),
    "fanfare_cache_requests_total": ("tier, result", "`failed` or `no_lease` rising for more than 5 s: a node or PostgreSQL is ill. Share of "
                                     "`hit` + `absent` falling: memory is short, or a tier was emptied."),
    "fanfare_cache_fills_total": ("tier, result", "`refused` is normal where objects are written while they are read."),
    "fanfare_cache_deletes_total": ("tier, result", "`failed`: the node is about to be ejected."),
    "fanfare_node_suspicions_total": ("tier, node", "A few are noise. A steady rate without ejections: the node answers PING and refuses work "
                                      "(full, or out of connections)."),
    "fanfare_node_ejections_total": ("tier, node", "Any: look at the node. Together with readmissions again and again: take it out."),
    "fanfare_node_readmissions_total": ("tier, node", "Only the keeper counts here."),
    "fanfare_invalidations_total": ("result", "`busy`: callers got 503 and hidden things may show until the sweeper has come by: alert. "
                                    "`swept` (keeper): a feedd died or gave up between commit and delete."),
    "fanfare_invalidation_ejections_total": ("", "Any: as `fanfare_node_ejections_total`, which does not count these."),
    "fanfare_fanout_jobs_total": ("result", "`retried` rising for minutes: PostgreSQL or a node refuses. `invalid`: something else writes to "
                                  "the queue, or versions do not match. `gone`, `duplicate`: a job that was queued twice, harmless."),
    "fanfare_fanout_deliveries_total": ("result", "`cold` is work for nothing: much of it is the price of users who left "
                                        "(docs/design/0003-cold-followers.md). `late` and `dropped` rising: deliveries are behind. `refused`: see node "
                                        "suspicions. `unplaced`: a tier without any live node."),
    "fanfare_fanout_rounds_total": ("", "Standing still while the backlog is not 0: fanoutd is stuck; look into its log."),
    "fanfare_fanout_trims_total": ("", ""),
    "fanfare_fanout_lag_seconds": ("", "The promise to readers. Alert on the 99th percentile, e.g. over 5 s for a minute."),
    "fanfare_fanout_held": ("", "Near `fanoutd.held_max` x workers: this process is behind."),
    "fanfare_fanout_backlog": ("", "Rising for a minute: add fanoutd, or find what holds it up."),
    "fanfare_outbox_swept_total": ("", "Rises after the queue was lost; else: feedd could not reach the queue."),
    "fanfare_idempotency_keys_expired_total": ("", "Keeper only. Keys live for a day."),
    "fanfare_keeper": ("", "The sum over all fanoutd must be 1. 0 for 10 s: nobody sweeps and nobody readmits nodes: alert."),
    "fanfare_http_requests_total": ("route, status", "Share of 5xx; 503 always has a code in its body. 500: a bug, with a line in the log. "
                                    "route=\"none\": errors before a route was known."),
    "fanfare_http_request_seconds": ("route", "Alert on the 99th percentile of `GET /v1/me/feed`."),
    "fanfare_http_abandoned_total": ("", "Clients give up before we answer: compare their time limit with request_deadline."),
    "fanfare_ratelimited_total": ("kind", "`posts`, `reads`: by user; `sign_in`: by client address; `handle`: log-ins by handle. Rising: a "
                                  "backend without back-off, or somebody guessing passwords."),
    "fanfare_feed_source_total": ("source", "Share of `resident` is the worth of the timeline tier; below 90 % in a warm system: memory is "
                                  "short, or `timeline.ttl` is. `rebuild` and `database` cost PostgreSQL."),
    "fanfare_rebuilds_total": ("", "A burst after a node was lost is right; it is bounded by feedd.heavy_connections."),
    "fanfare_publish_batches_total": ("", "Posts a batch (the next family by this one): how well commits are shared."),
    "fanfare_publish_batch_posts_total": ("", ""),
    "fanfare_publish_statement_seconds": ("", "The commit time of PostgreSQL as publishers feel it."),
    "fanfare_publish_retried_alone_total": ("", "Rising: some post makes statements fail; its request has a line in the log."),
    "fanfare_publish_refused_total": ("", "Alert on any: publishers are told to come back."),
    "fanfare_publish_queue_failed_total": ("", "The queue's Redis did not take jobs; they are some 5 s late, not lost."),
    "fanfare_backlog_jobs": ("in", "Alert at half of feedd.backlog_max. `outbox` far above `queue` for more than 10 s: the queue was lost."),
    "fanfare_overloaded": ("", "Alert on 1."),
}


def families():
    """name -> (kind, help, where it is served), from the family tables in the source."""
    text_of = re.compile(r'"((?:[^"\\]|\\.)*)"')
    family = re.compile(r'\{\s*"((?:fanfare|process)_\w+)"\s*,\s*(METRIC_\w+)\s*,\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\}')
    found = {}
    for folder in ("common/service", "common/store", "common/sys", *DAEMONS):
        for path in sorted((ROOT / folder).glob("*.c")):
            for m in family.finditer(path.read_text(encoding="utf-8")):
                text = "".join(text_of.findall(m[3])).replace('\\"', '"')
                where = folder if folder in DAEMONS else " and ".join(DAEMONS)
                if found.setdefault(m[1], (KINDS[m[2]], text, where)) != (KINDS[m[2]], text, where):
                    sys.exit(f"{m[1]} is declared twice, differently")
    return found


def cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def metrics_page(found):
    problems = [f"{name}: no note in docs/generate_reference.py" for name in found if name not in NOTES]
    problems += [f"{name}: a note, but no such family in the source" for name in NOTES if name not in found]
    lines = ["# Metrics", "",
             "Made by docs/generate_reference.py from the source; do not edit. Prometheus text format at `/metrics` of every daemon. Histograms are of",
             "seconds, with buckets from 100 us to 10 s. Counters start at 0 with the process. What to do when one moves is in",
             "[operations.md](operations.md)."]
    for title, where in [("Every daemon", " and ".join(DAEMONS))] + [(d, d) for d in DAEMONS]:
        lines += ["", f"## {title}", "", "| family | kind | labels | what it counts | what to make of it |", "|---|---|---|---|---|"]
        for name, (kind, text, served) in found.items():
            if served == where:
                labels, note = NOTES.get(name, ("", ""))
                labels = ", ".join(f"`{x}`" for x in labels.split(", ") if x)
                lines.append(f"| `{name}` | {kind} | {labels} | {cell(text)} | {cell(note)} |")
    return "\n".join(lines) + "\n", problems


def sections(programs, daemon):
    """[(section, table)] as the program prints them."""
    program = programs / daemon
    if not program.exists():
        print(f"{program} is missing: build it first, or name its folder with --bin", file=sys.stderr)
        sys.exit(2)
    text = subprocess.run([program, "--help-options"], stdout=subprocess.PIPE, check=True).stdout.decode()
    parts = re.split(r"^### \[(\w+)\]\n", text, flags=re.M)
    return list(zip(parts[1::2], (p.strip() for p in parts[2::2])))


def options_page(programs):
    lines = ["# Options", "",
             "Made by docs/generate_reference.py from what the programs say (`feedd --help-options`); do not edit.", "",
             "One INI file can serve every program: each reads the sections it knows and leaves the others alone. An unknown name in a known section,",
             "a value out of range and a missing required option end the program with exit code 2 and a line that says what would be right. Stronger",
             "than the file is the environment (`FANFARE_SECTION_NAME`, such as `FANFARE_FEEDD_PORT`), stronger than that `--set section.name=value`.",
             "`--check` checks, `--print-config` shows what is in force (no secrets). \"reload\": SIGHUP puts a change in force; the others need a restart."]
    tables = {}
    for daemon in DAEMONS:
        for section, table in sections(programs, daemon):
            tables.setdefault((section, table), []).append(daemon)
    for (section, table), readers in tables.items():
        lines += ["", f"## [{section}]", "", f"Read by {' and '.join(readers)}.", "", table]
    return "\n".join(lines) + "\n"


def check_live(url, found):
    """Problems of what a running daemon serves, against source and notes."""
    with urllib.request.urlopen(url.rstrip("/") + "/metrics", timeout=5) as r:
        text = r.read().decode()
    problems, kinds, helps = [], {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kinds[name] = line.split(" ", 3)
        elif line.startswith("# HELP "):
            _, _, name, helps[name] = line.split(" ", 3)
        elif line:
            name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()
            base = name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name)
            names = [n for n in re.findall(r'(\w+)="', labels or "") if n != "le"]
            want = [n for n in NOTES.get(base, ("",))[0].split(", ") if n]
            if names != want:
                problems.append(f"{url}: {base} has labels {names}, the page says {want}")
    for name in kinds:
        if name not in found:
            problems.append(f"{url}: {name} is not in the source's tables")
        elif (kinds[name], helps.get(name, "").replace("\\n", "\n").replace("\\\\", "\\")) != found[name][:2]:
            problems.append(f"{url}: {name} is a {kinds[name]}, \"{helps.get(name)}\"; the source says {found[name][:2]}")
    return sorted(set(problems))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "bin")
    parser.add_argument("--live", action="append", default=[], metavar="URL")
    arguments = parser.parse_args()
    found = families()
    page, problems = metrics_page(found)
    for path, text in ((METRICS_PAGE, page), (OPTIONS_PAGE, options_page(arguments.bin))):
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            problems.append(f"{path.relative_to(ROOT)} is not what the programs say: run docs/generate_reference.py")
    for url in arguments.live:
        problems += check_live(url, found)
    for p in problems:
        print(p, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
