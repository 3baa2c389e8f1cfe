"""Server, contract and documentation say the same."""

import os
import re
import subprocess
import sys

import pytest

from support.client import CONTRACT
from support.contract import ROOT

WORDS = ["v1", "me", "feed", "users", "posts", "following", "followers", "blocks", "mutes", "like", "sessions", "1"]


def documented():
    return {(method.upper(), template) for template, operations in CONTRACT.document["paths"].items() for method in operations if method != "parameters"}


def routes(world):
    """Every route that the server's own table has, as its metrics name them."""
    text = "".join(sample + "\n" for sample in world.stack.feedd[0].metrics() if sample.startswith("fanfare_http_request_seconds_count"))
    return {tuple(route.split(" ")) for route in re.findall(r'route="([A-Z]+ [^"]+)"', text)}


def walk(world):
    """Calls every operation once with success."""
    import random
    me, other = world.users(2)
    name = f"walk_{random.randrange(10**9)}"
    anyone = world.client()
    assert anyone.post("/v1/users", {"handle": name, "name": "Walker", "password": "correct horse"}).status_code == 201
    assert anyone.post("/v1/sessions", {"handle": name, "password": "correct horse"}).status_code == 200
    post = other.publish("walked over")["id"]
    for edge in ("following", "mutes", "blocks"):
        me.done("PUT", f"/v1/me/{edge}/{other.user_id}")
        me.done("DELETE", f"/v1/me/{edge}/{other.user_id}")
    me.done("PUT", f"/v1/posts/{post}/like")
    me.done("DELETE", f"/v1/posts/{post}/like")
    assert me.patch("/v1/me", {"name": "Walker"}).status_code == 200
    for path in ("/v1/me", "/v1/me/feed", "/v1/me/blocks", "/v1/me/mutes", f"/v1/posts/{post}", "/healthz", "/readyz", "/metrics",
                 *(f"/v1/users/{other.user_id}{tail}" for tail in ("", "/feed", "/followers", "/following"))):
        assert me.get(path).status_code == 200, path
    other.done("DELETE", f"/v1/posts/{post}")


@pytest.mark.fast
@pytest.mark.sanitized
def test_every_documented_operation_works_and_answers_as_documented(world):
    walk(world)
    done = {(method, template) for method, template, status in CONTRACT.seen if status.startswith("2")}
    assert not documented() - done, f"documented, but never seen to succeed: {sorted(documented() - done)}"


@pytest.mark.fast
def test_every_route_of_the_server_is_documented(world):
    walk(world)
    operators = {("GET", path) for path in ("/healthz", "/readyz", "/metrics")}
    assert routes(world) == documented() - operators


def test_no_path_answers_that_is_not_documented(world):
    """Probes every path of up to four known words: what is not 404 must be in the contract."""
    user = world.user()
    paths, level = [], [""]
    for _ in range(4):
        level = [path + "/" + word for path in level for word in WORDS if (word == "v1") == (path == "")]
        paths += level
    for path in paths:
        answer = user.call("OPTIONS", path)
        assert answer.status_code in (404, 405), f"OPTIONS {path}: {answer.status_code}"
        found = {method for method, template in documented() if re.fullmatch(re.sub(r"\{[^}]+\}", "[0-9]+", template), path)}
        allowed = set(answer.headers.get("Allow", "").split(", ")) - {"", "HEAD"}
        assert allowed == found, f"{path}: the server knows {sorted(allowed)}, the contract {sorted(found)}"


def test_every_documented_limit_is_the_servers(world):
    """The bounds that the schemas tell, just within and just beyond."""
    user = world.user()
    schemas = CONTRACT.document["components"]["schemas"]
    limit = CONTRACT.document["components"]["parameters"]["Limit"]["schema"]
    for value, status in ((limit["minimum"], 200), (limit["minimum"] - 1, 400), (limit["maximum"], 200), (limit["maximum"] + 1, 400)):
        assert user.get(f"/v1/me/feed?limit={value}").status_code == status
    text = schemas["NewPost"]["properties"]["text"]
    for length, status in ((text["minLength"], 201), (text["maxLength"], 201), (text["maxLength"] + 1, 422)):
        assert user.post("/v1/me/feed", {"text": "x" * length}).status_code == status
    name = schemas["Name"]
    for length, status in ((name["minLength"], 200), (name["minLength"] - 1, 422), (name["maxLength"], 200), (name["maxLength"] + 1, 422)):
        assert user.patch("/v1/me", {"name": "x" * length}).status_code == status
    world.old_posts(user, 45)
    world.make_cold(user)
    assert len(user.get("/v1/me/feed").json()["items"]) == limit["default"]


def test_every_problem_code_is_documented(world):
    """The words in the server's table of problems are those of the contract."""
    with open(os.path.join(ROOT, "feedd", "problem.h"), encoding="utf-8") as f:
        known = set(re.findall(r'X\([A-Z_0-9]+, \d{3}, "([a-z0-9_]+)"\)', f.read())) | {"internal"}
    told = set()
    for response in CONTRACT.document["components"]["responses"].values():
        for part in response["content"]["application/problem+json"]["schema"]["allOf"]:
            told |= set(part.get("properties", {}).get("code", {}).get("enum", []))
    assert len(known) > 20 and known == told, f"only in the server: {sorted(known - told)}; only in the contract: {sorted(told - known)}"


@pytest.mark.fast
def test_the_api_page_is_made_from_the_contract():
    page = os.path.join(ROOT, "docs", "api", "index.md")
    with open(page, encoding="utf-8") as f:
        before = f.read()
    done = subprocess.run([sys.executable, os.path.join(ROOT, "docs", "api", "generate.py"), "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    with open(page, encoding="utf-8") as f:
        after = f.read()
    assert done.returncode == 0 and before == after, "docs/api/index.md is not what docs/api/generate.py makes: " + done.stdout.decode()
