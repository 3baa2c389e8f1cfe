"""
What a call hid (204) stays hidden from every later request at any feedd, whatever its cache nodes do: a node that does not confirm is
ejected before the answer, or the answer is 503; and what it still holds is not read when it returns.
"""

import time

import pytest

from support.faults import until_answer

pytestmark = pytest.mark.sanitized

WAYS = {
    "delete": lambda world, author, reader, post: author.delete(f"/v1/posts/{post}"),
    "block": lambda world, author, reader, post: author.put(f"/v1/me/blocks/{reader.user_id}"),
    "unfollow": lambda world, author, reader, post: reader.delete(f"/v1/me/following/{author.user_id}"),
}


def look(world, reader, post, in_feed_only):
    """No feedd shows the post; 503 is an answer too."""
    for feedd in range(len(world.stack.feedd)):
        client = world.client(reader.user_id, feedd=feedd)
        answer = client.get("/v1/me/feed")
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            assert post not in [item["id"] for item in answer.json()["items"]], f"feedd {feedd} shows the hidden post in a feed"
        if not in_feed_only:
            assert client.get(f"/v1/posts/{post}").status_code in (404, 503), f"feedd {feedd} shows the hidden post"


@pytest.mark.parametrize("kind", ["memcached", "redis"])
@pytest.mark.parametrize("way", WAYS)
def test_hidden_by_a_call_while_a_node_is_frozen(pair, way, kind):
    node = getattr(pair.stack, kind)[1]
    author, *readers = pair.users(7)
    for reader in readers:
        reader.follow(author)
    posts = [author.publish(f"soon hidden {i}")["id"] for i in range(len(readers))]
    pair.drained()
    for reader in readers:  # cached everywhere, seen by both feedds
        for feedd in (0, 1):
            assert len(pair.client(reader.user_id, feedd=feedd).feed()) == len(posts)
    with pair.frozen(node):
        for reader, post in zip(readers, posts):
            answer = WAYS[way](pair, author, reader, post)
            if answer.status_code == 204:
                look(pair, reader, post, way == "unfollow")
            else:
                assert answer.status_code == 503 and "Retry-After" in answer.headers, answer.text
        for reader, post in zip(readers, posts):
            until_answer(lambda: WAYS[way](pair, author, reader, post), 204)  # pylint: disable=cell-var-from-loop
            look(pair, reader, post, way == "unfollow")
    end = time.monotonic() + 1
    while time.monotonic() < end:  # the node answers again, with what it held
        for reader, post in zip(readers, posts):
            look(pair, reader, post, way == "unfollow")
    pair.settled()
    for reader, post in zip(readers, posts):
        look(pair, reader, post, way == "unfollow")
    pair.same_as_oracle(*readers)


@pytest.mark.threads
def test_a_call_whose_node_cannot_be_ejected_does_not_claim_success(pair):
    """The node is frozen and PostgreSQL takes no change of placement: nobody may answer 204."""
    author, reader = pair.users(2)
    reader.follow(author)
    posts = [author.publish(f"soon hidden {i}")["id"] for i in range(6)]
    pair.drained()
    reader.feed()
    pair.sql("ALTER FUNCTION change_placement RENAME TO change_placement_away")
    try:
        with pair.frozen(*pair.stack.memcached):
            for post in posts[:2]:
                answer = author.delete(f"/v1/posts/{post}")
                assert answer.status_code == 503 and "Retry-After" in answer.headers, f"{answer.status_code} {answer.text}"
    finally:
        pair.sql("ALTER FUNCTION change_placement_away RENAME TO change_placement")
    for post in posts[:2]:
        until_answer(lambda: author.delete(f"/v1/posts/{post}"), 204)  # pylint: disable=cell-var-from-loop
        look(pair, reader, post, False)
    pair.settled()
    pair.same_as_oracle(reader)
