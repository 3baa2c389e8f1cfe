"""HTTP client for tests: python3-requests, every answer held to schema/openapi.yaml."""

import requests

from support.contract import Contract

CONTRACT = Contract()


class Client:
    def __init__(self, url, token=None, check=True, user_id=None):
        self.url = url
        self.token = token
        self.check = check
        self.user_id = user_id
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, method, path, json=None, headers=None, data=None, params=None, timeout=15):
        """Makes a call; checks the answer against the contract unless told not to; returns the requests.Response."""
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        answer = self.session.request(method, self.url + path, json=json, data=data, headers=headers, params=params, timeout=timeout)
        if self.check:
            CONTRACT.check(method, path, answer)
        return answer

    def get(self, path, **arguments):
        return self.call("GET", path, **arguments)

    def put(self, path, **arguments):
        return self.call("PUT", path, **arguments)

    def delete(self, path, **arguments):
        return self.call("DELETE", path, **arguments)

    def post(self, path, json=None, **arguments):
        return self.call("POST", path, json=json, **arguments)

    def patch(self, path, json=None, **arguments):
        return self.call("PATCH", path, json=json, **arguments)

    # What most tests do, with the answer that it must have.

    def publish(self, text="hello", **arguments):
        answer = self.post("/v1/me/feed", {"text": text, **arguments})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def follow(self, other):
        answer = self.put(f"/v1/me/following/{other.user_id}")
        assert answer.status_code == 204, answer.text

    def done(self, method, path):
        """A call that answers 204."""
        answer = self.call(method, path)
        assert answer.status_code == 204, f"{method} {path}: {answer.status_code} {answer.text}"

    def pages(self, path="/v1/me/feed", limit=20, pages=10**6):
        """Items of a list, page after page; every page but the last must be full."""
        items, cursor = [], None
        for _ in range(pages):
            answer = self.get(path, params={"limit": limit, **({"cursor": cursor} if cursor else {})})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
            assert len(page["items"]) == limit, f"a page of {len(page['items'])}, not full and not the last"
        return items

    def feed(self, limit=20, depth=None):
        """Post ids of the feed; pages on until `depth` ids (None: one page)."""
        ids, cursor = [], None
        while True:
            params = {"limit": limit, **({"cursor": cursor} if cursor else {})}
            answer = self.get("/v1/me/feed", params=params)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            ids += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None or depth is None or len(ids) >= depth:
                return ids
