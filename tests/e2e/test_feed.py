"""What a feed holds, in which order, page by page; the SQL oracle is the judge."""

import concurrent.futures
import random

import pytest

from support.problem import is_problem


def is_oracle(world, user, limit=200):
    """Reads the whole feed and compares it with the oracle."""
    served = [item["id"] for item in user.pages(limit=limit)]
    assert served == world.oracle(user, 10**6), "the feed is not the oracle's"
    return served


def test_a_new_users_feed_is_empty(world):
    user = world.user()
    assert user.get("/v1/me/feed").json() == {"items": [], "next": None}
    assert user.get(f"/v1/users/{user.user_id}/feed").json() == {"items": [], "next": None}


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_feed_holds_my_posts_and_those_i_follow_newest_first(world):
    reader, author, stranger = world.users(3)
    reader.follow(author)
    posts = [who.publish(f"post {i}")["id"] for i, who in enumerate([author, reader, stranger, author, reader])]
    expected = [posts[4], posts[3], posts[1], posts[0]]
    world.until("the posts to arrive", lambda: reader.feed() == expected)
    assert is_oracle(world, reader) == expected


def test_my_own_post_shows_at_once(world):
    user = world.user()
    user.feed()
    for _ in range(30):
        post = user.publish("now")
        world.until("my post to arrive", lambda: user.feed(1) == [post["id"]], timeout=5)


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_follow_shows_earlier_posts_at_once_and_an_unfollow_hides_them(world):
    reader, author = world.users(2)
    posts = [author.publish("earlier")["id"] for _ in range(3)][::-1]
    for _ in range(3):
        assert reader.feed() == []
        reader.follow(author)
        assert reader.feed() == posts, "earlier posts are missing right after the follow"
        reader.done("DELETE", f"/v1/me/following/{author.user_id}")


def test_items_are_complete(world):
    reader, author = world.users(2)
    author.patch("/v1/me", {"name": "Grace", "picture": "https://example.org/g.png"})
    post = author.publish("hello")
    reader.follow(author)
    reader.done("PUT", f"/v1/posts/{post['id']}/like")
    author.publish("reply", in_reply_to=post["id"])
    item = reader.get("/v1/me/feed").json()["items"][1]
    assert (item["text"], item["likes"], item["replies"], item["created_at"]) == ("hello", 1, 1, post["created_at"])
    assert (item["author"]["id"], item["author"]["name"], item["author"]["picture"]) == (str(author.user_id), "Grace", "https://example.org/g.png")
    assert item == reader.get(f"/v1/posts/{post['id']}").json(), "the feed and the post's own page differ"


@pytest.mark.parametrize("limit", [1, 2, 7, 19, 20, 21, 200])
def test_every_page_size_gives_the_same_feed(world, many_posts, limit):
    reader, posts = many_posts
    items = reader.pages(limit=limit)
    assert [item["id"] for item in items] == posts[:len(items)] and len(items) == len(posts)


@pytest.fixture(scope="module")
def many_posts(shared_world):
    reader, one, two = shared_world.users(3)
    posts = shared_world.old_posts(one, 61, every_ms=2000) + shared_world.old_posts(two, 60, every_ms=1777)
    for author in (one, two):
        reader.follow(author)
    return reader, sorted(posts, key=int, reverse=True)


def test_a_feed_that_fills_its_last_page_has_no_page_more(world):
    reader, author = world.users(2)
    world.old_posts(author, 40)
    reader.follow(author)
    for limit in (20, 40):
        pages, cursor = 0, ""
        while cursor is not None:
            page = reader.get(f"/v1/me/feed?limit={limit}" + (f"&cursor={cursor}" if cursor else "")).json()
            assert len(page["items"]) == limit, "an empty page at the end"
            pages, cursor = pages + 1, page["next"]
        assert pages == 40 // limit


@pytest.mark.fast
@pytest.mark.sanitized
def test_cursors_are_stable_while_posts_arrive(world):
    reader, author = world.users(2)
    old = world.old_posts(author, 120)
    reader.follow(author)
    served, cursor = [], None
    while True:
        page = reader.get("/v1/me/feed", params={"limit": 10, **({"cursor": cursor} if cursor else {})}).json()
        served += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
        for _ in range(3):
            author.publish("new")
    assert served == old, "new posts shifted the pages"


def test_a_cursor_may_be_used_again(world, many_posts):
    reader, posts = many_posts
    cursor = reader.get("/v1/me/feed?limit=50").json()["next"]
    for _ in range(3):
        assert [i["id"] for i in reader.get(f"/v1/me/feed?limit=10&cursor={cursor}").json()["items"]] == posts[50:60]


def test_a_cursor_outlives_the_post_that_it_names(world):
    reader, author = world.users(2)
    posts = [author.publish("x")["id"] for _ in range(6)][::-1]
    reader.follow(author)
    cursor = reader.get("/v1/me/feed?limit=2").json()["next"]
    author.done("DELETE", f"/v1/posts/{posts[1]}")
    assert [i["id"] for i in reader.get(f"/v1/me/feed?cursor={cursor}").json()["items"]] == posts[2:]


def test_anothers_cursor_shows_only_my_feed(world, many_posts):
    reader, _ = many_posts
    other = world.user()
    mine = other.publish("mine")
    cursor = reader.get("/v1/me/feed?limit=5").json()["next"]
    answer = other.get(f"/v1/me/feed?cursor={cursor}")
    assert answer.status_code == 200 and {i["id"] for i in answer.json()["items"]} <= {mine["id"]}, "a cursor leaks another's feed"


@pytest.mark.parametrize("cursor", ["x", "Zg", "ZjA", "Zi0x", "ZjE4NDQ2NzQ0MDczNzA5NTUxNjE3", "ZjEyMw==", "ZjEyMw%0a", "ZjEyMw%00", "%ff%fe", "Zg" * 19])
def test_a_garbled_cursor_is_refused(world, cursor):
    is_problem(world.user().get(f"/v1/me/feed?cursor={cursor}"), 400, "bad_cursor")


@pytest.mark.sanitized
@pytest.mark.parametrize("limit", [200, 37])
def test_depth_has_no_end(world, limit):
    """Past the cached window (800 entries) the feed goes on from the database."""
    reader, one, two = world.users(3)
    posts = sorted(world.old_posts(one, 900, every_ms=1000) + world.old_posts(two, 700, every_ms=1300), key=int, reverse=True)
    reader.follow(one)
    reader.follow(two)
    assert [i["id"] for i in reader.pages(limit=limit)] == posts
    assert reader.get("/v1/me/feed").headers["Fanfare-Source"] == "resident"
    assert is_oracle(world, reader, limit) == posts


@pytest.mark.sanitized
def test_pages_are_full_when_most_of_the_top_is_deleted(world):
    reader, author = world.users(2)
    reader.follow(author)
    reader.feed()
    world.old_posts(author, 300)
    world.make_cold(reader)
    new = [author.publish("x")["id"] for _ in range(100)]
    world.drained()
    reader.feed()
    for post in new[::-1][:90] + new[:5]:
        author.done("DELETE", f"/v1/posts/{post}")
    page = reader.get("/v1/me/feed?limit=50").json()
    assert [i["id"] for i in page["items"]] == world.oracle(reader, 50) and len(page["items"]) == 50
    is_oracle(world, reader, 50)


@pytest.mark.parametrize("verb,edge", [("PUT", "mutes"), ("PUT", "blocks")])
def test_pages_are_full_when_a_loud_author_is_hidden(world, verb, edge):
    """1,000 posts of one who is hidden afterwards fill the whole cached window; the quiet one's posts lie below it."""
    reader, loud, quiet = world.users(3)
    world.old_posts(loud, 1000, age_s=3600)
    posts = world.old_posts(quiet, 70, age_s=10000)
    reader.follow(loud)
    reader.follow(quiet)
    reader.feed()
    reader.done(verb, f"/v1/me/{edge}/{loud.user_id}")
    assert [i["id"] for i in reader.pages(limit=30)] == posts
    assert is_oracle(world, reader, 30) == posts


@pytest.mark.fast
@pytest.mark.sanitized
def test_feeds_of_a_random_world_equal_the_oracle(world):
    rng = random.Random(20)
    users = world.users(12)
    posts = []
    for step in range(400):
        user, other = rng.sample(users, 2)
        what = rng.random()
        if what < 0.45:
            posts.append((user, user.publish(f"post {step}")["id"]))
        elif what < 0.75:
            user.call(rng.choice(["PUT", "PUT", "PUT", "DELETE"]), f"/v1/me/following/{other.user_id}")
        elif what < 0.82:
            user.call(rng.choice(["PUT", "DELETE"]), f"/v1/me/blocks/{other.user_id}")
        elif what < 0.9:
            user.call(rng.choice(["PUT", "DELETE"]), f"/v1/me/mutes/{other.user_id}")
        elif posts:
            author, post = posts.pop(rng.randrange(len(posts)))
            author.done("DELETE", f"/v1/posts/{post}")
        if step % 5 == 0:
            rng.choice(users).feed(rng.choice([1, 5, 50]))
    world.drained()
    for user in users:
        for limit in (3, 200):
            is_oracle(world, user, limit)


def test_feeds_equal_the_oracle_after_everything_happened_at_once(world):
    users = world.users(8)

    def live(user):
        rng = random.Random(user.user_id)
        mine = []
        for step in range(40):
            other = rng.choice(users)
            what = rng.random()
            if what < 0.5:
                mine.append(user.publish(f"post {step}")["id"])
            elif what < 0.6 and mine:
                user.done("DELETE", f"/v1/posts/{mine.pop()}")
            elif what < 0.9 and other is not user:
                user.call(rng.choice(["PUT", "PUT", "DELETE"]), f"/v1/me/{rng.choice(['following', 'following', 'mutes', 'blocks'])}/{other.user_id}")
            ids = user.feed(rng.choice([1, 20]))
            assert ids == sorted(set(ids), key=int, reverse=True), "a page is out of order or repeats a post"

    with concurrent.futures.ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(live, users))
    world.drained()
    for user in users:
        is_oracle(world, user)


def test_an_authors_page_holds_his_posts_only(world):
    reader, author = world.users(2)
    author.follow(reader)
    old = world.old_posts(author, 130)
    new = author.publish("new")["id"]
    reader.publish("other")
    deleted = author.publish("deleted")["id"]
    author.done("DELETE", f"/v1/posts/{deleted}")
    for limit in (7, 200):
        assert [i["id"] for i in reader.pages(f"/v1/users/{author.user_id}/feed", limit=limit)] == [new] + old
    is_problem(reader.get("/v1/users/4711/feed"), 404, "not_found")


def test_head_of_a_feed_has_no_body(world):
    user = world.user()
    user.publish("x")
    answer = user.call("HEAD", "/v1/me/feed")
    assert answer.status_code == 200 and not answer.content
    assert int(answer.headers["Content-Length"]) == len(user.get("/v1/me/feed").content)
