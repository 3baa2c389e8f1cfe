"""
What a call has hidden is not served by any request that starts after it returned, on any connection and in any process; what a call shows
again is there for every request that starts after it. Reads go on all the time, so hits and misses, fills and rebuilds race the change.
"""

import time

import pytest

from support.watch import Watch

# how, call that hides, call that shows again ({} the author's id, who calls: the reader 0 or the author 1)
WAYS = {
    "unfollow": (0, "DELETE", "PUT", "/v1/me/following/{1}"),
    "mute": (0, "PUT", "DELETE", "/v1/me/mutes/{1}"),
}


def flip(world, watched, call_hide, call_show, rounds):
    """Hides and shows again; returns the watch and [(hidden from, hidden until), ...] and [(shown from, shown until), ...]."""
    hidden, shown = [], []
    with Watch(watched) as watch:
        shown_since = time.monotonic()
        for _ in range(rounds):
            time.sleep(0.02)
            shown.append((shown_since, time.monotonic()))
            call_hide()
            hidden_since = time.monotonic()
            time.sleep(0.02)
            hidden.append((hidden_since, time.monotonic()))
            call_show()
            shown_since = time.monotonic()
    return watch, hidden, shown


@pytest.mark.fast
@pytest.mark.sanitized
@pytest.mark.threads
@pytest.mark.parametrize("way", WAYS)
def test_unfollow_and_mute_hold_for_every_later_request(world, way):
    _, hide, show, path = WAYS[way]
    reader, author = world.users(2)
    reader.follow(author)
    post = author.publish("seen and unseen")["id"]
    world.drained()
    path = path.format(reader.user_id, author.user_id)
    watch, hidden, shown = flip(world, [(reader, "/v1/me/feed"), (reader, "/v1/me/feed?limit=1")],
                                lambda: reader.done(hide, path), lambda: reader.done(show, path), 25)
    for since, until in hidden:
        watch.check_hidden(post, since, until)
    for since, until in shown:
        watch.check_shown(post, since, until)


@pytest.mark.fast
@pytest.mark.sanitized
@pytest.mark.threads
@pytest.mark.parametrize("blocker", ["reader", "author"])
def test_a_block_holds_for_every_later_request(world, blocker):
    reader, author = world.users(2)
    post = author.publish("seen and unseen")["id"]
    caller, other = (reader, author) if blocker == "reader" else (author, reader)
    block = f"/v1/me/blocks/{other.user_id}"

    def show():
        caller.done("DELETE", block)
        reader.follow(author)

    show()
    pages = ["/v1/me/feed", f"/v1/posts/{post}", f"/v1/users/{author.user_id}/feed"]
    watch, hidden, shown = flip(world, [(reader, page) for page in pages], lambda: caller.done("PUT", block), show, 25)
    for since, until in hidden:
        watch.check_hidden(post, since, until)
    for since, until in shown:
        watch.check_shown(post, since, until)


@pytest.mark.fast
@pytest.mark.sanitized
@pytest.mark.threads
def test_a_deleted_post_is_gone_for_every_later_request(world):
    reader, author = world.users(2)
    reader.follow(author)
    gone = {}
    with Watch([(reader, "/v1/me/feed"), (author, "/v1/me/feed"), (reader, f"/v1/users/{author.user_id}/feed")]) as watch:
        for i in range(40):
            post = author.publish(f"soon gone {i}")["id"]
            time.sleep(0.01 if i % 2 else 0.05)
            author.done("DELETE", f"/v1/posts/{post}")
            gone[post] = time.monotonic()
    for post, since in gone.items():
        watch.check_hidden(post, since)
    assert any(post in shown for _, _, _, shown in watch.reads for post in gone), "the posts were never seen: nothing is proved"


def test_a_deleted_posts_own_page_is_gone_for_every_later_request(world):
    reader, author = world.users(2)
    posts = [author.publish("soon gone")["id"] for _ in range(6)]
    gone = {}
    with Watch([(reader, f"/v1/posts/{post}") for post in posts], processes=1) as watch:
        for post in posts:
            time.sleep(0.1)
            author.done("DELETE", f"/v1/posts/{post}")
            gone[post] = time.monotonic()
    for post, since in gone.items():
        watch.check_hidden(post, since)


def test_hiding_holds_for_cold_and_deep_reads_too(world):
    """The post lies beyond the cached window, and the timeline is made cold all the time."""
    reader, author, loud = world.users(3)
    post = world.old_posts(author, 1, age_s=100000)[0]
    world.old_posts(loud, 850)
    for other in (author, loud):
        reader.follow(other)
    deep = reader.get("/v1/me/feed?limit=200").json()["next"]
    for _ in range(3):
        deep = reader.get(f"/v1/me/feed?limit=200&cursor={deep}").json()["next"]
    mute = f"/v1/me/mutes/{author.user_id}"

    def hide():
        world.make_cold(reader)
        reader.done("PUT", mute)

    watch, hidden, shown = flip(world, [(reader, f"/v1/me/feed?limit=200&cursor={deep}")], hide, lambda: reader.done("DELETE", mute), 8)
    for since, until in hidden:
        watch.check_hidden(post, since, until)
    for since, until in shown:
        watch.check_shown(post, since, until)
