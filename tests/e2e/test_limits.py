"""Token buckets, and what publishers are told when delivery falls behind."""

import concurrent.futures
import time

import pytest

from support.problem import is_problem

BURST = 5


@pytest.fixture(scope="module")
def strict(world_factory):
    """A post a second and two other calls a second, each up to five at once; twelve jobs may wait."""
    return world_factory(options={"feedd.posts_per_s": "1", "feedd.posts_burst": str(BURST), "feedd.reads_per_s": "2", "feedd.reads_burst": str(BURST),
                                  "feedd.sign_ins_per_s": "1", "feedd.sign_ins_burst": str(BURST)})


@pytest.fixture(scope="module")
def narrow(world_factory):
    """Twenty jobs may wait for delivery."""
    return world_factory(options={"feedd.backlog_max": "20"})


def numbers(answer):
    return tuple(int(answer.headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_bucket_counts_down_refuses_and_fills_again(strict):
    user = strict.user()
    for left in range(BURST - 1, -1, -1):
        answer = user.post("/v1/me/feed", {"text": "x"})
        assert answer.status_code == 201
        limit, remaining, reset = numbers(answer)
        assert (limit, remaining) == (BURST, left) and 1 <= reset <= BURST
    refused = user.post("/v1/me/feed", {"text": "x"})
    is_problem(refused, 429, "rate_limited")
    wait = int(refused.headers["Retry-After"])
    assert wait == 1 and numbers(refused)[1] == 0
    time.sleep(wait)
    assert user.post("/v1/me/feed", {"text": "x"}).status_code == 201, "Retry-After was obeyed and still refused"


def test_posts_and_reads_have_buckets_of_their_own(strict):
    user = strict.user()
    while user.post("/v1/me/feed", {"text": "x"}).status_code == 201:
        pass
    assert user.get("/v1/me/feed").status_code == 200, "an empty posts bucket refuses reads"


def test_one_users_limit_is_not_anothers(strict):
    greedy, modest = strict.users(2)
    while greedy.get("/v1/me").status_code == 200:
        pass
    assert modest.get("/v1/me").status_code == 200


def test_a_refused_call_does_nothing(strict):
    user = strict.user()
    made = 0
    for _ in range(12):
        made += user.post("/v1/me/feed", {"text": "x"}).status_code == 201
    assert strict.sql(f"SELECT count(*) FROM posts WHERE author_id = {user.user_id}") == str(made)
    assert BURST <= made <= BURST + 2


@pytest.mark.sanitized
@pytest.mark.threads
def test_many_connections_share_the_bucket(strict):
    """Two threads of feedd, twenty connections, one user: not more than the burst and what time gives."""
    user = strict.user()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        clients = [strict.client(user.user_id) for _ in range(20)]
        statuses = list(pool.map(lambda client: client.get("/v1/me").status_code, clients * 3))
    allowed = statuses.count(200)
    assert set(statuses) == {200, 429}
    assert BURST <= allowed <= BURST + 2 * (time.monotonic() - began) + 1


def test_log_ins_are_limited_by_handle(strict):
    """Guessing one account's password is slow, whatever else goes on."""
    client = strict.client()
    statuses = [client.post("/v1/sessions", {"handle": "some_victim", "password": f"guess {i}"}).status_code for i in range(BURST + 3)]
    assert statuses[0] == 401 and statuses[-1] == 429, statuses
    time.sleep(1.2)


def test_health_is_never_limited(strict):
    for _ in range(50):
        assert strict.client().get("/healthz").status_code == 200


@pytest.mark.fast
def test_without_a_limit_there_are_no_limit_headers(world):
    assert not [name for name in world.user().get("/v1/me").headers if name.startswith("RateLimit")]


@pytest.mark.sanitized
def test_publishers_are_told_to_wait_while_delivery_is_behind(narrow):
    reader, author = narrow.users(2)
    reader.follow(author)
    reader.feed()
    narrow.stack.fanoutd[0].stop()
    posts = []
    try:
        end = time.monotonic() + 20
        while True:
            answer = author.post("/v1/me/feed", {"text": "x"})
            if answer.status_code != 201:
                break
            posts.append(answer.json()["id"])
            assert time.monotonic() < end and len(posts) < 2000, "the backlog has no bound"
        is_problem(answer, 503, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1
        assert len(posts) >= 20, "refused before the bound"
        assert reader.get("/v1/me/feed").status_code == 200, "reads are refused as well"
        assert narrow.metric(narrow.stack.feedd[0], "fanfare_overloaded") == 1
        assert narrow.metric(narrow.stack.feedd[0], "fanfare_publish_refused_total") >= 1
    finally:
        narrow.stack.fanoutd[0].start()
    narrow.until("publishers to be let in again", lambda: author.post("/v1/me/feed", {"text": "again"}).status_code == 201)
    narrow.drained()
    assert [i["id"] for i in reader.pages(limit=200)] == narrow.oracle(reader), "what was accepted during overload did not all arrive"
    assert set(posts) <= set(narrow.oracle(reader)), "an acknowledged post is missing"


def test_a_lost_queue_does_not_hide_the_backlog(narrow):
    """The queue is a hint: when it is flushed the outbox still counts."""
    author = narrow.user()
    narrow.stack.fanoutd[0].stop()
    try:
        narrow.until("the bound to be reached", lambda: author.post("/v1/me/feed", {"text": "x"}).status_code == 503)
        narrow.stack.redis[0].command(b"FLUSHALL\r\n")
        time.sleep(2.5)
        assert author.post("/v1/me/feed", {"text": "x"}).status_code == 503, "with the queue lost the backlog seems gone"
    finally:
        narrow.stack.fanoutd[0].start()
    narrow.drained(60)
    assert author.feed(200) == narrow.oracle(author, 200)
