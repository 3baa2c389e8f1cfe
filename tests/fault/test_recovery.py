"""What is left behind is picked up: jobs the queue lost or never had, invalidations nobody applied, jobs that a dead fanoutd held; and total loss of the caches."""

import concurrent.futures
import os
import subprocess
import time

import pytest

from support.faults import Proxy, crowd


def followed_author(world, readers=3):
    author, *readers = world.users(1 + readers)
    for reader in readers:
        reader.follow(author)
    author.publish("first")
    world.drained()
    for reader in readers:
        reader.feed()
    return author, readers


@pytest.mark.sanitized
def test_jobs_lost_with_the_queue_are_delivered(pair):
    author, readers = followed_author(pair)
    pair.fanoutd.kill()
    for i in range(20):
        author.publish(f"queued {i}")
    pair.flush(pair.stack.redis[0])
    pair.restart(pair.fanoutd)
    pair.drained()
    pair.same_as_oracle(*readers)


def test_jobs_that_the_queue_never_had_are_delivered(pair):
    author, readers = followed_author(pair)
    pair.arm("feedd.publish.after_commit=abort@3", pair.stack.feedd[0])
    published = 0
    try:
        for i in range(5):
            author.publish(f"post {i}")
            published += 1
    except Exception:  # pylint: disable=broad-except  (the connection was lost with the daemon)
        pass
    assert published == 2
    pair.arm("")
    pair.restart(pair.stack.feedd[0])
    pair.drained()
    assert len(readers[0].feed()) == 4
    pair.same_as_oracle(*readers)


def test_a_publish_is_answered_while_the_queue_is_away(pair):
    author, readers = followed_author(pair)
    pair.stack.redis[0].kill()
    post = author.publish("no queue")["id"]
    pair.restart(pair.stack.redis[0])
    pair.settled()
    assert post in readers[0].feed()
    pair.same_as_oracle(*readers)


@pytest.mark.sanitized
def test_an_invalidation_left_by_an_abort_is_applied_without_the_client(pair):
    author, readers = followed_author(pair)
    post = author.publish("deleted by a call that never came back")["id"]
    pair.drained()
    for reader in readers:
        assert post in reader.feed()
    pair.arm("feedd.write.after_commit=abort", pair.stack.feedd[0])
    with pytest.raises(Exception):
        author.delete(f"/v1/posts/{post}")
    pair.arm("")
    assert pair.sql("SELECT count(*) FROM invalidations") == "1"
    pair.drained()
    pair.restart(pair.stack.feedd[0])
    pair.same_as_oracle(*readers)


@pytest.mark.sanitized
@pytest.mark.threads
@pytest.mark.parametrize("point", ["fanout.after_read", "fanout.before_push", "fanout.before_ack"])
def test_another_fanoutd_takes_over_what_a_killed_one_held(crew, point):
    author, readers = followed_author(crew)
    first, second = crew.stack.fanoutd
    second.kill()
    with crew.paused_at(point, first, lambda: [author.publish(f"held {i}") for i in range(10)]):
        crew.restart(second)
        first.kill()
    crew.drained()
    crew.same_as_oracle(*readers)
    assert first.pid is None, "the first one must not have helped"
    crew.until("the queue to be empty", lambda: crew.metric(second, "fanfare_fanout_backlog") == 0)
    crew.restart(first)
    author.publish("by either")
    crew.drained()
    crew.same_as_oracle(*readers)


@pytest.mark.sanitized
def test_pushes_that_the_network_lost_are_made_again(pair):
    """The timelines are there, their node is well; only what was sent to it never arrived."""
    node = pair.stack.redis[1]
    proxy = Proxy(node, node.socket + ".proxy")
    own, node.socket = node.socket, node.socket + ".proxy"
    try:
        pair.wipe_caches()  # the daemons now speak to the proxy
        author, readers = followed_author(pair, 8)
        for reader in readers:
            assert reader.get("/v1/me/feed").headers["Fanfare-Source"] == "resident"
        proxy.swallow = True
        author.publish("lost on its way")
        pair.until("a push to be lost", lambda: proxy.swallowed)
        time.sleep(0.2)
        proxy.swallow = False
        pair.drained()
        pair.same_as_oracle(*readers)
        pair.green()
    finally:
        node.socket = own
        pair.wipe_caches()
        proxy.close()


CONCURRENT_REBUILDS = """
DO $$
DECLARE now_active integer; most integer := 0; until timestamptz := clock_timestamp() + interval '4 s';
BEGIN
    WHILE clock_timestamp() < until LOOP
        PERFORM pg_stat_clear_snapshot();
        SELECT count(*) INTO now_active FROM pg_stat_activity
            WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%LATERAL%' AND query LIKE '%following%' AND query LIKE '%posts%';
        most := greatest(most, now_active);
        PERFORM pg_sleep(0.001);
    END LOOP;
    RAISE NOTICE 'most %', most;
END $$
"""


def test_total_cache_loss_costs_the_database_a_bounded_number_of_rebuilds(crew):
    readers = crowd(crew, 300, follows=30, seed=3)
    crew.sql("INSERT INTO posts (shard, id, author_id, text) SELECT u.shard, mint_id(u.shard), u.id, 'post ' || n FROM users u, generate_series(1, 4) AS n")
    clients = [crew.client(r.user_id, feedd=i % 2, check=False) for i, r in enumerate(readers)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(clients)) as pool:
        for server in crew.stack.redis:
            crew.flush(server)
        watching = subprocess.Popen(["psql", "-X", "-q", "-d", crew.stack.postgres.conninfo(), "-c", CONCURRENT_REBUILDS],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ)
        answers = list(pool.map(lambda client: client.get("/v1/me/feed"), clients))
        answers += list(pool.map(lambda client: client.get("/v1/me/feed?limit=100"), clients))
    most = int(watching.communicate()[0].decode().split("most ")[1].split()[0])
    bound = 2 * int(crew.stack.options["feedd.heavy_connections"]) * int(crew.stack.options["feedd.threads"])
    assert 0 < most <= bound, f"{most} rebuilds at once where {bound} may be"
    assert {a.status_code for a in answers} <= {200, 503}
    assert all("Retry-After" in a.headers for a in answers if a.status_code == 503)
    crew.settled()
    crew.resident_again()
