"""Slots change owner while others still hold the table before: what a call hid is hidden by every feedd as soon as the call has returned."""

import pytest

ROUNDS = 6
POSTS = 25


@pytest.fixture(scope="module")
def pair(world_factory):
    return world_factory(feedd_count=2)


def move_all_slots(world, tier):
    """Each slot of the tier goes to the other one of its two nodes, as when the ring grows; both nodes stay up with all they hold."""
    moved = world.sql(
        f"WITH n AS (SELECT min(id) + max(id) AS both FROM cache_nodes WHERE tier = {tier} AND state = 'active' HAVING count(*) = 2),"
        f" s AS (SELECT array_agg(slot::integer) AS slots, array_agg(n.both - node_id) AS owners FROM cache_slots, n WHERE tier = {tier})"
        f" SELECT change_placement({tier}::smallint, (SELECT version FROM cache_tiers WHERE id = {tier}), NULL, NULL, NULL, slots, owners) FROM s")
    assert moved == "t"


@pytest.mark.sanitized
def test_a_deleted_post_is_gone_everywhere_while_slots_move(pair):
    author = pair.user()
    there = pair.client(author.user_id, feedd=1)
    served = []
    for _ in range(ROUNDS):
        posts = [author.publish("x")["id"] for _ in range(POSTS)]
        for post in posts:
            assert author.get(f"/v1/posts/{post}").status_code == 200
            assert there.get(f"/v1/posts/{post}").status_code == 200
        move_all_slots(pair, 1)
        for post in posts:
            author.done("DELETE", f"/v1/posts/{post}")
            if there.get(f"/v1/posts/{post}").status_code != 404:
                served.append(post)
    assert not served, f"served after their deletion had returned: {served}"


@pytest.mark.sanitized
def test_an_unfollowed_author_is_gone_everywhere_while_slots_move(pair):
    reader = pair.user()
    there = pair.client(reader.user_id, feedd=1)
    authors = pair.users(POSTS)
    for author in authors:
        author.publish("x")
    served = []
    for _ in range(ROUNDS):
        for author in authors:
            reader.follow(author)
        pair.drained()
        assert len(there.feed(limit=100)) == len(reader.feed(limit=100)) == POSTS
        move_all_slots(pair, 3)
        for left, author in zip(range(POSTS - 1, -1, -1), authors):
            reader.done("DELETE", f"/v1/me/following/{author.user_id}")
            if len(there.feed(limit=100)) != left:
                served.append(author.user_id)
    assert not served, f"in the feed after they were unfollowed: {served}"
