"""
Readers in processes of their own that read the same pages over and over while a test changes something, and remember when each read
began and ended and which posts it showed. Times are of CLOCK_MONOTONIC, which all processes share.
"""

import http.client
import json
import multiprocessing
import threading
import time


def shown_in(status, body):
    if status == 404:
        return frozenset()
    assert status == 200, f"a watched page answered {status}: {body[:300]}"
    page = json.loads(body)
    return frozenset(item["id"] for item in page["items"]) if "items" in page else frozenset([page["id"]])


def read_on(port, token, path, stop, seen):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while not stop.is_set():
        began = time.monotonic()
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        seen.append((path, began, time.monotonic(), shown_in(answer.status, body)))


def read_in_process(targets, stop, pipe):
    seen, failures = [], []

    def guarded(*target):
        try:
            read_on(*target, stop, seen)
        except Exception as e:  # pylint: disable=broad-except  (carried to the test)
            failures.append(f"{target[2]}: {e!r}")

    threads = [threading.Thread(target=guarded, args=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send((seen, failures))


class Watch:
    """with Watch([(client, path), ...]) as watch: ...; then watch.reads: [(path, began, ended, ids shown)]"""

    def __init__(self, targets, processes=2):
        context = multiprocessing.get_context("fork")
        self.stop = context.Event()
        self.children = []
        self.reads = []
        targets = [(int(client.url.rsplit(":", 1)[1]), client.token, path) for client, path in targets]
        for _ in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            self.children.append((context.Process(target=read_in_process, args=(targets, self.stop, theirs)), ours, theirs))

    def __enter__(self):
        for child, _, theirs in self.children:
            child.start()
            theirs.close()
        time.sleep(0.1)
        return self

    def __exit__(self, *error):
        time.sleep(0.05)  # let reads begin after the last change
        self.stop.set()
        failures = []
        for child, ours, _ in self.children:
            seen, failed = ours.recv()
            self.reads += seen
            failures += failed
            child.join()
        if error[0] is None:
            assert not failures, failures
            assert len(self.reads) > 20, "hardly any read happened"

    def check_hidden(self, post, since, until=float("inf")):
        """No read that began after `since` and ended before `until` showed the post."""
        for path, began, ended, shown in self.reads:
            if began >= since and ended <= until:
                assert post not in shown, f"{path} showed hidden post {post} in a read begun {(began - since) * 1000:.1f} ms after the call returned"

    def check_shown(self, post, since, until=float("inf"), paths=None):
        """Every read that began after `since` and ended before `until` showed the post."""
        for path, began, ended, shown in self.reads:
            if began >= since and ended <= until and (paths is None or path in paths):
                assert post in shown, f"{path} did not show post {post} in a read begun {(began - since) * 1000:.1f} ms after the call returned"
