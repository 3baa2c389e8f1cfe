"""Whoever asks for an id before its object is committed does not make anybody believe later that there is none."""

import pytest


@pytest.fixture(scope="module")
def fresh(world_factory):
    return world_factory()


def id_of(world, shard_of, age_ms):
    """An id of the shard of this one, minted so long ago."""
    return world.sql(f"SELECT (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1704067200000 - {age_ms}) << 22)"
                     f" | (shard_of({shard_of})::bigint << 12) | 4095")


@pytest.mark.parametrize("age_ms", [-2000, 0, 3000])
def test_a_post_asked_for_before_it_was_there(fresh, age_ms):
    author, reader = fresh.users(2)
    reader.follow(author)
    post = id_of(fresh, author.user_id, age_ms)
    assert reader.get(f"/v1/posts/{post}").status_code == 404
    fresh.sql(f"INSERT INTO posts (shard, id, author_id, text) VALUES (shard_of({post}), {post}, {author.user_id}, 'late')")
    fresh.make_cold(reader)
    assert reader.feed() == [post]
    assert reader.get(f"/v1/posts/{post}").status_code == 200


def test_a_user_asked_for_before_he_was_there(fresh):
    reader = fresh.user()
    user = id_of(fresh, reader.user_id, 0)
    assert reader.get(f"/v1/users/{user}/feed").status_code == 404
    fresh.sql(f"INSERT INTO users (shard, id, handle, name) VALUES (shard_of({user}), {user}, 'late{user}', 'Late')")
    author = fresh.client(int(user))
    reader.follow(author)
    post = author.publish("x")["id"]
    fresh.drained()
    assert reader.feed() == [post]
