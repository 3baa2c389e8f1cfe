"""Ten thousand requests that no client would send. The daemon answers or closes, and goes on."""

import json
import os
import random
import socket

import pytest

from support.raw import Connection, request

COUNT = 10000
SILENCE_S = 0.2
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "get", ""]
WORDS = ["v1", "me", "feed", "users", "posts", "following", "followers", "blocks", "mutes", "like", "sessions", "healthz", "metrics", "..", "%00", "%", "%zz", "1",
         "9223372036854775807", "99999999999999999999", "-1", "{id}", "", "\u00e9", "a" * 300]
QUERIES = ["limit=5", "limit=-1", "limit=%31", "cursor=ZjE", "cursor=%00", "cursor=" + "A" * 60, "limit=5&limit=6", "&&&", "=", "limit", "x=y", "limit=5;cursor=x", "%=%"]
TEXTS = ["", "a", "x" * 5001, "\u0000", "\ud83d\ude00", "\"", "\\", "\u202e", "\n"]
VALUES = [None, True, 0, -1, 1e308, 10**30, [], {}, [[[[]]]], {"a": {"b": []}}, "", "text"]


def body(rng, posts):
    kind = rng.random()
    if kind < 0.2:
        return rng.randbytes(rng.randrange(200))
    members = {name: rng.choice(TEXTS + VALUES + posts) for name in rng.sample(["text", "in_reply_to", "handle", "name", "password", "picture", "x"], rng.randrange(5))}
    made = json.dumps(rng.choice([members, members, members, [members], rng.choice(VALUES)])).encode()
    return made[:rng.randrange(len(made) + 1)] if kind < 0.3 else made


def known(rng, users, posts):
    """A call that the server has."""
    post, user = rng.choice(posts), rng.choice(users).user_id
    return rng.choice([("GET", "/v1/me/feed"), ("POST", "/v1/me/feed"), ("GET", "/v1/me"), ("PATCH", "/v1/me"), ("POST", "/v1/users"), ("POST", "/v1/sessions"),
                       ("GET", "/v1/me/blocks"), ("GET", f"/v1/posts/{post}"), ("GET", f"/v1/users/{user}"), ("GET", f"/v1/users/{user}/feed"),
                       ("PUT", f"/v1/me/following/{user}"), ("DELETE", f"/v1/me/following/{user}"), ("PUT", f"/v1/me/mutes/{user}"), ("DELETE", f"/v1/me/mutes/{user}"),
                       ("PUT", f"/v1/posts/{post}/like"), ("DELETE", f"/v1/posts/{post}/like"), ("GET", "/metrics")])


def one(rng, users, posts):
    method, path = known(rng, users, posts)
    if rng.random() < 0.2:
        path = "/" + "/".join(rng.choice(WORDS + posts) for _ in range(rng.randrange(6)))
    if rng.random() < 0.2:
        method = rng.choice(METHODS)
    if rng.random() < 0.2:
        path += "?" + "&".join(rng.choice(QUERIES) for _ in range(rng.randrange(1, 4)))
    headers = []
    if rng.random() < 0.2:
        headers.append(rng.choice(["Idempotency-Key: k", "Idempotency-Key: " + "k" * 300, "Content-Type: text/html", "Expect: 100-continue", "Connection: close",
                                   "traceparent: 00-x", "Transfer-Encoding: gzip", "Range: bytes=0-1", "Upgrade: websocket", "Cookie: " + "c" * 2000, "X: \x01"]))
    token = rng.choice(users).token if rng.random() < 0.9 else None
    content = body(rng, posts) if method in ("POST", "PATCH") or rng.random() < 0.1 else b""
    return request(method, path, token, content, headers)


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data))
        what = rng.random()
        if what < 0.5:
            data[at] = rng.randrange(256)
        elif what < 0.75:
            del data[at:at + rng.randrange(1, 20)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
        if not data:
            return b"\0"
    return bytes(data)


def exchange(port, data):
    """Sends, ends its side, takes one answer; returns its status, "closed", or "silent" when it is waited for more (the idle timeout is not this test's)."""
    try:
        with Connection(port, timeout=SILENCE_S) as c:
            c.send(data)
            c.socket.shutdown(socket.SHUT_WR)
            answer = c.answer(body=not data.startswith(b"HEAD"))
            return answer[0] if answer else "closed"
    except TimeoutError:
        return "silent"
    except OSError:
        return "closed"


def run(world, count, seed):
    rng = random.Random(seed)
    users = world.users(4)
    posts = [users[i % 4].publish(f"post {i}")["id"] for i in range(8)]
    feedd = world.stack.feedd[0]
    pid, statuses = feedd.pid, {}
    for i in range(count):
        data = one(rng, users, posts)
        if rng.random() < 0.4:
            data = mutated(rng, data)
        status = exchange(feedd.port, data)
        statuses[status] = statuses.get(status, 0) + 1
        assert isinstance(status, str) or status < 500 or status in (501, 503, 505), f"request {i} of seed {seed} was answered {status}: {data[:400]!r}"
    assert feedd.alive() and feedd.pid == pid, "feedd died"
    assert users[0].publish("still here")["text"] == "still here"
    assert statuses.get("silent", 0) < count / 5, f"too many requests were not answered: {statuses}"
    assert len(statuses) > 6 and statuses.get(200, 0) > count / 100, f"the requests are too much alike to prove anything: {statuses}"
    world.drained()
    for user in users:
        assert [i["id"] for i in user.pages(limit=200)] == world.oracle(user)


def test_ten_thousand_strange_requests(world):
    run(world, COUNT, int(os.environ.get("FANFARE_FUZZ_SEED", "1")))


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_thousand_strange_requests(world):
    run(world, 1000, 2)
