"""/healthz, /readyz, /metrics, and how the daemons start and end."""

import os
import signal
import subprocess

import pytest

from support import prometheus
from support.raw import Connection, request

FEEDD_FAMILIES = {"fanfare_http_requests_total": "counter", "fanfare_http_request_seconds": "histogram", "fanfare_feed_source_total": "counter",
                  "fanfare_backlog_jobs": "gauge", "fanfare_rebuilds_total": "counter", "fanfare_ratelimited_total": "counter"}
FANOUTD_FAMILIES = {"fanfare_fanout_jobs_total": "counter", "fanfare_fanout_deliveries_total": "counter", "fanfare_fanout_lag_seconds": "histogram",
                    "fanfare_fanout_backlog": "gauge", "fanfare_keeper": "gauge"}


def admin(daemon, path, method="GET"):
    with Connection(daemon.port) as c:
        c.send(request(method, path))
        return c.answer()


@pytest.mark.fast
@pytest.mark.parametrize("name", ["feedd", "fanoutd"])
def test_a_daemon_that_works_says_so(world, name):
    daemon = getattr(world.stack, name)[0]
    for path in ("/healthz", "/readyz"):
        status, headers, body = admin(daemon, path)
        assert status == 200 and headers["content-type"].startswith("text/plain") and body, f"{path}: {status}"


@pytest.mark.fast
@pytest.mark.parametrize("name,families", [("feedd", FEEDD_FAMILIES), ("fanoutd", FANOUTD_FAMILIES)])
def test_metrics_are_well_formed(world, name, families):
    user = world.user()
    user.publish("counted")
    user.feed()
    user.get("/v1/posts/1")
    status, headers, body = admin(getattr(world.stack, name)[0], "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    parsed = prometheus.parse(body.decode())
    assert {name: parsed[name][0] for name in families} == families
    assert parsed["process_resident_memory_bytes"][1][0][2] > 1e6
    assert parsed["process_cpu_seconds_total"][0] == "counter"


def test_every_request_is_counted_once(world):
    user = world.user()
    feedd = world.stack.feedd[0]
    calls = [("GET", "/v1/me", "GET /v1/me", 200, 5), ("GET", "/v1/posts/1", "GET /v1/posts/{id}", 404, 3), ("POST", "/v1/me/feed", "POST /v1/me/feed", 415, 2)]
    for method, path, route, status, times in calls:
        before = world.metric(feedd, "fanfare_http_requests_total", route=route, status=status)
        for _ in range(times):
            user.call(method, path, **({"data": b"x", "headers": {"Content-Type": "text/plain"}} if method == "POST" else {}))
        assert world.metric(feedd, "fanfare_http_requests_total", route=route, status=status) - before == times


def test_deliveries_are_counted(world):
    author, *readers = world.users(4)
    for reader in readers:
        reader.follow(author)
        reader.feed()
    world.drained()
    before = world.metric(world.stack.fanoutd[0], "fanfare_fanout_deliveries_total", result="resident")
    author.publish("x")
    world.drained()
    assert world.metric(world.stack.fanoutd[0], "fanfare_fanout_deliveries_total", result="resident") - before >= 3


@pytest.mark.parametrize("name", ["feedd", "fanoutd"])
def test_a_daemon_is_not_ready_without_its_database_and_recovers(world, name):
    daemon = getattr(world.stack, name)[0]
    world.stack.postgres.stop()
    try:
        world.until("not ready", lambda: admin(daemon, "/readyz")[0] == 503)
        status, headers, body = admin(daemon, "/readyz")
        assert status == 503 and body, "not ready without a reason"
        assert admin(daemon, "/healthz")[0] == 200, "alive is not ready"
        if name == "feedd":
            answer = world.client(token=world.stack.token(5)).get("/v1/me")
            assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    finally:
        world.stack.postgres.start()
    world.until("ready again", lambda: admin(daemon, "/readyz")[0] == 200)
    user = world.user()
    world.until("feeds to be served again", lambda: user.get("/v1/me/feed").status_code == 200)


@pytest.mark.sanitized
def test_feedd_finishes_what_is_under_way_before_it_ends(world):
    """SIGTERM amid a stream of publishes: every 201 is there, nothing is cut off in the middle of an answer."""
    import threading
    user = world.user()
    feedd = world.stack.feedd[0]
    posts, broken = [], []

    def stream():
        client = world.client(user.user_id, check=False)
        while True:
            try:
                answer = client.post("/v1/me/feed", {"text": "x"})
            except OSError as e:  # refused or closed: it has ended
                if "timed out" in str(e):
                    broken.append(e)
                return
            if answer.status_code == 201:
                posts.append(answer.json()["id"])
            elif answer.status_code != 503:
                broken.append(answer.text)

    threads = [threading.Thread(target=stream) for _ in range(4)]
    for thread in threads:
        thread.start()
    world.until("some posts", lambda: len(posts) > 20)
    feedd.send(signal.SIGTERM)
    for thread in threads:
        thread.join()
    world.until("feedd to end", lambda: not feedd.alive(), 15)
    feedd.start()
    assert not broken, broken[:3]
    world.drained()
    assert set(posts) <= set(world.oracle(user, 10**6)), "an acknowledged post is lost"


@pytest.mark.parametrize("name", ["feedd", "fanoutd"])
@pytest.mark.parametrize("arguments,code,said", [
    (["--nonsense"], 2, "nonsense"), (["--set", "feedd.no_such=1", "--set", "fanoutd.no_such=1"], 2, "no_such"), (["-c", "/does/not/exist"], 2, "/does/not/exist"),
    (["--set", "timeline.cap=many"], 2, "cap"), (["word"], 2, "word"), (["--version"], 0, ""), (["--help"], 0, "usage"), (["--help-options"], 0, "cap")])
def test_a_daemon_refuses_bad_arguments_with_a_reason(world, name, arguments, code, said):
    config = [] if "-c" in arguments else ["-c", world.stack.config]
    done = subprocess.run([os.path.join(world.stack.programs, name), *config, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False)
    assert done.returncode == code, done.stdout.decode()
    assert said in done.stdout.decode()


def test_an_address_that_cannot_be_had_is_told(world):
    done = subprocess.run([os.path.join(world.stack.programs, "fanoutd"), "-c", world.stack.config, "--set", "fanoutd.admin_port=1"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False, env=dict(os.environ, FANFARE_FANOUTD_ADMIN_ADDRESS="192.0.2.1"))
    assert done.returncode == 3 and "192.0.2.1" in done.stdout.decode(), done.stdout.decode()


def test_logs_hold_no_secrets(world):
    user = world.user()
    world.client().post("/v1/users", {"handle": "secretive", "name": "x", "password": "do-not-log-me"})
    user.publish("private words")
    secret = world.stack.secret
    import base64
    for daemon in world.stack.daemons:
        with open(daemon.log, encoding="utf-8", errors="replace") as f:
            text = f.read()
        for word in (user.token, "do-not-log-me", "private words", base64.urlsafe_b64encode(secret).decode().rstrip("=")):
            assert word not in text, f"{daemon.name} logs {word[:12]}..."
