"""Publishing, replays, replies, likes, deletes."""

import concurrent.futures

import pytest

from support.problem import is_problem


def publish(user, text="hello", key=None, **members):
    headers = {"Idempotency-Key": key} if key is not None else {}
    return user.post("/v1/me/feed", {"text": text, **members}, headers=headers)


@pytest.mark.fast
def test_a_published_post_is_found_where_location_says(world):
    user = world.user()
    answer = publish(user, "hello")
    assert answer.status_code == 201, answer.text
    post = answer.json()
    assert answer.headers["Location"] == f"/v1/posts/{post['id']}"
    assert user.get(answer.headers["Location"]).json() == post
    assert (post["text"], post["likes"], post["replies"], post["author"]["id"]) == ("hello", 0, 0, str(user.user_id))
    assert "Idempotency-Replayed" not in answer.headers


def test_a_201_is_committed_with_its_job(world):
    """Whatever the queue and fanoutd do: the row is there when 201 is there."""
    user = world.user()
    world.stack.fanoutd[0].stop()
    posts = [publish(user, f"post {i}").json()["id"] for i in range(10)]
    ids = ",".join(posts)
    assert world.sql(f"SELECT count(*) FROM posts WHERE id IN ({ids})") == "10"
    assert world.sql(f"SELECT count(*) FROM outbox WHERE post_id IN ({ids})") == "10"
    world.stack.fanoutd[0].start()
    world.drained()


@pytest.mark.fast
@pytest.mark.sanitized
def test_the_same_key_gives_the_first_answer_and_one_post(world):
    user = world.user()
    first = publish(user, "once", "key-1")
    for _ in range(5):
        again = publish(user, "once", "key-1")
        assert again.status_code == 201 and again.json() == first.json(), "a replay is not the first answer"
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["Idempotency-Replayed"] == "true"
    assert user.feed() == [first.json()["id"]]


def test_a_replay_shows_the_first_answer_whatever_happened_since(world):
    user, other = world.users(2)
    target = other.publish("target")
    first = publish(user, "once", "k", in_reply_to=target["id"]).json()
    other.done("PUT", f"/v1/posts/{first['id']}/like")
    user.patch("/v1/me", {"name": "Renamed"})
    other.done("DELETE", f"/v1/posts/{target['id']}")
    user.done("DELETE", f"/v1/posts/{first['id']}")
    again = publish(user, "once", "k", in_reply_to=target["id"])
    assert again.status_code == 201 and again.json() == first, again.text
    assert user.feed() == [], "a replay brought the deleted post back"


@pytest.mark.parametrize("changed", [{"text": "other"}, {"text": "once", "in_reply_to": "TARGET"}, {"text": "once "}])
def test_the_same_key_with_another_body_is_refused(world, changed):
    user = world.user()
    target = user.publish("target")["id"]
    publish(user, "once", "k")
    changed = {k: target if v == "TARGET" else v for k, v in changed.items()}
    is_problem(publish(user, key="k", **changed), 422, "key_reused")
    assert len(user.feed()) == 2


def test_a_body_written_otherwise_is_the_same_body(world):
    user = world.user()
    first = publish(user, "é", "k")
    again = user.call("POST", "/v1/me/feed", data=b' { "in_reply_to" : null, "text" : "\\u00e9" } ',
                      headers={"Content-Type": "application/json", "Idempotency-Key": "k"})
    assert again.status_code == 201 and again.json() == first.json(), again.text


def test_keys_belong_to_their_user(world):
    users = world.users(2)
    posts = {publish(user, "x", "the-same-key").json()["id"] for user in users}
    assert len(posts) == 2, "one user's key answered another"


def test_without_a_key_every_call_is_a_post(world):
    user = world.user()
    assert len({publish(user, "same").json()["id"] for _ in range(3)}) == 3


def test_a_refused_publish_does_not_use_up_its_key(world):
    user = world.user()
    is_problem(publish(user, "x" * 5001, "k"), 422, "too_long")
    is_problem(publish(user, "x", "k", in_reply_to="4711"), 422, "unknown_post")
    assert publish(user, "good", "k").status_code == 201


@pytest.mark.parametrize("key", ["x", "x" * 255, "!~", "a,b;c=\"d\"", "0"])
def test_keys_of_visible_ascii_are_taken(world, key):
    user = world.user()
    assert publish(user, "a", key).status_code == publish(user, "a", key).status_code == 201
    assert len(user.feed()) == 1


@pytest.mark.parametrize("key", ["x" * 256, "", "a b", "t\u00e9", "a\tb"])
def test_other_keys_are_refused(world, key):
    user = world.user()
    is_problem(user.post("/v1/me/feed", {"text": "a"}, headers={"Idempotency-Key": key.encode()}), 400, "bad_header")
    assert user.feed() == []


@pytest.mark.fast
@pytest.mark.sanitized
@pytest.mark.threads
def test_the_same_key_twenty_times_at_once_is_one_post(world):
    user = world.user()
    for turn in range(5):
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            clients = [world.client(user.user_id) for _ in range(20)]
            answers = list(pool.map(lambda client: publish(client, "once", f"turn-{turn}"), clients))
        assert {a.status_code for a in answers} == {201}, [a.text for a in answers if a.status_code != 201]
        assert len({a.json()["id"] for a in answers}) == 1, "one key, several posts"
        assert sum("Idempotency-Replayed" not in a.headers for a in answers) == 1, "more than one answer says that it is the first"
    assert len(user.feed()) == 5


def test_one_key_with_different_bodies_at_once_has_one_winner(world):
    user = world.user()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda i: publish(world.client(user.user_id), f"text {i}", "k"), range(12)))
    statuses = sorted(a.status_code for a in answers)
    assert statuses == [201] + [422] * 11, statuses
    assert len(user.feed()) == 1


@pytest.mark.sanitized
def test_many_authors_at_once_all_get_their_own_post(world):
    users = world.users(16)

    def live(user):
        posts = []
        for i in range(15):
            answer = publish(user, f"{user.user_id} says {i}")
            assert answer.status_code == 201 and answer.json()["text"] == f"{user.user_id} says {i}", answer.text
            assert answer.json()["author"]["id"] == str(user.user_id), "somebody else's answer"
            posts.append(answer.json()["id"])
        return posts

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for user, posts in zip(users, pool.map(live, users)):
            assert [i["id"] for i in user.pages(f"/v1/users/{user.user_id}/feed")] == posts[::-1]


@pytest.mark.parametrize("text,status,code", [
    ("x" * 5000, 201, None), ("x" * 5001, 422, "too_long"), ("𠮷" * 5000, 201, None), ("𠮷" * 5001, 422, "too_long"),
    ("e\u0301" * 2500, 201, None), ("e\u0301" * 2501, 422, "too_long"), ("👩‍👩‍👧‍👦" * 714, 201, None), ("👩‍👩‍👧‍👦" * 715, 422, "too_long"),
    ("", 422, "too_short"), (" \n\t\u3000", 422, "too_short"), ("a\u0000b", 422, "bad_value"), ("a\nb\tc", 201, None), ("\u0001", 201, None),
])
def test_length_of_a_text_counts_code_points(world, text, status, code):
    user = world.user()
    answer = publish(user, text)
    if status == 201:
        assert answer.status_code == 201, answer.text
        assert user.get("/v1/me/feed").json()["items"][0]["text"] == text, "the text is not the one published"
    else:
        is_problem(answer, status, code)


@pytest.mark.parametrize("target,status,code", [("4711", 422, "unknown_post"), ("x", 422, "bad_value"), ("0", 422, "bad_value"), (7, 400, "wrong_type"),
                                                ("9223372036854775808", 422, "bad_value"), (None, 201, None)])
def test_a_reply_needs_a_post(world, target, status, code):
    answer = publish(world.user(), "reply", in_reply_to=target)
    if status == 201:
        assert answer.status_code == 201 and "in_reply_to" not in answer.json()
    else:
        is_problem(answer, status, code)


@pytest.mark.fast
def test_replies_are_counted_as_they_come_and_go(world):
    author, other = world.users(2)
    post = author.publish("question")
    assert author.get(f"/v1/posts/{post['id']}").json()["replies"] == 0
    replies = [other.publish(f"answer {i}", in_reply_to=post["id"]) for i in range(3)]
    assert replies[0]["in_reply_to"] == post["id"]
    assert other.get(f"/v1/posts/{replies[0]['id']}").json()["in_reply_to"] == post["id"]
    world.until("replies to be counted", lambda: author.get(f"/v1/posts/{post['id']}").json()["replies"] == 3, timeout=3)
    other.done("DELETE", f"/v1/posts/{replies[0]['id']}")
    other.done("DELETE", f"/v1/posts/{replies[0]['id']}")
    assert author.get(f"/v1/posts/{post['id']}").json()["replies"] == 2


def test_a_reply_to_a_deleted_post_is_refused(world):
    user = world.user()
    post = user.publish("gone")["id"]
    user.done("DELETE", f"/v1/posts/{post}")
    is_problem(publish(user, "reply", in_reply_to=post), 422, "unknown_post")


@pytest.mark.fast
@pytest.mark.sanitized
def test_likes_are_counted_once_a_user_and_show_at_once(world):
    author, *fans = world.users(4)
    post = author.publish("like me")["id"]

    def likes():
        return author.get(f"/v1/posts/{post}").json()["likes"], author.get("/v1/me/feed").json()["items"][0]["likes"]

    assert likes() == (0, 0)
    for n, fan in enumerate(fans, 1):
        for _ in range(2):
            fan.done("PUT", f"/v1/posts/{post}/like")
            assert likes() == (n, n), "a like is not shown, or counted twice"
    for n, fan in enumerate(fans, 1):
        for _ in range(2):
            fan.done("DELETE", f"/v1/posts/{post}/like")
            assert likes() == (3 - n, 3 - n)


def test_likes_of_many_at_once_are_all_counted(world):
    author = world.user()
    post = author.publish("popular")["id"]
    fans = world.users(20)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda fan: [fan.done(verb, f"/v1/posts/{post}/like") for verb in ("PUT", "DELETE", "PUT")], fans))
    assert author.get(f"/v1/posts/{post}").json()["likes"] == 20


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
def test_a_like_of_nothing(world, verb):
    answer = world.user().call(verb, "/v1/posts/4711/like")
    assert answer.status_code == (404 if verb == "PUT" else 204), answer.text


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_deleted_post_is_nowhere(world):
    author, other = world.users(2)
    other.follow(author)
    post = author.publish("soon gone")["id"]
    world.drained()
    assert other.feed() == [post] and other.get(f"/v1/posts/{post}").status_code == 200
    for _ in range(2):
        author.done("DELETE", f"/v1/posts/{post}")
        for who in (author, other):
            is_problem(who.get(f"/v1/posts/{post}"), 404, "not_found")
            assert who.feed() == [] and who.pages(f"/v1/users/{author.user_id}/feed") == []
    is_problem(other.put(f"/v1/posts/{post}/like"), 404, "not_found")


def test_only_its_author_deletes_a_post(world):
    author, other = world.users(2)
    post = author.publish("mine")["id"]
    is_problem(other.delete(f"/v1/posts/{post}"), 403, "forbidden")
    assert author.get(f"/v1/posts/{post}").status_code == 200
    is_problem(author.delete("/v1/posts/4711"), 404, "not_found")


def test_traceparent_is_kept_when_it_is_one(world):
    user = world.user()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    world.stack.fanoutd[0].stop()
    for given, kept in ((trace, trace), ("nonsense", ""), (trace.upper(), "")):
        post = user.post("/v1/me/feed", {"text": "x"}, headers={"traceparent": given}).json()["id"]
        assert world.sql(f"SELECT traceparent FROM outbox WHERE post_id = {post}") == kept
    world.stack.fanoutd[0].start()
    world.drained()
