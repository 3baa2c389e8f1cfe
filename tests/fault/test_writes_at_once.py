"""Two writes of one user at the same moment: the database is held between two of its steps, and the other one comes."""

import contextlib
import threading

import pytest

LOCK = 4242


@pytest.fixture(scope="module")
def fresh(world_factory):
    return world_factory()


@contextlib.contextmanager
def held_after(world, event, table):
    """Statements of this kind on the table end only when the body has run; one at most may be on its way."""
    world.sql(f"CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
              f" 'BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NULL; END'")
    world.sql(f"CREATE TRIGGER hold AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION hold()")
    ended = threading.Event()
    holder = threading.Thread(target=hold_lock, args=(world, ended))
    holder.start()
    try:
        world.until("the lock", lambda: locks(world, True) == 1)
        yield
    finally:
        ended.set()
        holder.join()
        world.sql(f"DROP TRIGGER hold ON {table}")


def hold_lock(world, ended):
    world.sql("CREATE TABLE IF NOT EXISTS hold_ended ()")
    world.sql("TRUNCATE hold_ended")
    teller = threading.Thread(target=lambda: (ended.wait(20), world.sql("INSERT INTO hold_ended DEFAULT VALUES")))
    teller.start()
    world.sql(f"DO $$ BEGIN PERFORM pg_advisory_lock({LOCK}); WHILE NOT EXISTS (SELECT FROM hold_ended) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$")
    teller.join()


def locks(world, granted):
    return int(world.sql(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND granted = {granted}"))


def run(target):
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_a_block_and_an_unblock_at_once_leave_a_whole_block_or_none(fresh):
    blocker, blocked = fresh.users(2)
    blocked.follow(blocker)
    blocker.publish("not for him")
    fresh.drained()
    with held_after(fresh, "DELETE", "blocks"):
        unblock = run(lambda: blocker.done("DELETE", f"/v1/me/blocks/{blocked.user_id}"))
        fresh.until("the unblock to stand still", lambda: locks(fresh, False) == 1)
        block = run(lambda: blocker.done("PUT", f"/v1/me/blocks/{blocked.user_id}"))
        block.join(0.5)  # it ends now, or waits for the other
    unblock.join()
    block.join()
    there = fresh.sql(f"SELECT count(*) FROM blocks WHERE blocker = {blocker.user_id}"), \
        fresh.sql(f"SELECT count(*) FROM blocked_by WHERE blocker = {blocker.user_id}")
    assert there in (("1", "1"), ("0", "0")), f"rows in blocks and blocked_by: {there}"
    assert blocked.put(f"/v1/me/following/{blocker.user_id}").status_code == (403 if there[0] == "1" else 204)


def test_a_key_that_expires_under_its_replay_is_no_unknown_post(fresh):
    author = fresh.user()
    key = {"Idempotency-Key": "once"}
    assert author.post("/v1/me/feed", {"text": "x"}, headers=key).status_code == 201
    answers = []
    with held_after(fresh, "INSERT", "idempotency_keys"):
        replay = run(lambda: answers.append(author.post("/v1/me/feed", {"text": "x"}, headers=key)))
        fresh.until("the replay to stand still", lambda: locks(fresh, False) == 1)
        fresh.sql(f"DELETE FROM idempotency_keys WHERE user_id = {author.user_id}")
    replay.join()
    assert answers[0].status_code == 503 and answers[0].headers["Retry-After"], answers[0].text
    assert author.post("/v1/me/feed", {"text": "x"}, headers=key).status_code == 201
