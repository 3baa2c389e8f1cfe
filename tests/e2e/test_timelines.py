"""Resident timelines: when a page comes from them, how they are rebuilt, trimmed, and left for the database."""

import concurrent.futures
import re

import pytest


@pytest.fixture(scope="module")
def small_world(world_factory):
    """Timelines of 20 entries, trimmed from 26 on."""
    return world_factory(options={"timeline.cap": "20", "timeline.slack": "5"})


def source(user, query=""):
    answer = user.get(f"/v1/me/feed{query}")
    assert answer.status_code == 200, answer.text
    return answer.headers["Fanfare-Source"]


def explained(world, reader, post):
    code, out, errors = world.ctl("explain", "--reader", reader.user_id, "--post", post)
    assert code == 0, errors
    return out


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_cold_feed_is_rebuilt_once_and_then_resident(world):
    reader, author = world.users(2)
    reader.follow(author)
    author.publish("x")
    world.make_cold(reader)
    assert source(reader) == "rebuild"
    for _ in range(5):
        assert source(reader) == "resident"
    world.make_cold(reader)
    assert [source(reader), source(reader)] == ["rebuild", "resident"]


def test_a_feed_stays_resident_while_posts_are_pushed_and_people_hidden(world):
    reader, author, other = world.users(3)
    for who in (author, other):
        reader.follow(who)
    reader.feed()
    posts = [author.publish(f"post {i}")["id"] for i in range(20)][::-1]
    world.drained()
    assert source(reader) == "resident" and reader.feed() == posts
    reader.done("PUT", f"/v1/me/mutes/{other.user_id}")
    author.done("DELETE", f"/v1/posts/{posts[0]}")
    assert source(reader) == "resident" and reader.feed() == posts[1:]


def test_pages_beyond_the_window_come_from_the_database(world):
    reader, author = world.users(2)
    world.old_posts(author, 900)
    reader.follow(author)
    sources, cursor = [], ""
    while cursor is not None:
        answer = reader.get("/v1/me/feed?limit=200" + (f"&cursor={cursor}" if cursor else ""))
        sources.append(answer.headers["Fanfare-Source"])
        cursor = answer.json()["next"]
    assert sources == ["rebuild", "resident", "resident", "resident", "database"], sources


@pytest.mark.fast
@pytest.mark.sanitized
def test_many_readers_of_one_cold_feed_rebuild_it_once(world):
    reader, author = world.users(2)
    posts = world.old_posts(author, 800)
    reader.follow(author)
    feedd = world.stack.feedd[0]
    for _ in range(3):
        world.make_cold(reader)
        before = world.metric(feedd, "fanfare_rebuilds_total")
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            clients = [world.client(reader.user_id, check=False) for _ in range(24)]
            answers = list(pool.map(lambda client: client.get("/v1/me/feed?limit=50"), clients))
        for answer in answers:
            assert [i["id"] for i in answer.json()["items"]] == posts[:50]
        rebuilt = world.metric(feedd, "fanfare_rebuilds_total") - before
        assert rebuilt == 1, f"{rebuilt:.0f} rebuilds for one feed"


@pytest.mark.sanitized
def test_a_trimmed_timeline_goes_on_from_the_database(small_world):
    world = small_world
    reader, author, other = world.users(3)
    reader.follow(author)
    reader.follow(other)
    reader.feed()
    for i in range(60):
        (author if i % 3 else other).publish(f"post {i}")
    world.drained()
    assert source(reader, "?limit=10") == "resident"
    for limit in (1, 7, 20, 200):
        assert [i["id"] for i in reader.pages(limit=limit)] == world.oracle(reader)
    entries = int(re.search(r"resident, (\d+) entries", explained(world, reader, world.oracle(reader)[-1]))[1])
    assert 20 <= entries <= 25, f"{entries} entries where 20 and a slack of 5 were allowed"
    assert world.metric(world.stack.fanoutd[0], "fanfare_fanout_trims_total") > 0


def test_deletes_in_a_trimmed_timeline_leave_full_pages(small_world):
    world = small_world
    reader, author = world.users(2)
    reader.follow(author)
    reader.feed()
    posts = [author.publish(f"post {i}")["id"] for i in range(60)][::-1]
    world.drained()
    for post in posts[:18] + posts[25:40:2]:
        author.done("DELETE", f"/v1/posts/{post}")
    for limit in (5, 10, 60):
        assert [i["id"] for i in reader.pages(limit=limit)] == world.oracle(reader)


def test_small_windows_in_a_busy_world_equal_the_oracle(small_world):
    world = small_world
    users = world.users(6)

    def live(user):
        for i in range(40):
            user.publish(f"post {i}")
            ids = user.feed(limit=15, depth=45)
            assert ids == sorted(set(ids), key=int, reverse=True)

    for user in users:
        for other in users:
            if other is not user:
                user.follow(other)
    with concurrent.futures.ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(live, users))
    world.drained()
    for user in users:
        assert [i["id"] for i in user.pages(limit=15)] == world.oracle(user)
    code, out = world.verify("--all")
    assert code == 0 and "\n0 differences" in out, out


def test_people_who_are_not_there_cost_nothing(world):
    """No timeline is made for a follower who does not read: his next read rebuilds."""
    reader, author = world.users(2)
    reader.follow(author)
    post = author.publish("nobody is there")["id"]
    world.drained()
    assert "timeline: cold" in explained(world, reader, post)
    assert source(reader) == "rebuild" and reader.feed() == [post]
