"""The races that docs/architecture.md names, each forced: one side is held at a failpoint while the other runs to its end."""

import threading
import time

import pytest


@pytest.fixture
def friends(pair):
    """An author and two readers with resident timelines, on the first feedd."""
    author, *readers = pair.users(3)
    for reader in readers:
        reader.follow(author)
    author.publish("first")
    pair.drained()
    for reader in readers:
        reader.feed()
    return author, *readers


def other_feedd(world, client):
    return world.client(client.user_id, feedd=1)


@pytest.mark.sanitized
@pytest.mark.threads
def test_a_fill_in_progress_does_not_bring_back_a_deleted_post(pair, friends):
    author, reader, _ = friends
    # Four tiers are asked; the content's swap is the third or the fourth, as the answers happen to come.
    for nth in (1, 2, 3, 4, 3, 4, 3, 4, 3, 4):
        post = author.publish("to be deleted while it is filled")["id"]
        pair.drained()
        with pair.paused_at("cache.before_swap", pair.stack.feedd[0], lambda: reader.get("/v1/me/feed"), nth=nth):
            other_feedd(pair, author).done("DELETE", f"/v1/posts/{post}")
        for feedd in (0, 1):
            assert pair.client(reader.user_id, feedd=feedd).get(f"/v1/posts/{post}").status_code == 404
        pair.same_as_oracle(reader)


@pytest.mark.parametrize("nth", range(1, 4))
@pytest.mark.parametrize("path", ["/v1/me/mutes/{}", "/v1/me/blocks/{}"])
def test_relations_in_filling_do_not_undo_a_block_or_a_mute(pair, path, nth):
    author, reader = pair.users(2)
    reader.follow(author)
    author.publish("hidden soon")
    pair.drained()
    with pair.paused_at("cache.before_swap", pair.stack.feedd[0], lambda: reader.get("/v1/me/feed"), nth=nth, must=nth == 1):
        other_feedd(pair, reader).done("PUT", path.format(author.user_id))
    for feedd in (0, 1):
        assert pair.client(reader.user_id, feedd=feedd).feed() == []
    pair.same_as_oracle(reader)


@pytest.mark.sanitized
@pytest.mark.threads
@pytest.mark.parametrize("point", ["rebuild.after_begin", "rebuild.after_query"])
def test_a_post_pushed_during_a_rebuild_is_in_the_rebuilt_timeline(pair, friends, point):
    author, reader, _ = friends
    pair.make_cold(reader)
    with pair.paused_at(point, pair.stack.feedd[0], lambda: reader.get("/v1/me/feed")):
        post = other_feedd(pair, author).publish("while it is rebuilt")["id"]
        pair.drained()
        assert post in other_feedd(pair, reader).feed(), "the other feedd does not wait for the builder for ever"
    pair.same_as_oracle(reader)
    assert reader.get("/v1/me/feed").headers["Fanfare-Source"] == "resident"


@pytest.mark.parametrize("point", ["rebuild.after_begin", "rebuild.after_query"])
def test_a_follow_during_a_rebuild_shows_earlier_posts(pair, friends, point):
    _, reader, other = friends
    post = other.publish("earlier")["id"]
    pair.drained()
    pair.make_cold(reader)
    with pair.paused_at(point, pair.stack.feedd[0], lambda: reader.get("/v1/me/feed")):
        other_feedd(pair, reader).follow(other)
    assert post in reader.feed()
    pair.same_as_oracle(reader)


@pytest.mark.parametrize("point", ["rebuild.after_begin", "rebuild.after_query"])
def test_an_unfollow_and_a_delete_during_a_rebuild_hide(pair, friends, point):
    author, reader, other = friends
    reader.follow(other)
    post = other.publish("deleted")["id"]
    pair.drained()
    pair.make_cold(reader)
    with pair.paused_at(point, pair.stack.feedd[0], lambda: reader.get("/v1/me/feed")):
        other_feedd(pair, other).done("DELETE", f"/v1/posts/{post}")
        other_feedd(pair, reader).done("DELETE", f"/v1/me/following/{author.user_id}")
    assert reader.feed() == []
    pair.same_as_oracle(reader)


@pytest.mark.parametrize("point", ["fanout.after_slice", "fanout.before_push"])
def test_unfollowed_after_the_followers_were_read_and_not_shown(pair, friends, point):
    author, reader, other = friends
    with pair.paused_at(point, pair.fanoutd, lambda: author.publish("too late for one")):
        reader.done("DELETE", f"/v1/me/following/{author.user_id}")
    pair.drained()
    assert reader.feed() == [] and len(other.feed()) == 2
    pair.same_as_oracle(reader, other)


@pytest.mark.parametrize("point", ["fanout.after_slice", "fanout.before_push"])
@pytest.mark.parametrize("resident", [False, True])
def test_followed_after_the_followers_were_read_and_shown(pair, friends, point, resident):
    author, _, _ = friends
    late = pair.user()
    late.feed()
    with pair.paused_at(point, pair.fanoutd, lambda: author.publish("followed in time")):
        late.follow(author)
        if resident:
            assert len(late.feed()) == 2
    pair.drained()
    assert len(late.feed()) == 2
    pair.same_as_oracle(late)


@pytest.mark.sanitized
@pytest.mark.threads
@pytest.mark.parametrize("point", ["fanout.after_slice", "fanout.before_push", "fanout.before_confirm"])
def test_a_slow_worker_loses_nothing_when_the_placement_changes(pair, friends, point):
    author, reader, other = friends
    with pair.paused_at(point, pair.fanoutd, lambda: author.publish("under the old table")):
        pair.wipe_caches()
        assert len(reader.feed()) == 2  # a rebuild under the new table; the other reader's comes after the delivery
    pair.drained()
    assert reader.get("/v1/me/feed").headers["Fanfare-Source"] == "resident"
    pair.same_as_oracle(reader, other)


@pytest.mark.parametrize("point", ["fanout.before_push", pytest.param("fanout.after_push", marks=pytest.mark.sanitized)])
def test_a_slow_worker_loses_nothing_when_its_node_is_ejected(pair, point):
    author, *readers = pair.users(7)
    for reader in readers:
        reader.follow(author)
    author.publish("first")
    pair.drained()
    for reader in readers:
        reader.feed()
    node = pair.stack.redis[1]
    with pair.paused_at(point, pair.fanoutd, lambda: author.publish("to a dead node")):
        node.kill()
        pair.until("the node to be ejected", lambda: [r.get("/v1/me/feed") for r in readers] and pair.sql(
            "SELECT count(*) FROM cache_nodes WHERE state = 'ejected' AND tier = 0") == "1")
    pair.drained()
    pair.same_as_oracle(*readers)
    pair.heal()
    pair.settled()
    author.publish("after its return")
    pair.drained()
    pair.same_as_oracle(*readers)


def publish_slowly(world, author, text, held_s):
    """Commits a post held_s after its id was minted, in a thread."""
    thread = threading.Thread(target=world.sql, args=(
        f"BEGIN; SELECT publish_posts(ARRAY[{author.user_id}], ARRAY['{text}'], ARRAY[0], ARRAY['{text}'], ARRAY[1], ARRAY[NULL]); "
        f"SELECT pg_sleep({held_s}); COMMIT",))
    thread.start()
    return thread


@pytest.mark.sanitized
def test_a_post_that_commits_late_moves_no_cursor_and_shows_from_the_top(pair, friends):
    author, reader, other = friends
    reader.follow(other)
    early = [other.publish(f"early {i}")["id"] for i in range(5)]
    pair.drained()
    committing = publish_slowly(pair, author, "late commit", 1.5)
    time.sleep(0.5)
    over_it = other.publish("minted later, committed earlier")["id"]
    pair.drained()
    page = reader.get("/v1/me/feed?limit=2").json()
    assert [item["id"] for item in page["items"]] == [over_it, early[-1]]
    committing.join()
    pair.drained()
    rest = reader.get("/v1/me/feed", params={"limit": 100, "cursor": page["next"]}).json()["items"]
    assert [item["id"] for item in rest][:4] == early[-2::-1], "the cursor moved"
    assert "late commit" == reader.get("/v1/me/feed").json()["items"][1]["text"]
    pair.same_as_oracle(reader, other)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_fill_under_the_old_table_is_not_read_under_the_new(pair, friends, nth):
    author, reader, _ = friends
    post = author.publish("deleted under the new table")["id"]
    pair.drained()
    with pair.paused_at("cache.before_swap", pair.stack.feedd[0], lambda: reader.get("/v1/me/feed"), nth=nth, must=nth == 1):
        pair.wipe_caches()
        other_feedd(pair, reader).feed()
        other_feedd(pair, author).done("DELETE", f"/v1/posts/{post}")
    for feedd in (0, 1):
        assert pair.client(reader.user_id, feedd=feedd).get(f"/v1/posts/{post}").status_code == 404
    pair.same_as_oracle(reader)


def test_what_a_call_hid_stays_hidden_while_the_placement_changes_all_the_time(pair, friends):
    author, reader, _ = friends
    stop = threading.Event()

    def change():
        while not stop.is_set():
            pair.stack.register_nodes()
            time.sleep(0.7)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        end = time.monotonic() + 8
        rounds = 0
        while time.monotonic() < end:
            post = author.publish("short life")["id"]
            readers = [pair.client(reader.user_id, feedd=feedd) for feedd in (0, 1)]
            for client in readers:
                client.get(f"/v1/posts/{post}")
            other_feedd(pair, author).done("DELETE", f"/v1/posts/{post}")
            for client in readers * 3:
                assert client.get(f"/v1/posts/{post}").status_code == 404
                assert post not in client.feed()
            rounds += 1
    finally:
        stop.set()
        changing.join()
    assert rounds > 5
    time.sleep(2.2)
    pair.drained()
    pair.same_as_oracle(reader)


def people(world):
    """Two authors, and readers of both with resident timelines."""
    slow, quick, *readers = world.users(5)
    for reader in readers:
        reader.follow(slow)
        reader.follow(quick)
    for i in range(15):
        slow.publish(f"before {i}")
    world.drained()
    for reader in readers:
        reader.feed()
    return slow, quick, readers


@pytest.mark.parametrize("held_s", [0.7, 1.6, 2.5])
def test_a_post_delivered_late_is_put_in_order(hasty, held_s):
    slow, quick, readers = people(hasty)
    committing = publish_slowly(hasty, slow, "long in its transaction", held_s)
    while committing.is_alive():
        quick.publish("in between")
        time.sleep(0.15)
    committing.join()
    for i in range(3):
        quick.publish(f"after {i}")
    hasty.drained()
    hasty.same_as_oracle(*readers)
    hasty.green()


@pytest.mark.sanitized
def test_many_posts_delivered_late_do_not_hide_newer_ones_below_them(hasty):
    """More late posts than a first read fetches, minted over more than the lateness: pushed at the head they would pass for all there is."""
    slow, quick, readers = people(hasty)
    committing = threading.Thread(target=hasty.sql, args=(
        f"DO $$ BEGIN FOR i IN 1..60 LOOP PERFORM publish_posts(ARRAY[{slow.user_id}], ARRAY['late ' || i], ARRAY[0], ARRAY[NULL], ARRAY[0], ARRAY[NULL]); "
        "PERFORM pg_sleep(0.025); END LOOP; PERFORM pg_sleep(1.5); END $$",))
    committing.start()
    time.sleep(2)
    for i in range(5):
        quick.publish(f"newer {i}")
    hasty.drained()
    for reader in readers:
        reader.feed()
    committing.join()
    hasty.drained()
    hasty.same_as_oracle(*readers)
    hasty.green()


@pytest.mark.parametrize("point", ["fanout.after_slice", "fanout.before_push", "fanout.after_push", "fanout.before_confirm"])
def test_a_worker_that_stood_still_for_longer_than_the_lateness_leaves_no_disorder(hasty, point):
    slow, quick, readers = people(hasty)
    with hasty.paused_at(point, hasty.fanoutd, lambda: slow.publish("held")):
        for i in range(5):
            quick.publish(f"meanwhile {i}")
        time.sleep(1.6)
        hasty.same_as_oracle(quick)
    for i in range(3):
        quick.publish(f"after {i}")
    hasty.drained()
    hasty.same_as_oracle(*readers)
    hasty.green()


@pytest.mark.sanitized
def test_a_frozen_fanoutd_that_wakes_up_leaves_no_disorder(hasty):
    slow, quick, readers = people(hasty)
    for _ in range(3):
        with hasty.frozen(hasty.fanoutd):
            slow.publish("held")
            quick.publish("held")
            time.sleep(1.5)
        quick.publish("after")
    hasty.drained()
    hasty.same_as_oracle(*readers)
    hasty.green()
