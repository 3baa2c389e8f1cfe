"""A Fanfare of one's own, as tests see it: users by name, HTTP calls checked against the contract, the oracle, and faults."""

import os
import random
import subprocess
import time

from stack import Stack
from support.client import Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Cheap passwords, no rate limits; what a test is about it sets itself.
TEST_OPTIONS = {"feedd.argon2_ops": "1", "feedd.argon2_memory": "1M", "feedd.posts_per_s": "0", "feedd.reads_per_s": "0",
                "feedd.sign_ins_per_s": "0"}
SANITIZER_REPORTS = ("AddressSanitizer", "runtime error:", "ThreadSanitizer", "LeakSanitizer")


class World:
    def __init__(self, folder, options=None, **arguments):
        programs = os.environ.get("FANFARE_BIN") or os.path.join(ROOT, "build", "release-failpoints", "bin")
        self.failpoint_file = os.path.join(folder, "failpoints")
        self.arm("")
        self.stack = Stack(folder, programs=programs, options=dict(TEST_OPTIONS, **(options or {})),
                           postgres_settings={"fsync": "off", "shared_buffers": "128MB"},
                           env={"FANFARE_FAILPOINT_FILE": self.failpoint_file}, **arguments)
        self.folder = folder
        self.count = 0
        self.somebody = None

    # -- life ------------------------------------------------------------------------------------------------------------------------

    def start(self):
        self.stack.start()

    def stop(self):
        """Stops everything; returns what the daemons' logs say that no daemon should say."""
        self.arm("")
        self.stack.stop()
        return self.complaints()

    def complaints(self):
        found = []
        for daemon in self.stack.daemons:
            try:
                with open(daemon.log, encoding="utf-8", errors="replace") as f:
                    text = f.read()
            except FileNotFoundError:
                continue
            for report in SANITIZER_REPORTS:
                if report in text:
                    at = text.index(report)
                    found.append(f"{daemon.name}: {text[max(0, at - 200):at + 3000]}")
                    break
        return found

    def heal(self):
        """Everything up, nothing armed."""
        self.arm("")
        for part in self.stack.servers + self.stack.daemons:
            if not part.alive():
                part.kill()
                part.start()
            else:
                part.send(18)  # SIGCONT

    def arm(self, failpoints):
        """Arms failpoints in every daemon of this world: "name=action;name=action", "" disarms all."""
        with open(self.failpoint_file + ".new", "w", encoding="utf-8") as f:
            f.write(failpoints)
        os.replace(self.failpoint_file + ".new", self.failpoint_file)
        time.sleep(0.02)

    # -- people and calls ------------------------------------------------------------------------------------------------------------

    @property
    def url(self):
        return self.stack.url

    def client(self, user_id=None, token=None, feedd=0, check=True):
        """An HTTP client; with a user id it carries a token of that user."""
        url = f"http://127.0.0.1:{self.stack.feedd[feedd].port}"
        return Client(url, token or (self.stack.token(user_id) if user_id else None), check=check, user_id=user_id)

    def user(self, name="Someone"):
        """A new user, made in the database as sign-up does; returns a client that speaks for him."""
        self.count += 1
        handle = f"t{os.getpid() % 1000}_{self.count}_{random.randrange(10**6)}"
        made = self.sql(f"SELECT user_id FROM sign_up('{handle}', '{name}', NULL, NULL)")
        return self.client(int(made))

    def users(self, n):
        stem = f"t{os.getpid() % 1000}_{self.count}_{random.randrange(10**6)}"
        self.count += 1
        made = self.sql(f"SELECT s.user_id FROM generate_series(1, {n}) AS i, sign_up('{stem}_' || i, 'Someone', NULL, NULL) AS s ORDER BY i")
        return [self.client(int(made_id)) for made_id in made.split()]

    def sql(self, statement):
        return self.stack.postgres.psql(statement)

    def old_posts(self, author, count, age_s=3600, every_ms=1000):
        """Posts of a while ago, straight into the tables and without a fan-out job: for users whose followers' timelines are cold. Ids, newest first."""
        author_id = getattr(author, "user_id", author)
        made = self.sql(
            f"WITH made AS (SELECT (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1704067200000 - {age_s * 1000} - i * {every_ms}) << 22)"
            f" | (shard_of({author_id})::bigint << 12) | (i & 4095) AS id, i FROM generate_series(0, {count - 1}) AS i) "
            f"INSERT INTO posts (shard, id, author_id, text) SELECT shard_of({author_id}), id, {author_id}, 'post ' || i FROM made RETURNING id")
        return sorted(made.split(), key=int, reverse=True)

    def strangers(self, n):
        """Ids of n new users, for lists and edges; nobody speaks for them."""
        stem = f"s{os.getpid() % 1000}_{self.count}_{random.randrange(10**6)}"
        self.count += 1
        made = self.sql(f"SELECT s.user_id FROM generate_series(1, {n}) AS i, sign_up('{stem}_' || i, 'Stranger', NULL, NULL) AS s")
        return [int(i) for i in made.split()]

    def ctl(self, *arguments, timeout=120, env=None):
        """Runs fanfarectl with this world's options; returns (exit code, standard output, standard error)."""
        done = subprocess.run([os.path.join(self.stack.programs, "fanfarectl"), *map(str, arguments)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False, cwd=self.folder,
                              env=dict(os.environ, FANFARE_CONFIG=self.stack.config, FANFARE_URL=self.url, **(env or {})))
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def make_cold(self, user):
        """The user's timeline is not resident any more: a follow, even of somebody who is followed already, deletes it."""
        if not self.somebody:
            self.somebody = self.strangers(1)[0]
        self.client(getattr(user, "user_id", user)).done("PUT", f"/v1/me/following/{self.somebody}")

    def oracle(self, user, depth=1000):
        """Post ids of a user's feed as the SQL oracle has them."""
        user_id = getattr(user, "user_id", user)
        rows = self.sql(f"SELECT post_id FROM oracle_feed(ARRAY[{user_id}]::bigint[], {depth}) ORDER BY post_id DESC")
        return rows.split()

    def verify(self, *arguments):
        """fanfarectl verify; returns (exit code, output)."""
        done = subprocess.run([os.path.join(self.stack.programs, "fanfarectl"), "-c", self.stack.config, "--url", self.url, "verify",
                               *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False)
        return done.returncode, done.stdout.decode()

    # -- waiting ---------------------------------------------------------------------------------------------------------------------

    def until(self, what, check, timeout=20):
        end = time.monotonic() + timeout
        while True:
            value = check()
            if value:
                return value
            assert time.monotonic() < end, f"{what}: not within {timeout} s"
            time.sleep(0.02)

    def drained(self, timeout=30):
        """Waits until no fan-out job and no invalidation is open."""
        self.until("the outbox to drain", lambda: self.sql("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM invalidations)") == "0",
                   timeout)

    def metric(self, daemon, family, **labels):
        samples = daemon.metrics()
        return sum(v for k, v in samples.items() if k.split("{")[0] == family and all(f'{n}="{x}"' in k for n, x in labels.items()))
