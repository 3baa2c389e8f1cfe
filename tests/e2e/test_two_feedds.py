"""Two feedds on the same caches: what one of them changed, the other serves."""

import concurrent.futures
import time

import pytest

from support.watch import Watch


@pytest.fixture(scope="module")
def pair(world_factory):
    return world_factory(feedd_count=2)


def both(world, user):
    """The user at either feedd."""
    return [world.client(user.user_id, feedd=i) for i in range(2)]


@pytest.mark.sanitized
def test_one_key_at_two_feedds_at_once_is_one_post(pair):
    user = pair.user()
    for turn in range(5):
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            clients = [pair.client(user.user_id, feedd=i % 2) for i in range(20)]
            answers = list(pool.map(lambda client: client.post("/v1/me/feed", {"text": "once"}, headers={"Idempotency-Key": f"t{turn}"}), clients))
        assert {a.status_code for a in answers} == {201}, [a.text for a in answers if a.status_code != 201]
        assert len({a.json()["id"] for a in answers}) == 1, "one key, several posts"
    assert len(user.feed()) == 5


@pytest.mark.sanitized
def test_what_one_feedd_hides_the_other_does_not_serve(pair):
    reader, author = pair.users(2)
    reader.follow(author)
    posts = [author.publish("x")["id"] for _ in range(4)][::-1]
    pair.drained()
    here, there = both(pair, reader)
    assert here.feed() == there.feed() == posts
    changes = [("DELETE", f"/v1/me/following/{author.user_id}", []), ("PUT", f"/v1/me/following/{author.user_id}", posts),
               ("PUT", f"/v1/me/mutes/{author.user_id}", []), ("DELETE", f"/v1/me/mutes/{author.user_id}", posts),
               ("PUT", f"/v1/me/blocks/{author.user_id}", [])]
    for verb, path, expected in changes:
        here.done(verb, path)
        assert there.feed() == expected, f"after {verb} {path} at one feedd the other serves something else"
    assert there.get(f"/v1/posts/{posts[0]}").status_code == 404


def test_a_delete_at_one_feedd_holds_at_the_other_at_once(pair):
    reader, author = pair.users(2)
    reader.follow(author)
    gone = {}
    with Watch([(client, path) for client in both(pair, reader) for path in ("/v1/me/feed", f"/v1/users/{author.user_id}/feed")]) as watch:
        for i in range(30):
            post = both(pair, author)[i % 2].publish("soon gone")["id"]
            time.sleep(0.02)
            both(pair, author)[(i + 1) % 2].done("DELETE", f"/v1/posts/{post}")
            gone[post] = time.monotonic()
    for post, since in gone.items():
        watch.check_hidden(post, since)


def test_a_mute_at_one_feedd_holds_at_the_other_at_once(pair):
    reader, author = pair.users(2)
    reader.follow(author)
    post = author.publish("x")["id"]
    pair.drained()
    sides = both(pair, reader)
    hidden, shown = [], []
    with Watch([(client, "/v1/me/feed") for client in sides]) as watch:
        since = time.monotonic()
        for i in range(20):
            time.sleep(0.02)
            shown.append((since, time.monotonic()))
            sides[i % 2].done("PUT", f"/v1/me/mutes/{author.user_id}")
            since = time.monotonic()
            time.sleep(0.02)
            hidden.append((since, time.monotonic()))
            sides[(i + 1) % 2].done("DELETE", f"/v1/me/mutes/{author.user_id}")
            since = time.monotonic()
    for since, until in hidden:
        watch.check_hidden(post, since, until)
    for since, until in shown:
        watch.check_shown(post, since, until)


def test_a_profile_changed_at_one_feedd_shows_at_the_other(pair):
    reader, author = pair.users(2)
    author.publish("x")
    reader.follow(author)
    here, there = both(pair, reader)
    for i in range(10):
        assert there.get("/v1/me/feed").json()["items"][0]["author"]["name"] == (f"Name {i - 1}" if i else "Someone")
        both(pair, author)[i % 2].patch("/v1/me", {"name": f"Name {i}"})
        for side in (here, there):
            assert side.get("/v1/me/feed").json()["items"][0]["author"]["name"] == f"Name {i}"


def test_a_cold_feed_read_at_both_is_rebuilt_once(pair):
    reader, author = pair.users(2)
    posts = pair.old_posts(author, 700)
    reader.follow(author)

    def rebuilds():
        return sum(pair.metric(feedd, "fanfare_rebuilds_total") for feedd in pair.stack.feedd)

    for _ in range(3):
        pair.make_cold(reader)
        before = rebuilds()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            clients = [pair.client(reader.user_id, feedd=i % 2, check=False) for i in range(20)]
            answers = list(pool.map(lambda client: client.get("/v1/me/feed?limit=50"), clients))
        for answer in answers:
            assert [i["id"] for i in answer.json()["items"]] == posts[:50], answer.text[:200]
        assert rebuilds() - before == 1, "one cold feed was rebuilt more than once"


def test_one_feedd_goes_and_the_other_serves_on(pair):
    user = pair.user()
    post = user.publish("x")["id"]
    pair.stack.feedd[0].stop()
    try:
        assert pair.client(user.user_id, feedd=1).feed() == [post]
    finally:
        pair.stack.feedd[0].start()
    assert pair.client(user.user_id).feed() == [post]
