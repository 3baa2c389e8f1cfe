"""The long runs of bench/suite.py on the Higgs graph: a flash crowd replayed as fast as it is taken, in peace and under faults.

  import, 1,500 earlier posts for each author with over 1,000 followers, every active user's feed read once (resident)
  -> posts of the trace as fast as taken while active users read -> drain -> verify all (warm) -> rebuild --all -> verify all (cold)
  -> the same posts again with faults -> drain -> verify all

Faults, in a cycle until the last post is taken: kill -9 of fanoutd every few seconds, FLUSHALL of a Redis, one memcached killed,
the other stopped for 10 s, feedd restarted.
"""

import os
import signal
import threading
import time

from servers import Failure

ALLOWED = ("200", "201", "429", "503")
WHOLE_TRACE_FROM = 50000  # posts
KILL_EVERY = 4  # seconds between two kills of fanoutd


class Faults(threading.Thread):
    """Does harm until told to end; leaves everything running. What it did and what failed to come back is in `log`."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.stack = stack
        self.ending = threading.Event()
        self.began = time.monotonic()
        self.log = []
        self.problem = None

    def note(self, what):
        self.log.append(f"{time.monotonic() - self.began:.1f} s: {what}")

    def pause(self, seconds):
        return self.ending.wait(seconds)

    def kill_fanoutd(self):
        for d in self.stack.fanoutd:
            d.kill()
            d.start()
        self.note("fanoutd killed and started")

    def flush_redis(self):
        node = self.stack.redis[len(self.log) % len(self.stack.redis)]
        node.command(b"FLUSHALL\r\n")
        self.note(f"FLUSHALL of {node.name}")

    def kill_memcached(self):
        node = self.stack.memcached[0]
        node.kill()
        self.note(f"{node.name} killed")
        self.pause(6)
        node.start()
        self.note(f"{node.name} started")

    def stop_memcached(self):
        node = self.stack.memcached[1]
        node.send(signal.SIGSTOP)
        self.note(f"{node.name} stopped")
        self.pause(10)
        node.send(signal.SIGCONT)
        self.note(f"{node.name} goes on")

    def restart_feedd(self):
        for d in self.stack.feedd:
            d.stop()
            d.start()
        self.note("feedd restarted")

    def run(self):
        others = [self.flush_redis, self.kill_memcached, self.stop_memcached, self.restart_feedd]
        turn = 0
        try:
            while not self.pause(KILL_EVERY):
                self.kill_fanoutd()
                if turn % 2 == 0:
                    others[turn // 2 % len(others)]()
                turn += 1
        except Failure as e:
            self.problem = str(e)

    def end(self):
        self.ending.set()
        self.join(60)


def check_answers(suite, part, report):
    """No status but the promised ones, each 503 with Retry-After, every 201 present once."""
    wrong = {}
    for side in ("publish", "read"):
        for status, count in report[side]["status"].items():
            if status not in ALLOWED:
                wrong[f"{side} {status}"] = count
        if report[side]["status_503_without_retry_after"]:
            wrong[f"{side} 503 without Retry-After"] = report[side]["status_503_without_retry_after"]
        if report[side]["given_up"]:
            wrong[f"{side} given up"] = report[side]["given_up"]
    for name in ("acknowledged_missing", "acknowledged_twice", "outbox_left"):
        if report[name]:
            wrong[name] = report[name]
    if wrong:
        suite.failed[part] = "; ".join(f"{k}: {v}" for k, v in wrong.items())


def verify_all(suite, part, name):
    a = suite.arguments
    which = ["--sample", a.verify_sample] if a.verify_sample else ["--all"]
    deep = min(1000, a.verify_sample) if a.verify_sample else 1000
    report = suite.verify(part, name, *which, "--deep", deep, timeout=7200)
    suite.figure(f"higgs_{name}_differences", report["differences"],
                 f"{report['feeds']} feeds, first 800 of each, and {report['deep_feeds']} page by page to the end, against the oracle; "
                 f"first pages from resident timelines {report['resident']}, rebuilds {report['rebuild']}, database {report['database']}")
    return report


def verify_active(suite, part, ids):
    report = suite.verify(part, "active users", "--users", ids, "--depth", 20, timeout=3600)
    share = report["resident"] / report["feeds"] if report["feeds"] else 0
    suite.figure("higgs_resident_share", share, f"{report['feeds']} active users (those in the trace), first pages served from resident "
                 "timelines, after the drain")
    if share < 0.9:
        suite.failed[part + " residence"] = f"only {100 * share:.1f} % of the active users' feeds came from resident timelines"


def active_rows(suite):
    """Active are the people of the whole trace; in a short try those of the rows that are replayed."""
    count = suite.arguments.posts_count
    return ["--activity-rows", count] if count < WHOLE_TRACE_FROM else []


def replay(suite, part, name):
    a = suite.arguments
    report = suite.bench(part, "feed", "--prefix", "higgs", "--activity", a.activity, "--count", a.posts_count, "--drain",
                         *active_rows(suite), *suite.fanoutds(), *suite.texts(), timeout=7200)
    suite.take(report, "posts_per_s", "reads_per_s", renamed={"posts_per_s": f"{name}_posts_per_s", "reads_per_s": f"{name}_reads_per_s"})
    check_answers(suite, part, report)
    return report


def prepare(suite):
    a = suite.arguments
    suite.fresh_stack()
    names = ["--names", a.names] if a.names else []
    report = suite.bench("higgs", "load", a.higgs, "--prefix", "higgs", *names)
    suite.take(report, "import_seconds", renamed={"import_seconds": "higgs_import_seconds"})
    suite.bench("higgs", "history", "--prefix", "higgs", *suite.texts())
    ids = os.path.join(suite.stack.folder, "active-users")
    suite.bench("higgs", "read", "--prefix", "higgs", "--activity", a.activity, *active_rows(suite), "--once", "--ids-to", ids,
                timeout=1800)
    return ids


def peaceful(suite):
    ids = prepare(suite)
    replay(suite, "higgs", "higgs")
    verify_active(suite, "higgs", ids)
    verify_all(suite, "higgs", "warm")
    suite.stack.ctl("rebuild", "--all")
    verify_all(suite, "higgs", "cold")


def faulty(suite):
    faults = Faults(suite.stack)
    faults.start()
    try:
        replay(suite, "higgs_faults", "higgs_faults")
    finally:
        faults.end()
        suite.details.setdefault("higgs_faults", {})["faults"] = faults.log
    if faults.problem:
        suite.failed["higgs_faults"] = faults.problem
    verify_all(suite, "higgs_faults", "faults")


def run(suite, say):
    a = suite.arguments
    if not a.higgs or not a.activity:
        suite.skipped["higgs"] = "no Higgs graph or activity trace"
        return
    for name, function in (("higgs", peaceful), ("higgs_faults", faulty)):
        began = time.monotonic()
        say(f"{name}: {a.posts_count} posts")
        try:
            function(suite)
        except (Failure, OSError, KeyError, ValueError) as e:
            suite.failed[name] = f"{type(e).__name__}: {e}"
            say(f"FAILED: {name}: {e}")
            return
        finally:
            suite.details.setdefault(name, {})["wall_seconds"] = round(time.monotonic() - began, 1)
