"""fanfarectl, as an operator uses it."""

import gzip
import os
import random
import re

import pytest

from support.contract import ROOT

FRIENDS = os.path.join(os.path.dirname(ROOT), "shared", "data", "facebook-friends.tsv.gz")


def run(world, *arguments, code=0, **more):
    """Runs a command that ends with this code; returns its output."""
    got, out, errors = world.ctl(*arguments, **more)
    assert got == code, f"fanfarectl {' '.join(map(str, arguments))}: exit {got}\n{out}{errors}"
    return out + errors


def write(world, name, text):
    path = os.path.join(world.folder, name)
    with open(path, "wb") as f:
        f.write(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def prefix():
    return f"p{random.randrange(10**7)}_"


def follows(world, stem):
    """{(follower, followee)} as numbers of the file."""
    rows = world.sql(f"SELECT substr(a.handle, {len(stem) + 1}) || ' ' || substr(b.handle, {len(stem) + 1}) FROM following f "
                     f"JOIN users a ON a.id = f.follower JOIN users b ON b.id = f.followee WHERE a.handle LIKE '{stem}%'")
    return {tuple(map(int, row.split())) for row in rows.split("\n") if row}


# -- users and tokens ----------------------------------------------------------------------------------------------------------------

@pytest.mark.fast
def test_a_user_is_added_and_his_token_works(world):
    import json
    name = f"ctl_{random.randrange(10**9)}"
    made = json.loads(run(world, "user", "add", name, "--name", "Zoë 🙂"))
    me = world.client(token=made["token"]).get("/v1/me").json()
    assert (me["id"], me["handle"], me["name"]) == (made["id"], name, "Zoë 🙂")
    for choice in (("--user", made["id"]), ("--handle", name)):
        token = run(world, "token", *choice).strip()
        assert world.client(token=token).get("/v1/me").json()["id"] == made["id"]
    assert "taken" in run(world, "user", "add", name, "--name", "x", code=1)


def test_a_user_added_with_a_password_can_log_in(world):
    name = f"ctl_{random.randrange(10**9)}"
    run(world, "user", "add", name, "--name", "x", "--password-file", write(world, "password", "correct horse\n"))
    assert world.client().post("/v1/sessions", {"handle": name, "password": "correct horse"}).status_code == 200


def test_a_token_lives_as_long_as_was_said(world):
    import time
    user = world.user()
    token = run(world, "token", "--user", user.user_id, "--ttl", 1).strip()
    assert world.client(token=token).get("/v1/me").status_code == 200
    time.sleep(2.1)
    assert world.client(token=token).get("/v1/me").status_code == 401


@pytest.mark.fast
@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["user"], ["user", "remove"], ["--nonsense"], ["-c"], ["user", "add"], ["user", "add", "ab", "--name", "x"], ["user", "add", "good_handle"],
    ["user", "add", "good_handle", "--name", ""], ["token"], ["token", "--user", "1", "--handle", "x"], ["token", "--user", "x"], ["token", "--user", "1", "--ttl", "x"],
    ["import-graph"], ["import-graph", "f", "--directed", "--mutual"], ["import-graph", "f", "g"], ["import-graph", "f", "--prefix", "With Space"],
    ["verify", "--user", "x"], ["verify", "--all", "--user", "1"], ["verify", "--depth"], ["verify", "--sample", "-1"], ["verify", "--nonsense"],
    ["rebuild"], ["rebuild", "--user", "1", "--all"], ["explain"], ["explain", "--reader", "1"], ["explain", "--reader", "x", "--post", "1"],
    ["status", "now"], ["node"], ["node", "list", "all"], ["node", "sync", "nonsense"], ["node", "sync", "timeline:a:redis"], ["migrate", "now"]])
def test_bad_arguments_get_usage_and_a_reason(world, arguments):
    code, out, errors = world.ctl(*arguments)
    assert code == 2, f"exit {code}\n{out}{errors}"
    assert "usage: fanfarectl" in errors and errors.startswith("fanfarectl: "), errors
    assert len(errors.split("\n")[0]) > len("fanfarectl: ") + 5, "no reason given"


def test_help_names_every_command_and_the_exit_codes(world):
    text = run(world, "--help")
    for command in ("migrate", "user add", "token", "import-graph", "verify", "rebuild", "explain", "status", "node list", "exit codes"):
        assert command in text


def test_failures_say_what_is_wrong(world):
    assert "no user" in run(world, "token", "--user", 4711, code=1)
    assert "/does/not/exist" in run(world, "import-graph", "/does/not/exist", code=1)
    assert "database" in run(world, "--set", "database.conninfo=host=/nowhere dbname=x", "status", code=1)


# -- schema --------------------------------------------------------------------------------------------------------------------------

@pytest.mark.fast
def test_migrating_again_changes_nothing(world):
    for _ in range(2):
        assert run(world, "migrate", "--schema", os.path.join(ROOT, "schema")).strip() == "0 applied"


# -- import --------------------------------------------------------------------------------------------------------------------------

@pytest.mark.fast
@pytest.mark.sanitized
def test_a_graph_is_imported_as_it_stands(world):
    rng = random.Random(5)
    edges = {(a, b) for a, b in ((rng.randrange(60), rng.randrange(60)) for _ in range(500)) if a != b}
    path = write(world, "graph.tsv.gz", "# a comment\n\n" + "".join(f"{a}\t{b}\n" for a, b in edges))
    stem = prefix()
    out = run(world, "import-graph", path, "--prefix", stem)
    assert f"{len(edges)} follows added" in out
    assert follows(world, stem) == edges
    assert world.sql(f"SELECT count(*) FROM users u WHERE handle LIKE '{stem}%' AND following_count <> (SELECT count(*) FROM following f WHERE f.follower = u.id)") == "0"
    assert world.sql(f"SELECT count(*) FROM followers w JOIN users u ON u.id = w.followee WHERE u.handle LIKE '{stem}%'") == str(len(edges))


def test_an_import_again_adds_nothing(world):
    path, stem = write(world, "graph.tsv", "1 2\n2 3\n3 1\n"), prefix()
    run(world, "import-graph", path, "--prefix", stem)
    out = run(world, "import-graph", path, "--prefix", stem)
    assert "0 new" in out and "0 follows added" in out and "3 there already" in out
    assert follows(world, stem) == {(1, 2), (2, 3), (3, 1)}
    out = run(world, "import-graph", write(world, "more.tsv", "1 2\n1 4\n"), "--prefix", stem)
    assert "1 new" in out and "1 follows added" in out and "1 there already" in out


def test_a_mutual_import_makes_both_edges_once(world):
    stem = prefix()
    run(world, "import-graph", write(world, "graph.tsv", "1 2\n2 3\n"), "--mutual", "--prefix", stem)
    assert follows(world, stem) == {(1, 2), (2, 1), (2, 3), (3, 2)}


def test_bad_rows_are_counted_and_listed_and_the_others_taken(world):
    rows = ["1 2", "x y", "1", "1 2 3", "-1 2", "5 5", "1 2", "99999999999999999999 1", "3 4", "1;2", "0x1 2", "1.5 2"]
    rejects, stem = os.path.join(world.folder, "rejects.tsv"), prefix()
    out = run(world, "import-graph", write(world, "graph.tsv", "\n".join(rows) + "\n"), "--prefix", stem, "--rejects", rejects)
    assert follows(world, stem) == {(1, 2), (3, 4)}
    with open(rejects, encoding="utf-8") as f:
        listed = [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]
    assert sorted(int(line[0]) for line in listed) == [2, 3, 4, 5, 6, 7, 8, 10, 11, 12], "a refused row is not listed"
    assert sum(map(int, re.findall(r"not taken: (\d+) \(", out))) == 10, out
    assert rejects in out


def test_a_last_line_without_an_end_is_taken(world):
    stem = prefix()
    run(world, "import-graph", write(world, "graph.tsv", "1 2\r\n2 1"), "--prefix", stem)
    assert follows(world, stem) == {(1, 2), (2, 1)}


def test_followees_beyond_the_cap_are_listed(world):
    rejects, stem = os.path.join(world.folder, "cap.tsv"), prefix()
    path = write(world, "graph.tsv.gz", "".join(f"1 {i}\n" for i in range(2, 5052)))
    out = run(world, "import-graph", path, "--prefix", stem, "--rejects", rejects)
    assert "5000 follows added" in out and "not taken: 50" in out
    with open(rejects, encoding="utf-8") as f:
        assert sum(not line.startswith("#") for line in f) == 50
    assert len(follows(world, stem)) == 5000
    assert "0 follows added" in run(world, "import-graph", path, "--prefix", stem, "--rejects", rejects), "a second import goes past the cap"
    assert len(follows(world, stem)) == 5000


def test_a_damaged_file_is_refused_as_a_whole(world):
    stem = prefix()
    whole = gzip.compress("".join(f"{i} {i + 1}\n" for i in range(5000)).encode())
    path = os.path.join(world.folder, "cut.tsv.gz")
    with open(path, "wb") as f:
        f.write(whole[:len(whole) // 2])
    code, _, errors = world.ctl("import-graph", path, "--prefix", stem)
    assert code == 1 and errors, "half a file was imported without a word"
    assert world.sql(f"SELECT count(*) FROM users WHERE handle LIKE '{stem}%'") == "0"


def test_an_imported_follow_shows_in_a_warm_feed(world):
    """Users that existed get an invalidation, which the sweeper applies."""
    stem = prefix()
    run(world, "import-graph", write(world, "graph.tsv", "1 2\n"), "--prefix", stem)
    one, three = (world.client(int(world.sql(f"SELECT user_id FROM sign_up('{stem}x{n}', 'x', NULL, NULL)"))) for n in (1, 3))
    reader = world.client(int(world.sql(f"SELECT id FROM users WHERE handle = '{stem}1'")))
    del one
    world.sql(f"UPDATE handles SET handle = '{stem}3' WHERE user_id = {three.user_id}")
    world.sql(f"UPDATE users SET handle = '{stem}3' WHERE id = {three.user_id}")
    post = three.publish("imported follow")["id"]
    world.drained()
    assert reader.feed() == reader.feed() == []
    run(world, "import-graph", write(world, "more.tsv", "1 3\n"), "--prefix", stem)
    world.until("the imported follow to show", lambda: reader.feed() == [post], 10)


@pytest.mark.sanitized
def test_the_friends_graph_is_imported_and_verified(world):
    """A real graph where there is one, else one of the same kind: many of a few friends, a few of many."""
    stem = prefix()
    if os.path.exists(FRIENDS):
        path = FRIENDS
    else:
        rng = random.Random(9)
        edges = {tuple(sorted((rng.randrange(2000), min(1999, int(rng.paretovariate(0.8)))))) for _ in range(30000)}
        path = write(world, "friends.tsv.gz", "".join(f"{a}\t{b}\n" for a, b in sorted(edges) if a != b))
    out = run(world, "import-graph", path, "--mutual", "--prefix", stem, timeout=240)
    added = int(re.search(r"(\d+) follows added", out)[1])
    assert added > 10000 and world.sql(f"SELECT count(*) FROM following f JOIN users u ON u.id = f.follower WHERE u.handle LIKE '{stem}%'") == str(added)
    world.sql(f"INSERT INTO posts (shard, id, author_id, text) SELECT shard, mint_id(shard), id, 'post of ' || handle FROM users, generate_series(1, 2) WHERE handle LIKE '{stem}%'")
    busiest = world.client(int(world.sql(f"SELECT id FROM users WHERE handle LIKE '{stem}%' ORDER BY following_count DESC LIMIT 1")))
    assert [i["id"] for i in busiest.pages(limit=200)] == world.oracle(busiest, 10**6)
    code, out = world.verify("--sample", 300)
    assert code == 0 and "\n0 differences" in out, out


# -- verify, rebuild, explain ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def pair(world):
    reader, author = world.users(2)
    reader.follow(author)
    reader.feed()
    return reader, author


@pytest.mark.fast
@pytest.mark.sanitized
def test_verify_finds_nothing_wrong_and_tells_where_feeds_came_from(world, pair):
    reader, author = pair
    for i in range(30):
        author.publish(f"post {i}")
    world.drained()
    out = run(world, "verify", "--user", reader.user_id)
    assert "1 feeds, 30 entries" in out and "0 differences" in out and re.search(r"from resident +1 ", out), out
    out = run(world, "verify", "--sample", 100, "--deep", 5, "--depth", 50)
    assert "0 differences" in out and "page by page to the end" in out


@pytest.mark.fast
@pytest.mark.sanitized
def test_verify_turns_red_when_the_server_lies(world, pair):
    reader, author = pair
    post = author.publish("x")["id"]
    world.drained()
    reader.feed()
    world.arm("feed.serve_deleted=error")
    author.done("DELETE", f"/v1/posts/{post}")
    out = run(world, "verify", "--user", reader.user_id, code=3)
    assert "1 differences" in out and f"difference: reader {reader.user_id}" in out and post in out, out
    world.arm("")
    author.done("DELETE", f"/v1/posts/{post}")  # what was filled while the fault was armed is forgotten
    assert "0 differences" in run(world, "verify", "--user", reader.user_id)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", ""])
def test_verify_fails_when_there_is_nobody_to_ask(world, url):
    code, _, errors = world.ctl("--url", url, "verify", "--user", world.user().user_id)
    assert code == 1 and errors, "no server passes for one without differences"


def test_rebuild_makes_a_timeline_cold(world, pair):
    reader, author = pair
    author.publish("x")
    world.drained()
    reader.feed()
    run(world, "rebuild", "--user", reader.user_id)
    world.until("the timeline to be cold", lambda: reader.get("/v1/me/feed").headers["Fanfare-Source"] == "rebuild", 10)
    run(world, "rebuild", "--user", 4711, code=1)


def test_rebuild_of_all_makes_every_timeline_cold(world, pair):
    reader, author = pair
    author.publish("x")
    world.drained()
    reader.feed()
    run(world, "rebuild", "--all")
    world.until("the timeline to be cold", lambda: reader.get("/v1/me/feed").headers["Fanfare-Source"] != "resident", 10)
    world.until("feeds to be resident again", lambda: reader.get("/v1/me/feed").headers["Fanfare-Source"] == "resident", 10)
    assert [i["id"] for i in reader.pages()] == world.oracle(reader)


def explain(world, reader, post):
    return run(world, "explain", "--reader", reader.user_id, "--post", post)


@pytest.mark.fast
def test_explain_tells_who_keeps_a_post_out(world, pair):
    reader, author = pair
    post = author.publish("x")["id"]
    world.drained()
    reader.feed()
    assert "pushed" in explain(world, reader, post)
    for verb, undo, path, reason in (("PUT", "DELETE", f"/v1/me/mutes/{author.user_id}", "mutes"),
                                     ("DELETE", "PUT", f"/v1/me/following/{author.user_id}", "not follow"),
                                     ("PUT", "DELETE", f"/v1/me/blocks/{author.user_id}", "reader blocks")):
        reader.done(verb, path)
        assert reason in explain(world, reader, post), f"{reason} is not told"
        reader.done(undo, path)
    author.done("PUT", f"/v1/me/blocks/{reader.user_id}")
    assert "author blocks" in explain(world, reader, post)
    author.done("DELETE", f"/v1/posts/{post}")
    assert "deleted" in explain(world, reader, post)
    assert "no such post" in explain(world, reader, 4711)


def test_explain_tells_of_cold_and_of_beyond_the_window(world, pair):
    reader, author = pair
    oldest = world.old_posts(author, 850)[-1]
    world.make_cold(reader)
    assert "cold" in explain(world, reader, oldest)
    reader.feed()
    assert "beyond the window" in explain(world, reader, oldest)


def test_explain_tells_of_a_post_that_waits(world, pair):
    reader, author = pair
    world.stack.fanoutd[0].stop()
    try:
        post = author.publish("waits")["id"]
        assert "queued" in explain(world, reader, post)
    finally:
        world.stack.fanoutd[0].start()
    world.drained()
    assert "pushed" in explain(world, reader, post)


# -- operation -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.fast
def test_status_tells_how_things_stand(world):
    out = run(world, "status")
    assert "jobs not done" in out and "ready" in out
    for tier in ("timeline", "content", "users", "graph", "counters"):
        assert tier in out, f"tier {tier} is missing"


def test_status_fails_when_feedd_is_down(world):
    code, out, _ = world.ctl("--url", "http://127.0.0.1:9", "status")
    assert code == 1 and "no answer" in out


@pytest.mark.fast
def test_the_nodes_are_listed_with_their_share(world):
    out = run(world, "node", "list")
    for name in ("redis-a", "redis-b", "memcached-a", "memcached-b"):
        assert name in out, f"{name} is missing"
    assert "active" in out
