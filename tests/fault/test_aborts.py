"""
A daemon dies as with kill -9 at every commit, push, acknowledgement, invalidation, queue and sweep boundary in turn; so it does by an error there.
It is started again, the client repeats what had no answer, and nothing is lost, doubled or shown that must not be.
"""

import contextlib
import subprocess
import time
import uuid

import pytest
import requests

from support.faults import failpoints_of, until_answer


class Post:
    """Somebody publishes with a key; followers have read before, so their timelines are resident."""

    def __init__(self, world):
        self.world = world
        self.author, *self.readers = world.users(3)
        for reader in self.readers:
            reader.follow(self.author)
        self.author.publish("before")
        world.drained()
        for reader in self.readers:
            reader.feed()
        self.key = str(uuid.uuid4())
        self.first = None

    def act(self):
        return self.author.post("/v1/me/feed", {"text": self.key}, headers={"Idempotency-Key": self.key})

    def again(self):
        post = until_answer(self.act, 201).json()["id"]
        rows = self.world.sql(f"SELECT id FROM posts WHERE text = '{self.key}'").split()
        assert rows == [post], f"the key made {rows}, answered {post}"

    def check(self):
        self.world.same_as_oracle(*self.readers)


class Hide(Post):
    """The author deletes a post that everybody has read."""

    def __init__(self, world):
        super().__init__(world)
        self.post = self.author.publish("to be deleted")["id"]
        world.drained()
        for reader in self.readers:
            assert self.post in reader.feed()

    def act(self):
        return self.author.delete(f"/v1/posts/{self.post}")

    def again(self):
        until_answer(self.act, 204)
        for feedd in (0, 1):
            assert self.world.client(self.author.user_id, feedd=feedd).get(f"/v1/posts/{self.post}").status_code == 404


class Block(Hide):
    """The author blocks a follower."""

    def act(self):
        return self.author.put(f"/v1/me/blocks/{self.readers[0].user_id}")

    def again(self):
        until_answer(self.act, 204)
        assert self.readers[0].feed() == []


class Follow(Hide):
    """A reader whose timeline is resident follows somebody with earlier posts."""

    def __init__(self, world):
        super().__init__(world)
        self.other = world.user()
        self.other.publish("earlier")
        world.drained()

    def act(self):
        return self.readers[0].put(f"/v1/me/following/{self.other.user_id}")

    def again(self):
        until_answer(self.act, 204)
        assert len(self.readers[0].feed()) == 3


class Read(Hide):
    """A cold feed of posts that no cache holds."""

    def __init__(self, world):
        super().__init__(world)
        self.author.publish("never read")
        world.drained()
        world.make_cold(self.readers[0])

    def act(self):
        return self.readers[0].get("/v1/me/feed")

    def again(self):
        items = until_answer(self.act, 200).json()["items"]
        assert [item["id"] for item in items] == self.world.oracle(self.readers[0])
        self.world.make_cold(self.readers[0])  # else what a dead builder began stands in the way for 10 s


class LeftJob(Post):
    """A post whose job the queue has never seen."""

    def act(self):
        self.world.sql(f"SELECT publish_posts(ARRAY[{self.author.user_id}], ARRAY['{self.key}'], ARRAY[0], ARRAY['{self.key}'], ARRAY[1], ARRAY[NULL])")

    def again(self):
        # What was marked as swept is due again after 30 s: let the time pass.
        self.world.sql("UPDATE outbox SET swept_at = swept_at - interval '40 s'")


class LeftInvalidation(Hide):
    """A deletion whose invalidation nobody has applied."""

    def act(self):
        self.world.sql(f"SELECT delete_post({self.author.user_id}, {self.post})")

    def again(self):
        self.world.drained()


# failpoint -> (daemon, what goes on)
BOUNDARIES = {
    "feedd.publish.before_commit": [("feedd", Post)],
    "feedd.publish.after_commit": [("feedd", Post)],
    "feedd.publish.after_queue": [("feedd", Post)],
    "feedd.write.before_commit": [("feedd", Hide), ("feedd", Block), ("feedd", Follow)],
    "feedd.write.after_commit": [("feedd", Hide), ("feedd", Block), ("feedd", Follow)],
    "feedd.write.after_invalidate": [("feedd", Hide)],
    "invalidate.before_delete": [("feedd", Hide), ("feedd", Block), ("feedd", Follow), ("fanoutd", LeftInvalidation)],
    "invalidate.after_delete": [("feedd", Hide), ("feedd", Block), ("fanoutd", LeftInvalidation)],
    "cache.before_swap": [("feedd", Read)],
    "rebuild.after_begin": [("feedd", Read)],
    "rebuild.after_query": [("feedd", Read)],
    "feed.before_hydrate": [("feedd", Read)],
    "fanout.after_read": [("fanoutd", Post)],
    "fanout.after_slice": [("fanoutd", Post)],
    "fanout.before_push": [("fanoutd", Post)],
    "fanout.after_push": [("fanoutd", Post)],
    "fanout.before_confirm": [("fanoutd", Post)],
    "fanout.after_confirm": [("fanoutd", Post)],
    "fanout.before_ack": [("fanoutd", Post)],
    "fanout.after_ack": [("fanoutd", Post)],
    "sweep.before_add": [("fanoutd", LeftJob)],
    "sweep.after_add": [("fanoutd", LeftJob)],
}
# Not a boundary: planted faults, each of which turns verify red (test_planted.py).
PLANTED = {"fanout.drop_push", "feed.ignore_block", "feed.serve_deleted", "invalidate.skip", "feedd.write.skip_invalidation"}

CASES = [(point, daemon, what) for point, cases in BOUNDARIES.items() for daemon, what in cases]
NAMES = [f"{point}-{daemon}-{what.__name__}" for point, daemon, what in CASES]
QUICK = {("feedd.publish.after_commit", Post), ("feedd.write.after_commit", Hide), ("invalidate.before_delete", Hide), ("rebuild.after_query", Read),
         ("fanout.after_push", Post), ("fanout.before_ack", Post), ("sweep.after_add", LeftJob)}


def marked(cases):
    return [pytest.param(*case, marks=[pytest.mark.sanitized] if (case[0], case[2]) in QUICK else [], id=name)
            for case, name in zip(cases, NAMES)]


@pytest.mark.sanitized
def test_every_failpoint_of_the_daemons_is_exercised():
    found = set(failpoints_of("feedd", "fanoutd", "common"))
    assert found == set(BOUNDARIES) | PLANTED


def daemon_of(world, name):
    return world.stack.feedd[0] if name == "feedd" else world.fanoutd


@pytest.mark.parametrize("point, name, what", marked(CASES))
def test_a_daemon_that_dies_there_loses_and_doubles_nothing(pair, point, name, what):
    daemon = daemon_of(pair, name)
    case = what(pair)
    pair.arm(f"{point}=abort", daemon)
    with contextlib.suppress(requests.ConnectionError):
        case.act()
    try:
        assert daemon.popen.wait(10) == 137
    except subprocess.TimeoutExpired:
        pytest.fail(f"{daemon.name} did not come to {point}")
    pair.arm("", daemon)
    pair.restart(daemon)
    case.again()
    pair.drained()
    case.check()
    pair.green()


@pytest.mark.parametrize("point, name, what", [(p, n, w) for p, n, w in CASES if failpoints_of("feedd", "fanoutd", "common")[p]])
def test_an_error_there_loses_and_doubles_nothing(pair, point, name, what):
    daemon = daemon_of(pair, name)
    case = what(pair)
    pair.arm(f"{point}=error*2", daemon)
    for _ in range(3):
        answer = case.act()
        if answer is not None and answer.status_code >= 500:
            assert answer.status_code == 503 and "Retry-After" in answer.headers, answer.text
        if isinstance(case, (LeftJob, LeftInvalidation)):
            break
    time.sleep(0.05)
    pair.arm("", daemon)
    case.again()
    pair.drained()
    case.check()
    pair.green()
