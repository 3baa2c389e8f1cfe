"""Sign-up, log-in, profiles, and what bodies are refused."""

import json
import random
import time

import pytest

from support.problem import is_problem

SCRIPTS = {
    "arabic": "مرحبا بالعالم",
    "hebrew": "שלום עולם",
    "hangul": "안녕하세요 세계",
    "han": "你好，世界 𠮷野家",
    "devanagari": "नमस्ते दुनिया",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈👍🏽",
    "combining": "e\u0301a\u0308\u0323 \u0061\u0323\u0307",
    "decomposed hangul": "\u1112\u1161\u11ab",
    "right to left marks": "a\u200fb\u202bc\u202c",
    "quotes and slashes": "\"\\/ \\u0041 'x' <b>&amp;</b>",
    "highest": "\U0010fffd\ufffd",
}


def handle():
    return f"h{random.randrange(16**12):012x}"


def sign_up_body(**changes):
    body = {"handle": handle(), "name": "Ada", "password": "correct horse", **changes}
    return {k: v for k, v in body.items() if v is not ...}


@pytest.fixture
def anyone(world):
    return world.client()


@pytest.mark.fast
@pytest.mark.sanitized
def test_a_new_user_signs_up_and_logs_in(world, anyone):
    body = sign_up_body(picture="https://example.org/a.png")
    made = anyone.post("/v1/users", body)
    assert made.status_code == 201, made.text
    account = made.json()
    assert (account["handle"], account["name"]) == (body["handle"], "Ada")
    again = anyone.post("/v1/sessions", {"handle": body["handle"], "password": body["password"]})
    assert again.status_code == 200, again.text
    assert again.json()["id"] == account["id"], "log-in gives another user than sign-up"
    for token in (account["token"], again.json()["token"]):
        me = world.client(token=token).get("/v1/me").json()
        assert (me["id"], me["handle"], me["picture"]) == (account["id"], body["handle"], "https://example.org/a.png")


def test_a_token_says_when_it_ends(world, anyone):
    account = anyone.post("/v1/users", sign_up_body()).json()
    ends = time.mktime(time.strptime(account["expires_at"], "%Y-%m-%dT%H:%M:%S.000Z")) - time.timezone
    assert 23 * 3600 < ends - time.time() <= 24 * 3600 + 5, account["expires_at"]


def test_answers_with_a_token_are_not_stored_by_caches(anyone):
    body = sign_up_body()
    assert anyone.post("/v1/users", body).headers["Cache-Control"] == "no-store"
    assert anyone.post("/v1/sessions", {k: body[k] for k in ("handle", "password")}).headers["Cache-Control"] == "no-store"


def test_a_handle_can_be_taken_once(anyone):
    body = sign_up_body()
    assert anyone.post("/v1/users", body).status_code == 201
    is_problem(anyone.post("/v1/users", body), 409, "handle_taken")


def test_wrong_password_and_unknown_handle_are_told_alike(anyone):
    body = sign_up_body()
    anyone.post("/v1/users", body)
    wrong = is_problem(anyone.post("/v1/sessions", {"handle": body["handle"], "password": "correct horsf"}), 401, "wrong_credentials")
    unknown = is_problem(anyone.post("/v1/sessions", {"handle": handle(), "password": "correct horse"}), 401, "wrong_credentials")
    assert wrong == unknown, "the answer tells whether the handle exists"


def test_an_imported_user_without_password_cannot_log_in(world, anyone):
    name = handle()
    world.sql(f"SELECT sign_up('{name}', 'No password', NULL, NULL)")
    for password in ("x", "", "null"):
        assert anyone.post("/v1/sessions", {"handle": name, "password": password}).status_code in (401, 422), "logged in without a password"


@pytest.mark.parametrize("password", ["pässwörter", "🔑" * 64, " leading and trailing ", "tab\tand\nnewline", "x" * 256])
def test_any_password_of_8_to_256_characters_works(anyone, password):
    body = sign_up_body(password=password)
    assert anyone.post("/v1/users", body).status_code == 201
    assert anyone.post("/v1/sessions", {"handle": body["handle"], "password": password}).status_code == 200
    assert anyone.post("/v1/sessions", {"handle": body["handle"], "password": password[:-1]}).status_code == 401


@pytest.mark.parametrize("member,value,status,code", [
    ("handle", ..., 400, "missing_member"), ("name", ..., 400, "missing_member"), ("password", ..., 400, "missing_member"),
    ("handle", 7, 400, "wrong_type"), ("name", None, 400, "wrong_type"), ("password", ["x"], 400, "wrong_type"),
    ("picture", True, 400, "wrong_type"), ("admin", True, 400, "unknown_member"), ("handlé", "x", 400, "unknown_member"),
    ("handle", "ab", 422, "too_short"), ("handle", "x" * 31, 422, "too_long"), ("handle", "With Capital", 422, "bad_value"),
    ("handle", "añb", 422, "bad_value"), ("handle", "a\u0000b", 422, "bad_value"), ("handle", "", 422, "too_short"),
    ("name", "", 422, "too_short"), ("name", " \u2003\u3000", 422, "too_short"), ("name", "x" * 101, 422, "too_long"),
    ("name", "a\nb", 422, "bad_value"), ("name", "a\u0000b", 422, "bad_value"), ("name", "a\u0085b", 422, "bad_value"),
    ("password", "short77", 422, "too_short"), ("password", "x" * 257, 422, "too_long"),
    ("picture", "ftp://example.org/x", 422, "bad_value"), ("picture", "javascript:alert(1)", 422, "bad_value"),
    ("picture", "https://", 422, "bad_value"), ("picture", "https://a/" + "x" * 500, 422, "too_long"),
    ("picture", "https://a/ b", 422, "bad_value"), ("picture", "https://é.org/", 422, "bad_value"),
])
def test_a_sign_up_with_a_bad_member_is_refused(anyone, member, value, status, code):
    is_problem(anyone.post("/v1/users", sign_up_body(**{member: value})), status, code)


BAD_BODIES = {
    "nothing": (b"", "bad_json"),
    "no JSON": (b"handle=x&name=y", "bad_json"),
    "cut off": (b'{"text": "a', "bad_json"),
    "trailing comma": (b'{"text": "a",}', "bad_json"),
    "trailing garbage": (b'{"text": "a"} x', "bad_json"),
    "two documents": (b'{"text": "a"}{"text": "b"}', "bad_json"),
    "a member twice": (b'{"text": "a", "text": "b"}', "bad_json"),
    "single quotes": (b"{'text': 'a'}", "bad_json"),
    "NaN": (b'{"text": NaN}', "bad_json"),
    "a raw line break in a string": (b'{"text": "a\nb"}', "bad_json"),
    "a deep nest": (b'{"text": ' + b"[" * 50000 + b"]" * 50000 + b"}", None),
    "an array": (b'["text"]', "wrong_type"),
    "a string": (b'"text"', None),
    "null": (b"null", None),
    "bytes that are not UTF-8": (b'{"text": "\xff\xfe"}', "bad_utf8"),
    "overlong UTF-8": (b'{"text": "\xc0\xaf"}', "bad_utf8"),
    "a surrogate in UTF-8": (b'{"text": "\xed\xa0\x80"}', "bad_utf8"),
    "beyond Unicode": (b'{"text": "\xf4\x90\x80\x80"}', "bad_utf8"),
    "a lone surrogate escape": (b'{"text": "\\ud800"}', None),
    "a raw NUL byte": (b'{"text": "a\x00b"}', "bad_json"),
    "UTF-16": ('{"text": "a"}'.encode("utf-16"), None),
    "a byte order mark": (b'\xef\xbb\xbf{"text": "a"}', "bad_json"),
}


@pytest.mark.sanitized
@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_is_no_JSON_object_is_refused(world, name):
    body, code = BAD_BODIES[name]
    user = world.user()
    is_problem(user.call("POST", "/v1/me/feed", data=body, headers={"Content-Type": "application/json"}), 400, code)
    assert user.feed() == [], "something was published"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonx", "json", ""])
def test_a_body_of_another_type_is_refused(world, kind):
    answer = world.user().call("POST", "/v1/me/feed", data=b'{"text": "a"}', headers={"Content-Type": kind})
    is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/json;charset=utf-8"])
def test_json_may_be_named_in_every_usual_way(world, kind):
    answer = world.user().call("POST", "/v1/me/feed", data=b'{"text": "a"}', headers={"Content-Type": kind})
    assert answer.status_code == 201, answer.text


@pytest.mark.fast
@pytest.mark.parametrize("script", SCRIPTS)
def test_names_and_texts_of_every_script_come_back_as_they_were(world, anyone, script):
    text = SCRIPTS[script]
    account = anyone.post("/v1/users", sign_up_body(name=text)).json()
    assert account["name"] == text, "sign-up changed the name"
    me = world.client(token=account["token"])
    assert me.get("/v1/me").json()["name"] == text, "the profile's name is not the one given"
    post = me.publish(text)
    for where in (post, me.get(f"/v1/posts/{post['id']}").json(), me.get("/v1/me/feed").json()["items"][0]):
        assert where["text"] == text, "the text is not the one published"
        assert where["author"]["name"] == text, "the author's name is not the one given"


def test_escaped_and_plain_characters_mean_the_same(world):
    text = "".join(SCRIPTS.values())
    user = world.user()
    escaped = json.dumps({"text": text}, ensure_ascii=True)
    answer = user.call("POST", "/v1/me/feed", data=escaped.encode(), headers={"Content-Type": "application/json"})
    assert answer.json()["text"] == text


@pytest.mark.fast
def test_a_changed_profile_shows_at_once_everywhere(world):
    author, reader = world.users(2)
    reader.follow(author)
    post = author.publish("hello")
    assert reader.get("/v1/me/feed").json()["items"][0]["author"]["name"] == "Someone"
    changed = author.patch("/v1/me", {"name": "Another", "picture": "https://example.org/new.png"})
    assert changed.status_code == 200 and changed.json()["name"] == "Another", changed.text
    shown = [reader.get("/v1/me/feed").json()["items"][0]["author"], reader.get(f"/v1/posts/{post['id']}").json()["author"],
             reader.get(f"/v1/users/{author.user_id}").json(), reader.get(f"/v1/users/{author.user_id}/feed").json()["items"][0]["author"],
             reader.get(f"/v1/users/{reader.user_id}/following").json()["items"][0]]
    for place in shown:
        assert (place["name"], place["picture"]) == ("Another", "https://example.org/new.png"), "the old profile is served"


def test_one_member_of_a_profile_can_be_changed_alone(world):
    user = world.user()
    user.patch("/v1/me", {"picture": "https://example.org/p.png"})
    assert user.patch("/v1/me", {"name": "New"}).json()["picture"] == "https://example.org/p.png", "the picture went with the name"
    assert user.patch("/v1/me", {"picture": None}).json()["name"] == "New", "the name went with the picture"
    assert user.get("/v1/me").json()["picture"] is None, "the picture was not removed"


@pytest.mark.parametrize("body,status,code", [
    ({}, 400, "missing_member"), ({"name": None}, 400, "wrong_type"), ({"handle": "new_handle"}, 400, "unknown_member"),
    ({"name": "x" * 101}, 422, "too_long"), ({"name": ""}, 422, "too_short"), ({"picture": "no url"}, 422, "bad_value"),
])
def test_a_bad_change_of_a_profile_is_refused(world, body, status, code):
    user = world.user()
    is_problem(user.patch("/v1/me", body), status, code)
    assert user.get("/v1/me").json()["name"] == "Someone"


def test_length_of_a_name_counts_code_points(world):
    user = world.user()
    assert user.patch("/v1/me", {"name": "𠮷" * 100}).status_code == 200, "100 characters of 4 bytes are 100 characters"
    is_problem(user.patch("/v1/me", {"name": "𠮷" * 101}), 422, "too_long")


def test_others_profiles_are_read_and_tell_whether_i_follow(world):
    user, other = world.users(2)
    seen = user.get(f"/v1/users/{other.user_id}").json()
    assert (seen["id"], seen["followed"], seen["following"]) == (str(other.user_id), False, 0)
    user.follow(other)
    assert user.get(f"/v1/users/{other.user_id}").json()["followed"] is True
    assert user.get("/v1/me").json()["following"] == 1


@pytest.mark.parametrize("user_id", ["1", "9223372036854775807"])
def test_an_unknown_user_is_not_found(world, user_id):
    is_problem(world.user().get(f"/v1/users/{user_id}"), 404, "not_found")


@pytest.mark.parametrize("user_id", ["0", "-1", "abc", "01", "9223372036854775808", "18446744073709551617", "1e3", "+1", "%31", "1%20", "", "1/", "\u0661"])
def test_what_is_no_id_is_not_found(world, user_id):
    is_problem(world.user().call("GET", f"/v1/users/{user_id}"), 404, "not_found")
