#!/usr/bin/python3
"""The main job in one folder: servers, schema, daemons, demo data.

  stack.py run   [--dir run]   start everything, stay in the foreground with a status line; Ctrl-C stops all of it
  stack.py up    [--dir run]   the same, detached
  stack.py down  [--dir run]   stop what up started (data stays)
  stack.py reset [--dir run]   stop and delete the data

Writes run/env (shell lines FANFARE_URL, FANFARE_TOKEN, ...), run/fanfare.ini, run/stack.json (pids, ports). Exit codes: 0 done, 1 a
part failed to start (which, why and where its log is goes to stderr), 2 bad arguments or already running.
"""

import argparse
import base64
import fcntl
import hashlib
import hmac
import json
import os
import random
import secrets
import shlex
import shutil
import signal
import sys
import time
import urllib.request

from servers import Daemon, Failure, Memcached, Postgres, Redis, free_port, port_is_free, save_json, start_time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIERS_ON_REDIS = ("timeline", "graph", "actions", "counters")
TIERS_ON_MEMCACHED = ("content", "users")


def b64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def make_token(secret, user_id, kid="dev", lifetime=86400, issuer="fanfare"):
    """An access token as feedd makes them (HS256)."""
    now = int(time.time())
    header = b64url(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode())
    claims = b64url(json.dumps({"iss": issuer, "sub": str(user_id), "iat": now, "exp": now + lifetime}).encode())
    signature = hmac.new(secret, f"{header}.{claims}".encode(), hashlib.sha256).digest()
    return f"{header}.{claims}.{b64url(signature)}"


class Stack:
    """Servers and daemons in `folder`. Tests make their own with other programs, options and counts."""

    def __init__(self, folder, programs=None, attached=True, redis_count=2, memcached_count=2, feedd_count=1, fanoutd_count=1,
                 options=None, tcp_caches=False, postgres_settings=None, env=None):
        self.folder = os.path.abspath(folder)
        self.programs = programs or os.path.join(ROOT, "bin")
        os.makedirs(os.path.join(self.folder, "log"), exist_ok=True)
        self.config = os.path.join(self.folder, "fanfare.ini")
        self.state_file = os.path.join(self.folder, "stack.json")
        self.state = self.load_state()
        self.options = options or {}
        self.env = env or {}
        ports = self.state.setdefault("ports", {})
        for name in [f"feedd{'' if i == 0 else i + 1}" for i in range(feedd_count)] + \
                    [f"fanoutd{'' if i == 0 else i + 1}" for i in range(fanoutd_count)]:
            if name not in ports or not (port_is_free(ports[name]) or self.state.get("pids")):
                ports[name] = free_port()
        letters = "abcdefgh"
        self.postgres = Postgres(self.folder, attached, postgres_settings)
        self.redis = [Redis(f"redis-{letters[i]}", self.folder, attached, self.cache_port(f"redis-{letters[i]}", tcp_caches))
                      for i in range(redis_count)]
        self.memcached = [Memcached(f"memcached-{letters[i]}", self.folder, attached,
                                    self.cache_port(f"memcached-{letters[i]}", tcp_caches)) for i in range(memcached_count)]
        self.feedd = [self.daemon("feedd", i, attached) for i in range(feedd_count)]
        self.fanoutd = [self.daemon("fanoutd", i, attached) for i in range(fanoutd_count)]
        if not attached:  # a start that is killed must leave a list of what there is to stop
            for p in self.servers + self.daemons:
                p.spawned = lambda: self.save_state(with_pids=True)
        self.secret = base64.urlsafe_b64decode(self.state.setdefault(
            "jwt_secret", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()))

    def cache_port(self, name, tcp):
        return self.state["ports"].setdefault(name, free_port()) if tcp else None

    def daemon(self, program, index, attached):
        name = program if index == 0 else f"{program}{index + 1}"
        port = self.state["ports"][name]
        option = f"feedd.port={port}" if program == "feedd" else f"fanoutd.admin_port={port}"
        sets = [option] + (["feedd.admin_address="] if program == "feedd" else [])
        return Daemon(name, os.path.join(self.programs, program), self.config, self.folder, port, attached, self.env, sets)

    @property
    def servers(self):
        return [self.postgres] + self.redis + self.memcached

    @property
    def daemons(self):
        return self.fanoutd + self.feedd

    @property
    def url(self):
        return f"http://127.0.0.1:{self.feedd[0].port}"

    def load_state(self):
        try:
            with open(self.state_file, encoding="utf-8") as f:
                return json.load(f)
        except FileNotFoundError:
            return {}

    def save_state(self, with_pids):
        self.state["pids"] = {p.name: [p.pid, p.started] for p in self.servers + self.daemons if p.alive()} if with_pids else {}
        save_json(self.state_file, self.state)
        os.chmod(self.state_file, 0o600)

    def running(self):
        return [name for name, (pid, started) in self.state.get("pids", {}).items() if start_time(pid) == started]

    def adopt(self):
        for p in self.servers + self.daemons:
            if p.name in self.state.get("pids", {}):
                p.adopt(*self.state["pids"][p.name])

    def write_config(self):
        values = {
            "feedd": {"threads": "2"},
            "fanoutd": {},
            "database": {"conninfo": self.postgres.conninfo()},
            "queue": {"address": self.redis[0].address},
            "auth": {"jwt_keys": f"dev:hs256:{b64url(self.secret)}", "jwt_issuer": "fanfare"},
        }
        for name, value in self.options.items():
            section, option = name.split(".", 1)
            values.setdefault(section, {})[option] = str(value)
        with open(self.config, "w", encoding="utf-8") as f:
            os.fchmod(f.fileno(), 0o600)
            for section, options in values.items():
                f.write(f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in options.items()) + "\n")

    def ctl(self, *arguments, check=True, capture=True, timeout=600):
        """Runs fanfarectl; returns its standard output."""
        import subprocess
        done = subprocess.run([os.path.join(self.programs, "fanfarectl"), "-c", self.config, *map(str, arguments)],
                              env=dict(os.environ, FANFARE_URL=self.url), check=False, timeout=timeout, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE if capture else None, stderr=subprocess.PIPE if capture else None)
        if check and done.returncode != 0:
            raise Failure(f"fanfarectl {' '.join(map(str, arguments))} failed (exit {done.returncode}): "
                          f"{done.stderr.decode(errors='replace').strip() if capture else ''}")
        return done.stdout.decode(errors="replace") if capture else ""

    def start_servers(self):
        for server in self.servers:
            server.start()
        self.postgres.create_database()
        self.write_config()
        self.ctl("migrate")
        self.register_nodes()

    def register_nodes(self):
        """Tells the placement table of our cache nodes. What a restarted cache held is gone or stale, so every slot gets a new generation."""
        self.ctl("node", "sync", *[f"{tier}:{node.name}:{kind}:{node.address}"
                                   for tiers, kind, nodes in ((TIERS_ON_REDIS, "redis", self.redis),
                                                              (TIERS_ON_MEMCACHED, "memcached", self.memcached))
                                   for tier in tiers for node in nodes])

    def start_daemons(self):
        for daemon in self.daemons:
            daemon.start()

    def start(self):
        self.start_servers()
        self.start_daemons()

    def stop(self):
        for daemon in self.daemons[::-1]:
            daemon.send(signal.SIGTERM)
        for daemon in self.daemons[::-1]:
            daemon.stop()
        for server in self.servers[::-1]:
            server.stop()

    def token(self, user_id):
        return make_token(self.secret, user_id)


def request(url, token=None, method="GET", body=None, timeout=10):
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"} if data else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=timeout) as r:
        text = r.read()
        return json.loads(text) if text else None


def load_demo(stack):
    """The demo graph, display names, and posts by the people whom the demo user follows."""
    if stack.state.get("demo_user"):
        return
    demo = os.path.join(ROOT, "deploy", "demo")
    began = time.monotonic()
    print("loading the demo graph; the few users who would follow more than 5,000 follow 5,000", flush=True)
    stack.ctl("import-graph", os.path.join(demo, "github-mutual.tsv.gz"), "--mutual",
              "--names", os.path.join(demo, "names.txt.gz"),
              "--rejects", os.path.join(stack.folder, "log", "import-rejects.tsv"), capture=False)
    print(f"demo graph loaded in {time.monotonic() - began:.1f} s", flush=True)
    user = int(stack.postgres.psql("SELECT id FROM users WHERE following_count BETWEEN 80 AND 120 ORDER BY handle LIMIT 1"))
    followees = [int(x) for x in stack.postgres.psql(
        f"SELECT followee FROM following WHERE shard = shard_of({user}) AND follower = {user}").split()]
    with open(os.path.join(demo, "posts.txt"), encoding="utf-8") as f:
        texts = [line.rstrip("\n") for line in f]
    rng = random.Random(1)
    for i, text in enumerate(texts):
        # One post an author at most every few: the ordinary limits hold for the demo too.
        author = followees[i % len(followees)] if i % 4 else rng.choice(followees)
        request(f"{stack.url}/v1/me/feed", stack.token(author), "POST", {"text": text})
    stack.state["demo_user"] = user


def write_env(stack):
    user = stack.state["demo_user"]
    lines = {"FANFARE_URL": stack.url, "FANFARE_TOKEN": stack.token(user), "FANFARE_USER_ID": str(user),
             "FANFARE_CONFIG": stack.config, "FANFARE_PG": stack.postgres.conninfo(), "FANFARE_DIR": stack.folder}
    path = os.path.join(stack.folder, "env")
    with open(path, "w", encoding="utf-8") as f:
        os.fchmod(f.fileno(), 0o600)
        f.writelines(f"export {k}={shlex.quote(v)}\n" for k, v in lines.items())
    return path


def announce(stack):
    path = write_env(stack)
    user = stack.state["demo_user"]
    other = stack.postgres.psql(f"SELECT id FROM users u WHERE NOT EXISTS (SELECT FROM following WHERE shard = shard_of({user}) "
                                f"AND follower = {user} AND followee = u.id) AND id <> {user} ORDER BY handle LIMIT 1")
    print(f"""
Fanfare is up at {stack.url}
demo user {user}, token (24 h):
  {stack.token(user)}

Paste (the variables are in {path}):
  . {shlex.quote(path)}
  curl -s -H "Authorization: Bearer $FANFARE_TOKEN" "$FANFARE_URL/v1/me/feed?limit=5"
  curl -s -H "Authorization: Bearer $FANFARE_TOKEN" -H 'Content-Type: application/json' -d '{{"text":"Hello, world"}}' "$FANFARE_URL/v1/me/feed"
  curl -s -X PUT -H "Authorization: Bearer $FANFARE_TOKEN" -w '%{{http_code}}\\n' "$FANFARE_URL/v1/me/following/{other}"
""", flush=True)


def total(samples, family, **labels):
    return sum(v for k, v in samples.items() if k.split("{")[0] == family and all(f'{n}="{x}"' in k for n, x in labels.items()))


def watch(stack):
    """One status line a second, until a signal or until a part dies."""
    stopping = []
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, lambda *_: stopping.append(True))
    terminal = sys.stdout.isatty()
    last, last_time, printed = None, time.monotonic(), 0.0
    while not stopping:
        time.sleep(0.2)
        dead = [p for p in stack.servers + stack.daemons if not p.alive()]
        if dead:
            print(f"\n{dead[0].name} ended; its log is {dead[0].log}", file=sys.stderr)
            return 1
        now = time.monotonic()
        if now - last_time < 1:
            continue
        feed, fan = stack.feedd[0].metrics(), stack.fanoutd[0].metrics()
        if not feed or not fan:
            continue
        counts = (total(feed, "fanfare_http_requests_total"), total(feed, "fanfare_feed_source_total"),
                  total(fan, "fanfare_fanout_jobs_total"), total(fan, "fanfare_fanout_deliveries_total"))
        if last:
            rates = [(b - a) / (now - last_time) for a, b in zip(last, counts)]
            line = (f"requests {rates[0]:,.0f}/s  feed reads {rates[1]:,.0f}/s  posts fanned out {rates[2]:,.0f}/s  "
                    f"deliveries {rates[3]:,.0f}/s  backlog {total(fan, 'fanfare_fanout_backlog'):,.0f}")
            if terminal:
                print("\r\033[K" + line, end="", flush=True)
            elif now - printed > 10:
                print(line, flush=True)
                printed = now
        last, last_time = counts, now
    print("\nstopping", flush=True)
    return 0


def lock(folder):
    """Held while a command works on the folder: two cannot start the same data."""
    try:
        os.makedirs(folder, exist_ok=True)
        f = open(os.path.join(folder, "lock"), "w", encoding="utf-8")
    except OSError as e:
        raise Failure(f"{e.filename} cannot be written: {e.strerror}") from e
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another command is at work on {folder}: make run in another terminal? Ctrl-C there stops it", file=sys.stderr)
        sys.exit(2)
    os.set_inheritable(f.fileno(), False)
    return f


def bring_up(stack):
    began = time.monotonic()
    stack.start()
    load_demo(stack)
    announce(stack)
    print(f"ready in {time.monotonic() - began:.1f} s", flush=True)


def command_run(folder):
    stack = Stack(folder, attached=True)
    if stack.running():
        print(f"already running in {folder} (make down stops it)", file=sys.stderr)
        return 2

    def interrupted(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    try:
        bring_up(stack)
        stack.save_state(with_pids=False)
        return watch(stack)
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
        return 0
    finally:
        for signo in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signo, signal.SIG_IGN)
        stack.stop()
        stack.save_state(with_pids=False)


def command_up(folder):
    stack = Stack(folder, attached=False)
    if stack.running():
        print(f"already running in {folder}: {', '.join(stack.running())} (make down stops it)", file=sys.stderr)
        return 2
    try:
        bring_up(stack)
        stack.save_state(with_pids=True)
        return 0
    except BaseException:
        stack.stop()
        raise


def command_down(folder):
    stack = Stack(folder, attached=False)
    stack.adopt()
    stack.stop()
    stack.save_state(with_pids=False)
    return 0


def command_reset(folder):
    command_down(folder)
    data = Postgres(os.path.abspath(folder)).data
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "up", "down", "reset"))
    parser.add_argument("--dir", default=os.path.join(ROOT, "run"))
    arguments = parser.parse_args()
    folder = os.path.abspath(arguments.dir)
    commands = {"run": command_run, "up": command_up, "down": command_down, "reset": command_reset}
    try:
        with lock(folder):
            return commands[arguments.command](folder)
    except Failure as e:
        print(f"stack: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"stack: {e.filename or folder}: {e.strerror or e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
