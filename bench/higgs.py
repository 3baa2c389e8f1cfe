"""The long runs of bench/suite.py on the Higgs graph: a flash crowd replayed as fast as it is taken, in peace and under faults.

  import, 1,500 earlier posts for each author with over 1,000 followers, every active user's feed read once (resident)
  -> posts of the trace as fast as taken while active users read -> drain -> verify all (warm) -> rebuild --all -> verify all (cold)
  -> the same posts again with faults -> drain -> verify all

Faults, until the last post is fanned out: kill -9 of fanoutd every few seconds; beside that, in turn, FLUSHALL of each Redis, one
memcached killed, the other stopped for 10 s, feedd restarted.
"""

import os
import signal
import subprocess
import threading
import time

from servers import Failure

ALLOWED = ("200", "201", "429", "503")
WHOLE_TRACE_FROM = 50000  # posts; fewer are a short try
TRY_SECONDS = 25
KILL_EVERY = 3  # seconds between two kills of fanoutd
TURN = 18  # seconds of the timetable of faults


class Faults:
    """Does harm by a timetable until `over` is set and the whole turn is done; then everything runs. On the main thread: a child that
    another thread starts would end with that thread (see die_with_parent)."""

    def __init__(self, stack):
        self.stack = stack
        self.began = time.monotonic()
        self.log = []

    def note(self, what):
        self.log.append(f"{time.monotonic() - self.began:.1f} s: {what}")

    def restart(self, daemons, end):
        for d in daemons:
            end(d)
            d.start()

    def timetable(self):
        """One turn: (second, what, action). One memcached is dead while the other is stopped and feedd is restarted."""
        s = self.stack
        killed, stopped = s.memcached[:2]
        first, last = s.redis[0], s.redis[-1]
        table = [(1, f"FLUSHALL of {last.name}", lambda: last.command(b"FLUSHALL\r\n")),
                 (1, f"{killed.name} killed", killed.kill),
                 (3, f"{stopped.name} stopped", lambda: stopped.send(signal.SIGSTOP)),
                 (7, "feedd restarted", lambda: self.restart(s.feedd, lambda d: d.stop())),
                 (8, f"FLUSHALL of {first.name}", lambda: first.command(b"FLUSHALL\r\n")),
                 (13, f"{stopped.name} goes on", lambda: stopped.send(signal.SIGCONT)),
                 (16, f"{killed.name} started", killed.start)]
        table += [(t, "fanoutd killed and started", lambda: self.restart(s.fanoutd, lambda d: d.kill()))
                  for t in range(KILL_EVERY, TURN, KILL_EVERY)]
        return sorted(table, key=lambda row: row[0])

    def run(self, over):
        while True:
            turn = time.monotonic()
            for at, what, action in self.timetable():
                time.sleep(max(0, turn + at - time.monotonic()))
                action()
                self.note(what)
            if over.wait(max(0, turn + TURN - time.monotonic())):
                return


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


def replay(suite, part, name, *more):
    a = suite.arguments
    report = suite.bench(part, "feed", "--prefix", "higgs", "--activity", a.activity, "--count", a.posts_count, "--drain",
                         *active_rows(suite), *suite.fanoutds(), *suite.texts(), *more, timeout=7200)
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
    # A short try is paced, so that the faults find it at work.
    count = suite.arguments.posts_count
    pace = ["--rate", count / TRY_SECONDS, "--reads-per-post", 5] if count < WHOLE_TRACE_FROM else []
    over, problem = threading.Event(), []

    def posts():
        try:
            replay(suite, "higgs_faults", "higgs_faults", *pace)
        except (Failure, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as e:
            problem.append(e)
        finally:
            over.set()

    faults = Faults(suite.stack)
    thread = threading.Thread(target=posts, daemon=True)
    thread.start()
    try:
        faults.run(over)
    finally:
        suite.details.setdefault("higgs_faults", {})["fault_log"] = faults.log
    thread.join()
    if problem:
        raise problem[0]
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
        except (Failure, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as e:
            suite.failed[name] = f"{type(e).__name__}: {e}"
            say(f"FAILED: {name}: {e}")
            return
        finally:
            suite.details.setdefault(name, {})["wall_seconds"] = round(time.monotonic() - began, 1)
