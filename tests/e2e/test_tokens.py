"""Bearer tokens: which are good, which are not, and that a refused call does nothing."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from stack import make_token
from support.problem import is_problem


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(world, user, header=None, claims=None, secret=None, algorithm=hashlib.sha256):
    """A token of our own making; header and claims add to (None removes from) what a good one has."""
    now = int(time.time())
    head = {"alg": "HS256", "typ": "JWT", "kid": "dev", **(header or {})}
    body = {"iss": "fanfare", "sub": str(user.user_id), "iat": now, "exp": now + 600, **(claims or {})}
    signed = ".".join(part({k: v for k, v in d.items() if v is not None}) for d in (head, body))
    return f"{signed}.{part(hmac.new(secret or world.stack.secret, signed.encode(), algorithm).digest())}"


def ask(world, authorization, method="GET", path="/v1/me", **arguments):
    headers = {} if authorization is None else {"Authorization": authorization}
    return world.client().call(method, path, headers=headers, **arguments)


def refused(answer, code):
    is_problem(answer, 401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer "), "401 without WWW-Authenticate"


def test_our_own_good_token_is_taken(world):
    user = world.user()
    assert ask(world, "Bearer " + token(world, user)).json()["id"] == str(user.user_id)


CALLS = [("GET", "/v1/me"), ("PATCH", "/v1/me"), ("GET", "/v1/me/feed"), ("POST", "/v1/me/feed"), ("GET", "/v1/users/1"), ("GET", "/v1/users/1/feed"),
         ("GET", "/v1/users/1/followers"), ("GET", "/v1/users/1/following"), ("PUT", "/v1/me/following/1"), ("DELETE", "/v1/me/following/1"),
         ("GET", "/v1/me/blocks"), ("PUT", "/v1/me/blocks/1"), ("DELETE", "/v1/me/blocks/1"), ("GET", "/v1/me/mutes"), ("PUT", "/v1/me/mutes/1"),
         ("DELETE", "/v1/me/mutes/1"), ("GET", "/v1/posts/1"), ("DELETE", "/v1/posts/1"), ("PUT", "/v1/posts/1/like"), ("DELETE", "/v1/posts/1/like")]


@pytest.mark.fast
@pytest.mark.parametrize("method,path", CALLS)
def test_every_call_needs_a_token(world, method, path):
    body = {"json": {"text": "x"}} if method in ("POST", "PATCH") else {}
    refused(ask(world, None, method, path, **body), "no_token")
    refused(ask(world, "Bearer x.y.z", method, path, **body), "bad_token")


FORGED = {
    "alg none, no signature": lambda w, u: ".".join(token(w, u, {"alg": "none"}).split(".")[:2]) + ".",
    "alg None": lambda w, u: token(w, u, {"alg": "None"}),
    "another algorithm of the same family": lambda w, u: token(w, u, {"alg": "HS512"}, algorithm=hashlib.sha512),
    "EdDSA with the shared secret": lambda w, u: token(w, u, {"alg": "EdDSA"}),
    "no algorithm": lambda w, u: token(w, u, {"alg": None}),
    "another secret": lambda w, u: token(w, u, secret=b"x" * 32),
    "an empty secret": lambda w, u: token(w, u, secret=b"\0"),
    "another kid": lambda w, u: token(w, u, {"kid": "other"}),
    "a kid that is a path": lambda w, u: token(w, u, {"kid": "../../dev/null"}),
    "a kid that is no string": lambda w, u: token(w, u, {"kid": 7}),
    "another issuer": lambda w, u: token(w, u, claims={"iss": "somebody"}),
    "no issuer": lambda w, u: token(w, u, claims={"iss": None}),
    "no subject": lambda w, u: token(w, u, claims={"sub": None}),
    "a subject that is no id": lambda w, u: token(w, u, claims={"sub": "1 OR 1=1"}),
    "a subject that is a number": lambda w, u: token(w, u, claims={"sub": u.user_id}),
    "a subject of zero": lambda w, u: token(w, u, claims={"sub": "0"}),
    "no expiry": lambda w, u: token(w, u, claims={"exp": None}),
    "an expiry that is a string": lambda w, u: token(w, u, claims={"exp": "tomorrow"}),
    "a critical extension": lambda w, u: token(w, u, {"crit": ["x"], "x": 1}),
    "two parts": lambda w, u: ".".join(token(w, u).split(".")[:2]),
    "four parts": lambda w, u: token(w, u) + ".x",
    "a changed claim": lambda w, u: ".".join([token(w, u).split(".")[0], part({"iss": "fanfare", "sub": "1", "exp": 2**33}), token(w, u).split(".")[2]]),
    "a short signature": lambda w, u: token(w, u)[:-8],
    "a padded signature": lambda w, u: token(w, u) + "=",
    "garbage": lambda w, u: "\x7f\x01~~~",
    "too long": lambda w, u: "a" * 3000,
    "nothing": lambda w, u: "",
}


@pytest.mark.sanitized
@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(world, name):
    refused(ask(world, "Bearer " + FORGED[name](world, world.user())), "bad_token")


def test_the_last_character_of_the_signature_counts(world):
    good = token(world, world.user())
    flipped = good[:-1] + ("A" if good[-1] != "A" else "E")
    refused(ask(world, "Bearer " + flipped), "bad_token")


def test_an_expired_token_is_refused(world):
    user = world.user()
    refused(ask(world, "Bearer " + make_token(world.stack.secret, user.user_id, lifetime=-1)), "token_expired")
    refused(ask(world, "Bearer " + token(world, user, claims={"exp": 0})), "token_expired")


def test_a_token_expires_while_it_is_in_use(world):
    """On connections to every thread of feedd, each of which has verified it before."""
    short = make_token(world.stack.secret, world.user().user_id, lifetime=2)
    clients = [world.client(token=short) for _ in range(12)]
    assert [client.get("/v1/me").status_code for client in clients] == [200] * 12
    time.sleep(2.1)
    for client in clients:
        refused(client.get("/v1/me"), "token_expired")


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer  "])
def test_the_scheme_may_be_written_in_any_case(world, scheme):
    assert ask(world, scheme + token(world, world.user())).status_code == 200


@pytest.mark.parametrize("scheme", ["", "Basic ", "Bearer", "Token ", "Bearer:", "Bearer\u00a0"])
def test_another_scheme_is_refused(world, scheme):
    refused(ask(world, (scheme + token(world, world.user())).encode()), "bad_token")


def test_a_token_in_the_query_is_not_taken(world):
    is_problem(world.client().call("GET", f"/v1/me?access_token={token(world, world.user())}"), 400, "bad_query")


def test_a_token_of_a_user_who_does_not_exist_does_nothing(world):
    ghost = world.client(token=make_token(world.stack.secret, 12345))
    other = world.user()
    assert ghost.get("/v1/me").status_code == 404
    assert ghost.post("/v1/me/feed", {"text": "boo"}).status_code == 401
    assert ghost.put(f"/v1/me/following/{other.user_id}").status_code == 404
    assert ghost.put(f"/v1/me/blocks/{other.user_id}").status_code == 404
    assert ghost.put(f"/v1/me/mutes/{other.user_id}").status_code == 404
    assert ghost.feed() == []
    assert other.get(f"/v1/users/{other.user_id}/followers").json()["items"] == []


def test_a_refused_publish_publishes_nothing(world):
    user = world.user()
    refused(ask(world, "Bearer " + token(world, user, secret=b"y" * 32), "POST", "/v1/me/feed", json={"text": "x"}), "bad_token")
    assert user.feed() == [] and world.oracle(user) == []
