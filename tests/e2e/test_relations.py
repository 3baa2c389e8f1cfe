"""Follow, block, mute and their lists."""

import pytest

from support.problem import is_problem

EDGES = ["following", "blocks", "mutes"]


def ids(items):
    return [int(item["id"]) for item in items]


def listed(user, edge):
    return ids(user.pages("/v1/me/" + edge if edge != "following" else f"/v1/users/{user.user_id}/following"))


@pytest.mark.fast
@pytest.mark.sanitized
@pytest.mark.parametrize("edge", EDGES)
def test_each_relation_can_be_set_and_taken_back_again_and_again(world, edge):
    user, other = world.users(2)
    for _ in range(2):
        for _ in range(3):
            user.done("PUT", f"/v1/me/{edge}/{other.user_id}")
            assert listed(user, edge) == [other.user_id], f"PUT {edge} did not list the user once"
        for _ in range(3):
            user.done("DELETE", f"/v1/me/{edge}/{other.user_id}")
            assert listed(user, edge) == [], f"DELETE {edge} left the user listed"


def test_taking_back_what_never_was_is_fine(world):
    user = world.user()
    for edge in EDGES:
        user.done("DELETE", f"/v1/me/{edge}/123456789")


@pytest.mark.parametrize("edge", EDGES)
def test_a_relation_to_oneself_is_refused(world, edge):
    user = world.user()
    is_problem(user.put(f"/v1/me/{edge}/{user.user_id}"), 422, "self")


@pytest.mark.parametrize("edge", EDGES)
def test_a_relation_to_nobody_is_refused(world, edge):
    user = world.user()
    is_problem(user.put(f"/v1/me/{edge}/4711"), 404, "not_found")
    assert listed(user, edge) == []


@pytest.mark.parametrize("list_name", ["followers", "following"])
def test_a_list_of_nobody_is_not_found(world, list_name):
    is_problem(world.user().get(f"/v1/users/4711/{list_name}"), 404, "not_found")


def test_followers_and_following_mirror_each_other(world):
    a, b, c = world.users(3)
    for follower, followee in ((a, b), (c, b), (b, a)):
        follower.follow(followee)
    assert ids(a.pages(f"/v1/users/{b.user_id}/followers")) == sorted([a.user_id, c.user_id])
    assert ids(a.pages(f"/v1/users/{a.user_id}/followers")) == [b.user_id]
    assert ids(c.pages(f"/v1/users/{b.user_id}/following")) == [a.user_id]
    a.done("DELETE", f"/v1/me/following/{b.user_id}")
    assert ids(a.pages(f"/v1/users/{b.user_id}/followers")) == [c.user_id]


@pytest.mark.parametrize("limit", [1, 7, 20, 200])
def test_long_lists_come_page_by_page_complete_and_in_order(world, limit):
    user = world.user()
    others = world.strangers(45)
    for other in others:
        user.done("PUT", f"/v1/me/mutes/{other}")
    assert ids(user.pages("/v1/me/mutes", limit=limit)) == sorted(others)


def test_a_list_stays_stable_while_it_changes(world):
    user = world.user()
    others = sorted(world.strangers(9))
    for other in others[1::2]:
        user.done("PUT", f"/v1/me/mutes/{other}")
    first = user.get("/v1/me/mutes?limit=2").json()
    assert ids(first["items"]) == others[1:4:2]
    user.done("PUT", f"/v1/me/mutes/{others[0]}")      # before the cursor: must not shift the next page
    user.done("DELETE", f"/v1/me/mutes/{others[3]}")   # the cursor's own item
    user.done("PUT", f"/v1/me/mutes/{others[8]}")      # after it: must show
    rest = user.pages(f"/v1/me/mutes?cursor={first['next']}")
    assert ids(rest) == [others[5], others[7], others[8]]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=abc", "limit=-1", "limit=", "limit=1.5", "limit=1&limit=2", "cursor=", "cursor=!!!",
                                   "cursor=" + "A" * 200, "page=2", "limit=99999999999999999999", "limit=%00", "limit=+5", "limit=0x10"])
def test_a_list_with_a_bad_query_is_refused(world, query):
    user = world.user()
    for path in ("/v1/me/blocks", f"/v1/users/{user.user_id}/followers", "/v1/me/feed"):
        is_problem(user.get(f"{path}?{query}"), 400)


def test_a_cursor_of_one_list_is_none_of_another(world):
    user = world.user()
    others = world.strangers(2)
    for other in others:
        for edge in EDGES:
            if edge != "blocks":
                user.done("PUT", f"/v1/me/{edge}/{other}")
    cursor = user.get("/v1/me/mutes?limit=1").json()["next"]
    for path in ("/v1/me/blocks", "/v1/me/feed", f"/v1/users/{user.user_id}/following", f"/v1/users/{user.user_id}/followers",
                 f"/v1/users/{user.user_id}/feed"):
        is_problem(user.get(f"{path}?cursor={cursor}"), 400, "bad_cursor")


def fill(world, user, edge, count):
    """count relations of the user, straight into the tables."""
    tables = {"following": ("following", "follower", "followee"), "blocks": ("blocks", "blocker", "blocked"), "mutes": ("mutes", "muter", "muted")}
    table, mine, theirs = tables[edge]
    me = user.user_id
    world.sql(f"INSERT INTO {table} (shard, {mine}, {theirs}) SELECT shard_of({me}), {me}, g FROM generate_series(1, {count}) AS g")
    if edge == "following":
        world.sql(f"UPDATE users SET following_count = {count} WHERE shard = shard_of({me}) AND id = {me}")


@pytest.mark.parametrize("edge", EDGES)
def test_at_most_5000_relations_of_a_kind(world, edge):
    user, last, beyond = world.users(3)
    fill(world, user, edge, 4999)
    user.done("PUT", f"/v1/me/{edge}/{last.user_id}")
    is_problem(user.put(f"/v1/me/{edge}/{beyond.user_id}"), 422, f"{edge}_limit")
    user.done("PUT", f"/v1/me/{edge}/{last.user_id}")   # what is so already may be repeated at the limit
    user.done("DELETE", f"/v1/me/{edge}/{last.user_id}")
    user.done("PUT", f"/v1/me/{edge}/{beyond.user_id}")


def test_a_reader_of_5000_reads_his_feed(world):
    user, author = world.users(2)
    fill(world, user, "following", 4999)
    post = author.publish("found among five thousand")
    user.follow(author)
    assert user.feed() == [post["id"]]


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_block_ends_following_both_ways(world):
    a, b = world.users(2)
    a.follow(b)
    b.follow(a)
    a.done("PUT", f"/v1/me/blocks/{b.user_id}")
    for user, other in ((a, b), (b, a)):
        assert listed(user, "following") == [], "following outlived the block"
        assert user.get("/v1/me").json()["following"] == 0, "the count outlived the block"
        is_problem(user.put(f"/v1/me/following/{other.user_id}"), 403, "blocked")
    a.done("DELETE", f"/v1/me/blocks/{b.user_id}")
    assert listed(a, "following") == [] and listed(b, "following") == [], "removing the block brought following back"
    b.follow(a)


@pytest.mark.fast
@pytest.mark.sanitized
@pytest.mark.parametrize("blocker", [0, 1])
def test_a_block_hides_both_ways_everywhere(world, blocker):
    pair = world.users(2)
    third = world.user()
    posts = [user.publish("mine") for user in pair]
    for user, other in (pair, pair[::-1]):
        user.follow(other)
        user.follow(third)
        assert len(user.feed()) == 2
    pair[blocker].done("PUT", f"/v1/me/blocks/{pair[1 - blocker].user_id}")
    for user, other, theirs, mine in ((pair[0], pair[1], posts[1], posts[0]), (pair[1], pair[0], posts[0], posts[1])):
        assert user.feed() == [mine["id"]], "the feed shows a blocked author"
        is_problem(user.get(f"/v1/posts/{theirs['id']}"), 404, "not_found")
        assert user.get(f"/v1/users/{other.user_id}/feed").json() == {"items": [], "next": None}, "the author's page shows hidden posts"
        is_problem(user.put(f"/v1/posts/{theirs['id']}/like"), 404, "not_found")
        is_problem(user.post("/v1/me/feed", {"text": "reply", "in_reply_to": theirs["id"]}), 422, "unknown_post")
        assert other.user_id not in ids(user.pages(f"/v1/users/{third.user_id}/followers")), "a list shows the blocked user"
        assert user.pages(f"/v1/users/{other.user_id}/following") == [], "the blocked user's list is shown"
        assert user.get(f"/v1/users/{other.user_id}").status_code == 200, "profiles stay visible"
    assert len(third.pages(f"/v1/users/{third.user_id}/followers")) == 2, "a third user's list must not change"
    pair[blocker].done("DELETE", f"/v1/me/blocks/{pair[1 - blocker].user_id}")
    assert pair[0].get(f"/v1/posts/{posts[1]['id']}").status_code == 200, "the post stays hidden after the block is gone"


def test_blocks_of_both_are_two_blocks(world):
    a, b = world.users(2)
    post = b.publish("x")
    a.done("PUT", f"/v1/me/blocks/{b.user_id}")
    b.done("PUT", f"/v1/me/blocks/{a.user_id}")
    a.done("DELETE", f"/v1/me/blocks/{b.user_id}")
    is_problem(a.get(f"/v1/posts/{post['id']}"), 404, "not_found")
    b.done("DELETE", f"/v1/me/blocks/{a.user_id}")
    assert a.get(f"/v1/posts/{post['id']}").status_code == 200


def test_a_mute_hides_from_the_feed_and_nowhere_else(world):
    user, other = world.users(2)
    user.follow(other)
    post = other.publish("loud")
    user.done("PUT", f"/v1/me/mutes/{other.user_id}")
    assert user.feed() == []
    assert user.get(f"/v1/posts/{post['id']}").status_code == 200
    assert len(user.get(f"/v1/users/{other.user_id}/feed").json()["items"]) == 1
    assert listed(user, "following") == [other.user_id], "a mute is no unfollow"
    user.done("DELETE", f"/v1/me/mutes/{other.user_id}")
    assert user.feed() == [post["id"]]


def test_the_muted_notice_nothing(world):
    user, other = world.users(2)
    other.follow(user)
    user.done("PUT", f"/v1/me/mutes/{other.user_id}")
    post = user.publish("x")
    world.until("the muted to see the post", lambda: other.feed() == [post["id"]])
    other.done("PUT", f"/v1/posts/{post['id']}/like")


def test_my_lists_are_mine_only(world):
    a, b = world.users(2)
    a.done("PUT", f"/v1/me/blocks/{b.user_id}")
    assert b.pages("/v1/me/blocks") == [] and b.pages("/v1/me/mutes") == []


def test_opposite_relations_at_once_end_in_one_of_the_two_states(world):
    """Follow and block race from both sides: whatever wins, no follow edge may survive next to a block."""
    import concurrent.futures
    pairs = [world.users(2) for _ in range(6)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        calls = []
        for a, b in pairs:
            calls += [pool.submit(a.call, "PUT", f"/v1/me/following/{b.user_id}"), pool.submit(b.call, "PUT", f"/v1/me/blocks/{a.user_id}")]
        statuses = [call.result().status_code for call in calls]
    assert set(statuses) <= {204, 403}, statuses
    for a, b in pairs:
        assert listed(b, "blocks") == [a.user_id]
        assert listed(a, "following") == [], "a follow survived the block"
        assert a.get("/v1/me").json()["following"] == 0


@pytest.mark.sanitized
def test_both_tables_of_following_agree_after_many_concurrent_changes(world):
    import concurrent.futures
    users = world.users(6)

    def churn(user):
        for turn in range(15):
            for other in users:
                if other is not user:
                    verb = ("PUT", "DELETE")[(turn + other.user_id) % 2]
                    edge = "blocks" if turn % 7 == 3 else "following"
                    answer = user.call(verb, f"/v1/me/{edge}/{other.user_id}")
                    assert answer.status_code in (204, 403), answer.text

    with concurrent.futures.ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(churn, users))
    everybody = ",".join(str(u.user_id) for u in users)
    assert world.sql(f"SELECT count(*) FROM (SELECT follower, followee FROM following WHERE follower IN ({everybody}) EXCEPT SELECT follower, followee FROM followers) x") == "0"
    assert world.sql(f"SELECT count(*) FROM (SELECT follower, followee FROM followers WHERE followee IN ({everybody}) EXCEPT SELECT follower, followee FROM following) x") == "0"
    assert world.sql(f"SELECT count(*) FROM users u WHERE id IN ({everybody}) AND following_count <> (SELECT count(*) FROM following f WHERE f.follower = u.id)") == "0"
    assert world.sql(f"SELECT count(*) FROM following f JOIN blocks b ON b.blocker = f.follower AND b.blocked = f.followee OR b.blocker = f.followee AND b.blocked = f.follower WHERE f.follower IN ({everybody})") == "0"
    for user in users:
        assert user.feed() == world.oracle(user)
