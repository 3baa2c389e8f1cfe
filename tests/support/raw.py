"""HTTP by hand over a socket: what well-behaved client libraries do not let one send."""

import socket


class Connection:
    """One TCP connection; bytes out, answers in."""

    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def more(self):
        """Takes what comes next; False at the end of the stream."""
        try:
            got = self.socket.recv(65536)
        except ConnectionResetError:
            got = b""
        self.rest += got
        return bool(got)

    def head(self):
        """Status and headers (names in lower case) of the next answer; None when the server closed instead."""
        while b"\r\n\r\n" not in self.rest:
            if not self.more():
                return None
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1."), f"no HTTP answer: {lines[0]!r}"
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split(" ")[1]), headers

    def answer(self, body=True):
        """Status, headers and body of the next answer; None when the server closed instead. body: whether one may follow (not for HEAD)."""
        head = self.head()
        if head is None:
            return None
        status, headers = head
        length = int(headers.get("content-length", 0)) if body and status not in (100, 204, 304) else 0
        while len(self.rest) < length:
            assert self.more(), f"the body ends after {len(self.rest)} of {length} bytes"
        content, self.rest = self.rest[:length], self.rest[length:]
        return status, headers, content

    def closed(self):
        """Reads to the end of the stream; True when nothing but the end came. TimeoutError when the server keeps the connection."""
        while self.more():
            pass
        return not self.rest


def request(method, path, token=None, body=b"", headers=()):
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: fanfare"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + (body.encode() if isinstance(body, str) else body)
