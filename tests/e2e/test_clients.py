"""Clients that we did not write, used as their manuals say."""

import http.client
import json
import subprocess
import urllib.request

import pytest
import requests


def curl(world, *arguments, user=None):
    """Runs curl; returns (status, headers, body)."""
    token = ["-H", f"Authorization: Bearer {user.token}"] if user else []
    done = subprocess.run(["curl", "-s", "-S", "--noproxy", "*", "--max-time", "20", "-D", "-", *token, *arguments], stdout=subprocess.PIPE, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body


@pytest.mark.fast
def test_curl_signs_up_publishes_follows_and_reads(world):
    data = ["-H", "Content-Type: application/json", "-d"]
    name = f"curl_{world.count}_{world.stack.feedd[0].pid}"
    status, _, body = curl(world, *data, json.dumps({"handle": name, "name": "Curl", "password": "long enough"}), f"{world.url}/v1/users")
    assert status == 201, body
    other = world.user()
    me = world.client(token=json.loads(body)["token"], user_id=int(json.loads(body)["id"]))
    status, headers, body = curl(world, *data, '{"text":"Hello, world"}', f"{world.url}/v1/me/feed", user=me)
    assert status == 201 and json.loads(body)["text"] == "Hello, world"
    assert curl(world, world.url + headers["Location"], user=me)[0] == 200
    assert curl(world, "-X", "PUT", f"{world.url}/v1/me/following/{other.user_id}", user=me)[0] == 204
    status, _, body = curl(world, f"{world.url}/v1/me/feed?limit=5", user=me)
    assert status == 200 and len(json.loads(body)["items"]) == 1


def test_curl_sends_a_large_body_with_expect(world):
    user = world.user()
    body = json.dumps({"text": "𠮷" * 5000}, ensure_ascii=False)
    done = curl(world, "-H", "Expect: 100-continue", "-H", "Content-Type: application/json", "--data-binary", body, f"{world.url}/v1/me/feed", user=user)
    assert done[0] == 201 and json.loads(done[2])["text"] == "𠮷" * 5000


def test_curl_asks_for_the_head(world):
    status, headers, _ = curl(world, "-I", "-o", "/dev/null", f"{world.url}/v1/me", user=world.user())
    assert status == 200 and int(headers["Content-Length"]) > 0


def test_curl_uses_one_connection_for_many_calls(world):
    user = world.user()
    done = subprocess.run(["curl", "-s", "--noproxy", "*", "-H", f"Authorization: Bearer {user.token}", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n",
                           f"{world.url}/v1/me/feed?limit=[1-20]"], stdout=subprocess.PIPE, check=True)
    lines = done.stdout.decode().split("\n")[:20]
    assert [line.split()[0] for line in lines] == ["200"] * 20
    assert sum(int(line.split()[1]) for line in lines) == 1, "the connection was not kept"


def test_requests_keeps_a_session(world):
    user = world.user()
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {user.token}"
        post = session.post(f"{world.url}/v1/me/feed", json={"text": "by requests"}).json()
        page = session.get(f"{world.url}/v1/me/feed", params={"limit": 1})
        assert page.headers["Content-Type"] == "application/json" and page.json()["items"] == [post]


def test_requests_streams_a_chunked_body(world):
    user = world.user()

    def pieces():
        yield b'{"text": '
        yield b'"in pieces"}'

    answer = requests.post(f"{world.url}/v1/me/feed", data=pieces(), timeout=10, proxies={"http": None},
                           headers={"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"})
    assert answer.status_code == 201 and answer.json()["text"] == "in pieces"


def test_http_client_calls_again_and_again_on_one_connection(world):
    user = world.user()
    connection = http.client.HTTPConnection("127.0.0.1", world.stack.feedd[0].port, timeout=10)
    headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    for i in range(20):
        connection.request("POST", "/v1/me/feed", json.dumps({"text": f"n{i}"}), headers)
        answer = connection.getresponse()
        assert answer.status == 201 and json.loads(answer.read())["text"] == f"n{i}"
        connection.request("DELETE", "/v1/posts/1", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 404 and answer.read()


def test_urllib_reads(world):
    asked = urllib.request.Request(f"{world.url}/v1/me", headers={"Authorization": f"Bearer {world.user().token}"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert json.load(answer)["name"] == "Someone"
