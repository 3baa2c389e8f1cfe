"""Slots change owner while another feedd still holds the table before: what a call hid is hidden everywhere as soon as the call has returned."""

import contextlib
import os
import signal
import time

import pytest

COUNT = 10


@pytest.fixture(scope="module")
def pair(world_factory):
    return world_factory(feedd_count=2)


@contextlib.contextmanager
def second_feedd_hears_nothing(world):
    """The sessions by which the second feedd renews its placement stand still: what it holds stays valid until its lease runs out."""
    def sessions():
        return set(world.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'feedd control'").split())

    feedd, all_of_them = world.stack.feedd[1], len(sessions())
    feedd.kill()
    others = world.until("the second feedd's sessions to end", lambda: (lambda s: len(s) == all_of_them // 2 and s)(sessions()))
    feedd.start()
    world.until("the second feedd's sessions", lambda: len(sessions()) == all_of_them)
    world.until("the second feedd", lambda: world.client(feedd=1).get("/readyz").status_code == 200)
    its = [int(pid) for pid in sessions() - others]

    @contextlib.contextmanager
    def silence():
        for pid in its:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in its:
                os.kill(pid, signal.SIGCONT)

    yield silence


def move_all_slots(world, tier):
    """Each slot of the tier goes to the other one of its two nodes, as when the ring grows; both nodes stay up with all they hold."""
    moved = world.sql(
        f"WITH n AS (SELECT min(id) + max(id) AS both FROM cache_nodes WHERE tier = {tier} AND state = 'active' HAVING count(*) = 2),"
        f" s AS (SELECT array_agg(slot::integer) AS slots, array_agg(n.both - node_id) AS owners FROM cache_slots, n WHERE tier = {tier})"
        f" SELECT change_placement({tier}::smallint, (SELECT version FROM cache_tiers WHERE id = {tier}), NULL, NULL, NULL, slots, owners) FROM s")
    assert moved == "t"
    time.sleep(0.3)  # the first feedd polls


@pytest.mark.sanitized
def test_deleted_posts_are_gone_everywhere_while_slots_move(pair):
    author = pair.user()
    with second_feedd_hears_nothing(pair) as silence:
        there = pair.client(author.user_id, feedd=1)
        posts = [author.publish("x")["id"] for _ in range(COUNT)]
        for post in posts:
            assert there.get(f"/v1/posts/{post}").status_code == 200
        with silence():
            move_all_slots(pair, 1)
            served = []
            for post in posts:
                author.done("DELETE", f"/v1/posts/{post}")
                if there.get(f"/v1/posts/{post}").status_code != 404:
                    served.append(post)
        assert not served, f"served after their deletion had returned: {served}"


@pytest.mark.sanitized
def test_unfollowed_authors_are_gone_everywhere_while_slots_move(pair):
    reader = pair.user()
    authors = pair.users(COUNT)
    for author in authors:
        author.publish("x")
        reader.follow(author)
    pair.drained()
    with second_feedd_hears_nothing(pair) as silence:
        there = pair.client(reader.user_id, feedd=1)
        assert len(there.feed()) == COUNT
        with silence():
            move_all_slots(pair, 3)
            served = []
            for left, author in zip(range(COUNT - 1, -1, -1), authors):
                reader.done("DELETE", f"/v1/me/following/{author.user_id}")
                if len(there.feed()) != left:
                    served.append(author.user_id)
        assert not served, f"in the feed after they were unfollowed: {served}"
