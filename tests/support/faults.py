"""
Faults for tests: failpoints by daemon, pauses whose beginning can be seen, servers killed and frozen, and a load of clients that retry
as they are told and remember what they were promised.
"""

import contextlib
import os
import random
import re
import signal
import socket
import threading
import time
import uuid

import requests

from servers import Failure, talk
from support.world import ROOT, World

# Faults are noticed, taken over and swept as fast as the options allow.
FAST_OPTIONS = {"feedd.threads": "1", "fanoutd.claim_idle": "1s", "fanoutd.sweep_age": "700ms", "queue.timeout": "500ms",
                "fanoutd.eject_after": "1500ms"}


def failpoints_of(*folders):
    """Failpoints in the source: {name: whether the code takes a failure path there (else it can only stop or wait)}"""
    found = {}
    for folder in folders:
        for where, _, files in os.walk(os.path.join(ROOT, folder)):
            for name in files:
                if name.endswith(".c") and name != "failpoint.c":
                    with open(os.path.join(where, name), encoding="utf-8") as f:
                        for only_stops, point in re.findall(r'(\(void\)\s*)?FAILPOINT\(\s*"([^"]+)"\s*\)', f.read()):
                            found[point] = found.get(point, False) or not only_stops
    return found


class FaultWorld(World):
    """A world in which each daemon has failpoints of its own."""

    def __init__(self, folder, options=None, **arguments):
        super().__init__(folder, options=dict(FAST_OPTIONS, **(options or {})), **arguments)
        self.forgiven = ""
        for daemon in self.stack.daemons:
            daemon.env["FANFARE_FAILPOINT_FILE"] = self.points_of(daemon)

    def points_of(self, daemon):
        return f"{self.failpoint_file}.{daemon.name}"

    def arm(self, failpoints, *daemons):
        """Arms these daemons (default: all), disarming what was armed in them before."""
        stack = getattr(self, "stack", None)  # not made yet when the base class begins
        for daemon in daemons or (stack.daemons if stack else ()):
            path = self.points_of(daemon)
            with open(path + ".new", "w", encoding="utf-8") as f:
                f.write(failpoints)
            os.replace(path + ".new", path)
        time.sleep(0.02)

    @property
    def fanoutd(self):
        return self.stack.fanoutd[0]

    # -- pauses ------------------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def paused_at(self, point, daemon, act=lambda: None, nth=1, must=True):
        """
        Runs act() until the daemon stands still at its nth hit of a failpoint; the body runs meanwhile. Yields whether it was reached
        (must: it has to be). Then the daemon goes on and act's thread is joined; what it raised is raised here.
        """
        hold = f"{self.failpoint_file}.hold"
        with open(hold, "w", encoding="utf-8"):
            pass
        before = set().union(*(sleepers(daemon) for _ in range(20)))
        self.arm(f"{point}=pause:{hold}@{nth}*1", daemon)
        raised = []

        def run():
            try:
                act()
            except Exception as e:  # pylint: disable=broad-except  (raised below)
                raised.append(e)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            end = time.monotonic() + (15 if must else 1.5)
            while not (reached := bool(sleepers(daemon) - before)) and time.monotonic() < end:
                time.sleep(0.001)
            assert reached or not must, f"{daemon.name} did not come to {point}"
            yield reached
        finally:
            os.unlink(hold)
            self.arm("", daemon)
            thread.join()
        if raised:
            raise raised[0]

    # -- servers -----------------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def frozen(self, *parts):
        """Parts stopped with SIGSTOP while the body runs."""
        for part in parts:
            part.send(signal.SIGSTOP)
        try:
            yield
        finally:
            for part in parts:
                part.send(signal.SIGCONT)

    def restart(self, part):
        """Starts a part that was killed. PostgreSQL may need a moment until the last of its old children is gone."""
        part.kill()
        end = time.monotonic() + 20
        while True:
            try:
                part.start()
                return
            except Failure:
                if part is not self.stack.postgres or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def flush(self, server):
        """Everything a cache node (or the queue) holds is lost."""
        if server in self.stack.redis:
            assert talk(server.address, b"FLUSHALL\r\n").startswith(b"+OK")
        else:
            assert talk(server.address, b"flush_all\r\n").startswith(b"OK")

    def wipe_caches(self):
        """Every slot of every tier begins anew, empty. What was in the caches by mistake is gone."""
        self.stack.register_nodes()
        time.sleep(2.2)  # the lease of the old table, and the embargo on fills that follows

    def settled(self, timeout=40):
        """Every node is back, the new table holds everywhere and may be filled, nothing is left to deliver or to apply."""
        self.until("nodes readmitted", lambda: self.sql("SELECT count(*) FROM cache_nodes WHERE state = 'ejected'") == "0", timeout)
        changed = "SELECT coalesce(extract(epoch FROM clock_timestamp() - max(changed_at)), 9) > 2.2 FROM cache_tiers"
        self.until("placement at rest", lambda: self.sql(changed) == "t", timeout)
        self.drained(timeout)

    def forgive(self):
        """A keeper lets a node that it saw ejected again and again back in later and later; a new one knows of none."""
        returned = self.sql("SELECT max(changed_at) FROM cache_nodes WHERE why = 'answers again'")
        if returned != self.forgiven:
            self.forgiven = returned
            for daemon in self.stack.fanoutd:
                daemon.kill()
            for daemon in self.stack.fanoutd:
                daemon.start()

    # -- comparing ---------------------------------------------------------------------------------------------------------------------

    def green(self, *arguments):
        """verify finds no difference; returns its output."""
        code, output = self.verify(*(arguments or ("--all",)))
        assert code == 0, f"verify: exit code {code}\n{output}"
        return output

    def red(self):
        code, output = self.verify("--all")
        assert code == 3, f"verify did not see the fault: exit code {code}\n{output}"
        return output

    def resident_again(self, depth=None):
        """Reads everything once, then all first pages (of at most `depth` posts) must come from resident timelines."""
        self.green()
        output = self.green("--all", *(("--depth", depth) if depth else ()))
        feeds, resident = int(re.search(r"(\d+) feeds", output)[1]), int(re.search(r"from resident +(\d+)", output)[1])
        assert resident == feeds, f"not all feeds became resident again:\n{output}"

    def same_as_oracle(self, *readers, depth=300):
        """What each feedd serves these readers is what the oracle says, in large pages and small."""
        for reader in readers:
            want = self.oracle(reader, depth)
            for feedd in range(len(self.stack.feedd)):
                client = self.client(reader.user_id, feedd=feedd)
                for limit in (200, 20, 3, 1):
                    got = client.feed(limit=limit, depth=min(depth, 10 * limit))
                    assert got == want[:len(got)] and len(got) >= min(len(want), 10 * limit), \
                        f"feed of {reader.user_id} from feedd {feedd} in pages of {limit}:\n{got[:30]}\noracle:\n{want[:30]}"


class Proxy:
    """
    Stands between the daemons and a cache node on a unix socket. While `swallow` is set, what the daemons send is thrown away and the
    connection closed, as when a network loses it: the node is well and answers nobody's question. It lets the first bytes of a new
    connection through when they are a short question (a health probe's), so that the node is not taken for dead.
    """

    def __init__(self, server, path):
        self.target = server.address[len("unix:"):]
        self.address = f"unix:{path}"
        self.swallow = False
        self.swallowed = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                for source, sink, question in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.pass_on, args=(source, sink, question), daemon=True).start()

    def pass_on(self, source, sink, question):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if question and self.swallow and len(data) > 40:
                    self.swallowed += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


def sleepers(daemon):
    """Threads of a daemon that sleep for a time, which in ours only a pause does."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for thread in os.listdir(f"/proc/{daemon.pid}/task"):
            with contextlib.suppress(OSError):
                with open(f"/proc/{daemon.pid}/task/{thread}/wchan", encoding="utf-8") as f:
                    if "nanosleep" in f.read():
                        found.add(int(thread))
    return found


def until_answer(call, status, timeout=30):
    """Repeats a call as its client would, while the server is away or asks to come back, until it answers with this status."""
    end = time.monotonic() + timeout
    while True:
        answer = None
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            answer = call()
        if answer is not None and answer.status_code == status:
            return answer
        assert answer is None or answer.status_code in (503, status), f"{answer.status_code} {answer.text}"
        assert answer is None or "Retry-After" in answer.headers, "503 without Retry-After"
        assert time.monotonic() < end, "the call was never answered"
        time.sleep(0.1)


class Load:
    """
    with Load(world, users) as load: faults; then load.check(). Publishers, readers, followers, deleters in threads, over all feedds. They
    hold the server to its word: no 5xx but 503 with Retry-After, and what a 204 hid is not shown to a later request.
    """

    def __init__(self, world, users, seed=1, may_disconnect=False, publishers=2, readers=3, rest_s=0.01):
        self.world = world
        self.users = [u.user_id for u in users]
        self.seed = seed
        self.may_disconnect = may_disconnect
        self.rest_s = rest_s
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.posts = {}    # id -> text, of every 201
        self.authors = {}  # id -> author
        self.deleted = set()
        self.pending = []  # (user, key, text) without an answer yet
        self.wrong = []
        self.statuses = {}
        self.slowest = (0, "")
        jobs = [self.publish] * publishers + [self.read] * readers + [self.relate, self.delete]
        self.threads = [threading.Thread(target=self.work, args=(job, seed * 100 + i)) for i, job in enumerate(jobs)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for t in self.threads:
            t.join()

    def work(self, job, seed):
        rng, session = random.Random(seed), requests.Session()
        session.trust_env = False
        while not self.stopping.is_set():
            try:
                job(rng, session)
            except Exception as e:  # pylint: disable=broad-except  (reported by check)
                self.wrong.append(f"{job.__name__}: {e!r}")
                return
            time.sleep(rng.random() * 2 * self.rest_s)

    def call(self, session, user, method, path, feedd=None, **arguments):
        """None: the connection was lost (and may be)."""
        stack = self.world.stack
        port = stack.feedd[random.randrange(len(stack.feedd)) if feedd is None else feedd].port
        headers = {"Authorization": f"Bearer {stack.token(user)}", **arguments.pop("headers", {})}
        began = time.monotonic()
        try:
            answer = session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, timeout=20, **arguments)
        except (requests.ConnectionError, requests.Timeout) as e:
            if not self.may_disconnect:
                self.wrong.append(f"{method} {path}: {e!r}")
            session.close()
            return None
        took = time.monotonic() - began
        with self.lock:
            self.slowest = max(self.slowest, (took, f"{method} {path} {answer.status_code}"))
            self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        if answer.status_code == 503:
            if "Retry-After" not in answer.headers:
                self.wrong.append(f"{method} {path}: 503 without Retry-After")
        elif answer.status_code >= 500 or answer.status_code == 429:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer

    def send_post(self, session, user, key, text):
        answer = self.call(session, user, "POST", "/v1/me/feed", json={"text": text}, headers={"Idempotency-Key": key})
        if answer is None or answer.status_code == 503:
            return False
        if answer.status_code != 201:
            self.wrong.append(f"publish: {answer.status_code} {answer.text[:200]}")
            return True
        with self.lock:
            if self.posts.setdefault(answer.json()["id"], text) != text:
                self.wrong.append(f"post {answer.json()['id']} was answered to two keys")
            self.authors[answer.json()["id"]] = user
        return True

    def publish(self, rng, session):
        user, key = rng.choice(self.users), str(uuid.UUID(int=rng.getrandbits(128)))
        text = f"load {key}"
        while not self.send_post(session, user, key, text):
            if self.stopping.is_set():
                with self.lock:
                    self.pending.append((user, key, text))
                return
            time.sleep(0.1)

    def read(self, rng, session):
        limit = rng.choice((1, 5, 20, 100))
        answer = self.call(session, rng.choice(self.users), "GET", f"/v1/me/feed?limit={limit}")
        if answer is None or answer.status_code == 503:
            time.sleep(0.05)
            return
        ids = [int(item["id"]) for item in answer.json()["items"]]
        if ids != sorted(set(ids), reverse=True):
            self.wrong.append(f"a page out of order or with duplicates: {ids}")

    def relate(self, rng, session):
        user, other = rng.sample(self.users, 2)
        self.call(session, user, rng.choice(("PUT", "DELETE")), f"/v1/me/following/{other}")

    def delete(self, rng, session):
        time.sleep(self.rest_s * 5)
        with self.lock:
            left = [p for p in self.authors if p not in self.deleted]
        if not left:
            return
        post = rng.choice(left)
        author = self.authors[post]
        answer = self.call(session, author, "DELETE", f"/v1/posts/{post}")
        if answer is None or answer.status_code == 503:
            return  # may have happened: the oracle knows
        with self.lock:
            self.deleted.add(post)
        for feedd in range(len(self.world.stack.feedd)):
            seen = self.call(session, author, "GET", f"/v1/posts/{post}", feedd=feedd)
            if seen is not None and seen.status_code not in (404, 503):
                self.wrong.append(f"post {post} was deleted (204) and then served by feedd {feedd}: {seen.status_code}")

    def finish(self):
        """Publishes what had no answer when the load stopped."""
        session = requests.Session()
        for user, key, text in self.pending:
            end = time.monotonic() + 30
            while not self.send_post(session, user, key, text):
                assert time.monotonic() < end, "a post never got its answer"
                time.sleep(0.1)
        self.pending = []

    def check(self, depth=None):
        """After the faults: heals, drains, compares. Every 201 is there once; every feed equals the oracle; all are resident again."""
        world = self.world
        world.heal()
        world.settled()
        self.finish()
        world.settled()
        assert not self.wrong, "\n".join(self.wrong[:20])
        rows = [line.split("|") for line in world.sql("SELECT id, text FROM posts WHERE text LIKE 'load %'").splitlines()]
        stored = dict(rows)
        assert len(set(stored.values())) == len(stored), "an Idempotency-Key made two posts"
        missing = {post: text for post, text in self.posts.items() if stored.get(post) != text}
        assert not missing, f"answered 201 and not there: {missing}"
        assert len(self.posts) > 20, f"the load hardly published: {self.statuses}"
        world.resident_again(depth)


def crowd(world, count, follows=8, seed=7):
    """Users who follow one another at random."""
    rng, users = random.Random(seed), world.users(count)
    edges = [(u.user_id, other) for u in users for other in rng.sample([o.user_id for o in users if o is not u], follows)]
    for i in range(0, len(edges), 1000):  # as many as a command line holds
        followers, followees = zip(*edges[i:i + 1000])
        world.sql(f"SELECT follow(a, b) FROM unnest(ARRAY{list(followers)}::bigint[], ARRAY{list(followees)}::bigint[]) AS edge (a, b)")
    world.sql("DELETE FROM invalidations")  # nobody has read anything yet: there is nothing to invalidate
    return users
