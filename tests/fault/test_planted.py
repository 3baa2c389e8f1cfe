"""A fault planted on purpose turns verify red (exit code 3), and green again when it is healed: verify would notice a real one."""

import signal

import pytest

from support.faults import failpoints_of
from test_aborts import BOUNDARIES


def dropped_push(world, author, reader):
    author.publish("never delivered")
    world.drained()


def ignored_block(world, author, reader):
    author.done("PUT", f"/v1/me/blocks/{reader.user_id}")


def deleted_post(world, author, reader):
    author.done("DELETE", f"/v1/posts/{reader.feed()[0]}")


def deleted_post_unswept(world, author, reader):
    world.fanoutd.send(signal.SIGSTOP)  # else the sweeper applies what the call did not
    deleted_post(world, author, reader)


PLANTED = {
    "fanout.drop_push": dropped_push,
    "feed.ignore_block": ignored_block,
    "feed.serve_deleted": deleted_post,
    "invalidate.skip": deleted_post,
    "feedd.write.skip_invalidation": deleted_post_unswept,
}


@pytest.mark.sanitized
def test_every_failpoint_that_breaks_a_promise_is_planted():
    found = {name for name, takes_effect in failpoints_of("feedd", "fanoutd", "common").items() if takes_effect}
    assert found - set(BOUNDARIES) == set(PLANTED)


@pytest.mark.sanitized
@pytest.mark.parametrize("point", PLANTED)
def test_verify_sees_the_planted_fault(pair, point):
    author, reader = pair.users(2)
    reader.follow(author)
    author.publish("first")
    author.publish("second")
    pair.drained()
    assert len(reader.feed()) == 2
    pair.green()
    pair.arm(f"{point}=error")
    PLANTED[point](pair, author, reader)
    assert "difference" in pair.red()
    pair.heal()
    pair.wipe_caches()
    pair.drained()
    pair.green()
