"""HTTP as clients speak it that are slow, wrong, or in a hurry."""

import json
import socket
import time

import pytest

from support.problem import is_problem
from support.raw import Connection, request

IDLE_S = 1
CONNECTIONS = 40


@pytest.fixture(scope="module")
def impatient(world_factory):
    """Little patience and few connections."""
    return world_factory(options={"feedd.idle_timeout": f"{IDLE_S}s", "feedd.threads": "1", "feedd.max_connections": str(CONNECTIONS),
                                  "feedd.max_body": "4096"})


@pytest.fixture
def connect(world):
    return lambda: Connection(world.stack.feedd[0].port)


def problem_in(answer, status, code):
    assert answer is not None, "closed without an answer"
    got, headers, body = answer
    assert got == status, f"status {got} where {status} was due: {body[:200]}"
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)


def serves(world):
    """The daemon still answers, quickly."""
    began = time.monotonic()
    with Connection(world.stack.feedd[0].port, timeout=2) as c:
        c.send(request("GET", "/healthz"))
        assert c.answer()[0] == 200
    assert time.monotonic() - began < 1, "answered, but late"


@pytest.mark.parametrize("method,path,allow", [
    ("POST", "/v1/me", {"GET", "HEAD", "PATCH"}), ("PUT", "/v1/me/feed", {"GET", "HEAD", "POST"}), ("GET", "/v1/users", {"POST"}),
    ("DELETE", "/v1/sessions", {"POST"}), ("POST", "/v1/me/following/1", {"PUT", "DELETE"}), ("GET", "/v1/posts/1/like", {"PUT", "DELETE"}),
    ("POST", "/healthz", {"GET", "HEAD"}), ("DELETE", "/metrics", {"GET", "HEAD"}), ("OPTIONS", "/v1/me", {"GET", "HEAD", "PATCH"}),
    ("PROPFIND", "/v1/me", {"GET", "HEAD", "PATCH"}), ("TRACE", "/v1/me", {"GET", "HEAD", "PATCH"})])
@pytest.mark.fast
def test_a_wrong_method_is_told_the_right_ones(world, method, path, allow):
    answer = world.user().call(method, path)
    is_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/me/", "/v2/me", "/v1/ME", "//v1/me", "/v1/me/feed/1", "/v1/users/1/feed/", "/v1/%6de", "/..", "/v1/../healthz",
                                  "/healthz/", "/favicon.ico", "/v1/me%00", "/v1/users/1/../2"])
def test_an_unknown_path_is_not_found(world, connect, path):
    with connect() as c:
        c.send(request("GET", path, world.user().token))
        problem_in(c.answer(), 404, "not_found")


@pytest.mark.sanitized
def test_an_oversized_body_is_refused_before_it_is_sent(impatient):
    user = impatient.user()
    with Connection(impatient.stack.feedd[0].port) as c:
        c.send(request("POST", "/v1/me/feed", user.token, headers=["Content-Type: application/json", "Content-Length: 4097"]))
        problem_in(c.answer(), 413, "body_too_large")
        assert c.closed()


@pytest.mark.sanitized
def test_an_oversized_chunked_body_is_refused(impatient):
    user = impatient.user()
    with Connection(impatient.stack.feedd[0].port) as c:
        c.send(request("POST", "/v1/me/feed", user.token, headers=["Content-Type: application/json", "Transfer-Encoding: chunked"]))
        for _ in range(6):
            c.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        problem_in(c.answer(), 413, "body_too_large")


def test_a_body_of_just_the_limit_is_read(impatient):
    user = impatient.user()
    body = b'{"text": "' + b"x" * (4096 - 12) + b'"}'
    assert len(body) == 4096
    assert user.call("POST", "/v1/me/feed", data=body, headers={"Content-Type": "application/json"}).status_code == 201


def test_a_chunked_body_is_read(world, connect):
    user = world.user()
    with connect() as c:
        c.send(request("POST", "/v1/me/feed", user.token, headers=["Content-Type: application/json", "Transfer-Encoding: chunked"]))
        for piece in (b'{"te', b'xt"', b': "a"}'):
            c.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        c.send(b"0\r\n\r\n")
        status, _, body = c.answer()
        assert status == 201 and json.loads(body)["text"] == "a"


def test_a_body_that_comes_byte_by_byte_is_read(world, connect):
    user = world.user()
    with connect() as c:
        for byte in request("POST", "/v1/me/feed", user.token, '{"text": "slow"}'):
            c.send(bytes([byte]))
        assert c.answer()[0] == 201


@pytest.mark.sanitized
@pytest.mark.parametrize("size", [5000, 20000, 200000])
def test_too_large_headers_are_refused(world, connect, size):
    with connect() as c:
        try:
            c.send(request("GET", "/v1/me", headers=["X-Large: " + "x" * size]))
        except (ConnectionResetError, BrokenPipeError):
            pass
        answer = c.answer()
        assert answer is None or answer[0] == 431, answer
        if size == 5000:
            problem_in(answer, 431, "headers_too_large")
    serves(world)


def test_too_long_a_target_is_refused(world, connect):
    with connect() as c:
        c.send(request("GET", "/v1/me?" + "x" * 2500))
        problem_in(c.answer(), 414, "uri_too_long")
    serves(world)


@pytest.mark.fast
@pytest.mark.sanitized
@pytest.mark.parametrize("sent", ["", "GET /v1/me HTTP/1.1\r\n", "GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ",
                                  "POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"])
def test_a_client_that_stops_sending_is_cut_off_while_others_are_served(impatient, sent):
    began = time.monotonic()
    with Connection(impatient.stack.feedd[0].port, timeout=IDLE_S + 3) as c:
        c.send(sent)
        serves(impatient)
        answer = c.answer()
        if answer is not None:
            problem_in(answer, 408, "request_timeout")
        assert c.closed()
    assert IDLE_S - 0.2 < time.monotonic() - began < IDLE_S + 2


@pytest.mark.parametrize("head,drip", [("GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ", "x"),
                                       ("POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "x")])
def test_a_client_that_drips_is_cut_off_too(impatient, head, drip):
    """A byte now and then is no sign of life: header and body must arrive in time."""
    began = time.monotonic()
    with Connection(impatient.stack.feedd[0].port) as c:
        c.send(head)
        try:
            while time.monotonic() - began < IDLE_S + 4:
                c.send(drip)
                time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert time.monotonic() - began < IDLE_S + 3, "the dripping client kept its connection"


def test_an_idle_connection_is_closed(impatient):
    with Connection(impatient.stack.feedd[0].port) as c:
        c.send(request("GET", "/healthz"))
        assert c.answer()[0] == 200
        began = time.monotonic()
        assert c.closed()
        assert time.monotonic() - began < 2 * IDLE_S + 2


@pytest.mark.sanitized
def test_a_client_that_does_not_take_its_answers_harms_nobody(impatient):
    user = impatient.user()
    impatient.old_posts(user, 200)
    with Connection(impatient.stack.feedd[0].port) as c:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            for _ in range(200):
                c.socket.settimeout(0.2)
                c.send(request("GET", "/v1/me/feed?limit=200", user.token))
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        for _ in range(5):
            serves(impatient)


HALVES = {"a whole request": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "half a head": "GET /healthz HT", "half a body": "POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
          "nothing": ""}


@pytest.mark.sanitized
@pytest.mark.parametrize("sent", HALVES)
def test_a_half_closed_client_is_answered_or_let_go_in_time(impatient, sent):
    for _ in range(4):
        began = time.monotonic()
        with Connection(impatient.stack.feedd[0].port) as c:
            c.send(HALVES[sent])
            c.socket.shutdown(socket.SHUT_WR)
            answer = c.answer()
            assert answer is None or answer[0] == (200 if sent == "a whole request" else 408), answer
            if sent == "a whole request":
                assert answer, "a whole request was not answered"
            assert c.closed()
        assert time.monotonic() - began < 2 * IDLE_S + 1, "a half-closed client holds its connection"


@pytest.mark.sanitized
def test_clients_that_leave_before_the_answer_leave_nothing_behind(world):
    user = world.user()
    for i in range(300):
        with Connection(world.stack.feedd[0].port) as c:
            c.send(request("POST", "/v1/me/feed", user.token, json.dumps({"text": f"gone {i}"})) if i % 2 else request("GET", "/v1/me/feed", user.token))
            if i % 3 == 0:
                c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset instead of a polite end
    serves(world)
    world.drained()
    assert [i["id"] for i in user.pages(limit=200)] == world.oracle(user)


@pytest.mark.fast
@pytest.mark.sanitized
def test_pipelined_requests_are_answered_in_order(world, connect):
    user = world.user()
    post = user.publish("x")["id"]
    paths = ["/v1/me", "/v1/me/feed", f"/v1/posts/{post}", "/nothing", "/v1/posts/1", "/healthz"] * 5
    with connect() as c:
        c.send(b"".join(request("GET", path, user.token) for path in paths))
        statuses = [c.answer()[0] for _ in paths]
    assert statuses == [200, 200, 200, 404, 404, 200] * 5


def test_a_pipelined_publish_is_seen_by_the_read_behind_it(world, connect):
    user = world.user()
    user.feed()
    with connect() as c:
        for i in range(10):
            c.send(request("POST", "/v1/me/feed", user.token, json.dumps({"text": f"n{i}"})) + request("GET", f"/v1/users/{user.user_id}/feed?limit=1", user.token))
            post = json.loads(c.answer()[2])
            assert json.loads(c.answer()[2])["items"][0]["id"] == post["id"]


@pytest.mark.parametrize("path", ["/v1/me", "/v1/me/feed", "/healthz", "/metrics", "/v1/posts/1", "/v1/me/blocks"])
def test_head_answers_as_get_without_the_body(world, connect, path):
    user = world.user()
    with connect() as c:
        c.send(request("HEAD", path, user.token))
        status, headers, _ = c.answer(body=False)
        assert status == user.call("GET", path).status_code and int(headers["content-length"]) > 0
        c.send(request("GET", "/healthz"))
        assert c.answer()[0] == 200, "something was sent behind the answer to HEAD"


def test_expect_continue_is_continued(world, connect):
    user = world.user()
    body = '{"text": "after 100"}'
    with connect() as c:
        c.send(request("POST", "/v1/me/feed", user.token, headers=["Expect: 100-continue", "Content-Type: application/json", f"Content-Length: {len(body)}"]))
        assert c.head()[0] == 100
        c.send(body)
        assert c.answer()[0] == 201


def test_expect_continue_of_too_large_a_body_is_refused(impatient):
    with Connection(impatient.stack.feedd[0].port) as c:
        c.send(request("POST", "/v1/me/feed", impatient.user().token, headers=["Expect: 100-continue", "Content-Length: 100000"]))
        assert c.head()[0] == 413


def test_http_1_0_is_answered_and_closed(world, connect):
    with connect() as c:
        c.send("GET /healthz HTTP/1.0\r\n\r\n")
        assert c.answer()[0] == 200
        assert c.closed()


def test_connection_close_is_obeyed(world, connect):
    with connect() as c:
        c.send(request("GET", "/healthz", headers=["Connection: close"]))
        status, headers, _ = c.answer()
        assert status == 200 and headers["connection"].lower() == "close"
        assert c.closed()


GARBAGE = [b"\x00" * 100, b"\xff\xfe\xfd" * 50, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 500,
           b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
           b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"*1\r\n$4\r\nPING\r\n",
           b"POST /v1/me/feed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", b"GET " + b"/" * 100000,
           b"POST /v1/me/feed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"]


@pytest.mark.sanitized
@pytest.mark.parametrize("index", range(len(GARBAGE)))
def test_garbage_is_answered_with_an_error_or_a_close(impatient, index):
    with Connection(impatient.stack.feedd[0].port) as c:
        try:
            c.send(GARBAGE[index])
            c.socket.shutdown(socket.SHUT_WR)
            answer = c.answer()
        except OSError as e:
            assert not isinstance(e, TimeoutError), "neither an answer nor a close"
            answer = None
        assert answer is None or 400 <= answer[0] < 600, answer
    serves(impatient)


LENGTHS = [["Content-Length: 2", "Content-Length: 60"], ["Content-Length: 2", "Content-Length: 2"], ["Content-Length: 2", "Transfer-Encoding: chunked"],
           ["Transfer-Encoding: chunked", "Content-Length: 2"], ["Transfer-Encoding: gzip, chunked"], ["Transfer-Encoding: identity"],
           ["Transfer-Encoding: xchunked"], ["Content-Length: 2, 60"], ["Content-Length: +2"]]


@pytest.mark.fast
@pytest.mark.parametrize("headers", LENGTHS)
def test_an_unclear_length_is_no_way_to_smuggle_a_request(world, connect, headers):
    """A proxy before us may read the length otherwise; what it takes for a body must not be a request to us."""
    user = world.user()
    with connect() as c:
        c.send(request("POST", "/v1/me/feed", user.token, headers=["Content-Type: application/json", *headers]) + b"{}"
               + request("POST", "/v1/me/feed", user.token, '{"text": "smuggled"}'))
        c.socket.settimeout(2)
        statuses = []
        try:
            while (answer := c.answer()) is not None:
                statuses.append(answer[0])
        except (ConnectionResetError, TimeoutError):
            pass
        assert statuses == [400], f"answered {statuses}: only one request may be seen, and it is refused"
    assert user.feed() == []


@pytest.mark.sanitized
def test_connections_beyond_the_limit_are_closed_and_the_others_served(impatient):
    open_ones = []
    try:
        for _ in range(CONNECTIONS + 20):
            open_ones.append(Connection(impatient.stack.feedd[0].port))
        time.sleep(0.2)
        served = refused = 0
        for c in open_ones:
            try:
                c.send(request("GET", "/healthz"))
                served, refused = (served + 1, refused) if c.answer() else (served, refused + 1)
            except (BrokenPipeError, ConnectionResetError):
                refused += 1
        assert 0 < served <= CONNECTIONS and refused >= 20, f"{served} served, {refused} refused"
    finally:
        for c in open_ones:
            c.socket.close()
    impatient.until("connections to be free again", lambda: impatient.metric(impatient.stack.feedd[0], "fanfare_http_requests_total") >= 0 and serves(impatient) is None, 5)
