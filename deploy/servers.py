"""Servers of a Fanfare stack in one folder: PostgreSQL, Redis, memcached and the daemons as child processes on sockets of their own.

Only the standard library. Used by deploy/stack.py (make run, make up) and by the tests. A process is remembered as pid and start
time, so that nothing but what was started here is ever stopped. Failures raise Failure with what, why and where its log is.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

PG_BIN = "/usr/lib/postgresql/15/bin"
SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes; PostgreSQL adds a name


class Failure(Exception):
    """A part of the stack could not be started; the text is for people."""


def start_time(pid):
    """Kernel start time of a process, or None when it is gone (or a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def wait_until(what, check, timeout, log=None):
    """Calls check() until it is true; raises Failure with the end of the log after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        if check():
            return
        if time.monotonic() > end:
            raise Failure(f"{what} did not get ready within {timeout:g} s{tail(log)}")
        time.sleep(0.02)


def tail(log, lines=8):
    if not log:
        return ""
    try:
        with open(log, encoding="utf-8", errors="replace") as f:
            last = "".join(f.readlines()[-lines:])
    except FileNotFoundError:
        last = ""
    return f"; its log is {log}" + (f" and ends:\n{last}" if last else "")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def die_with_parent():
    """In the child: SIGTERM when the parent dies, so that a killed stack leaves nothing behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Process:
    """One child: started, watched, stopped by pid."""

    def __init__(self, name, folder, attached=True):
        self.name = name
        self.log = os.path.join(folder, "log", f"{name}.log")
        self.attached = attached
        self.popen = None
        self.pid = None
        self.started = None
        self.spawned = None  # called when there is a process to remember

    def spawn(self, argv, env=None, user=None, cwd=None):
        os.makedirs(os.path.dirname(self.log), exist_ok=True)
        with open(self.log, "ab") as log:
            try:
                self.popen = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd or "/", user=user,
                    group=pwd.getpwnam(user).pw_gid if user else None, extra_groups=[] if user else None,
                    start_new_session=True, preexec_fn=die_with_parent if self.attached else None)
            except OSError as e:
                raise Failure(f"{self.name}: cannot start {argv[0]}: {e.strerror}") from e
        self.pid = self.popen.pid
        self.started = start_time(self.pid)
        if self.spawned:
            self.spawned()

    def adopt(self, pid, started):
        self.pid, self.started = pid, started

    def alive(self):
        if self.popen is not None and self.popen.poll() is not None:
            return False
        return self.pid is not None and self.started is not None and start_time(self.pid) == self.started

    def ready(self, check, timeout=20):
        def check_alive():
            if not self.alive():
                code = self.popen.returncode if self.popen else None
                raise Failure(f"{self.name} ended while starting (exit {code}){tail(self.log)}")
            return check()
        wait_until(self.name, check_alive, timeout, self.log)

    def send(self, signo):
        if self.alive():
            os.kill(self.pid, signo)

    def stop(self, signo=signal.SIGTERM, timeout=15):
        """Asks, waits, then kills. Harmless when it is not running."""
        if self.alive():
            os.kill(self.pid, signo)
            os.kill(self.pid, signal.SIGCONT)
            end = time.monotonic() + timeout
            while self.alive() and time.monotonic() < end:
                time.sleep(0.01)
        self.kill()

    def kill(self):
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait()
        else:
            while self.alive():
                time.sleep(0.01)
        self.pid = self.started = None


def short_folder(folder, name):
    """A folder for sockets whose path is short enough; made when missing."""
    path = os.path.join(folder, name)
    if len(path) > SOCKET_PATH_MAX - 24:
        path = f"/tmp/fanfare-{os.getuid()}-{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    os.makedirs(path, mode=0o755, exist_ok=True)
    return path


class Postgres(Process):
    """PostgreSQL 15 in folder/pg, on a unix socket only, under an unprivileged user when we are root."""

    def __init__(self, folder, attached=True, settings=None):
        super().__init__("postgres", folder, attached)
        self.user = self.unprivileged() if os.getuid() == 0 else None
        self.data = os.path.join(folder, "pg")
        if self.user and not self.reachable(folder):
            # The folder lies under one that the unprivileged user may not enter (such as /root).
            self.data = f"/var/tmp/fanfare-pg-{hashlib.sha256(folder.encode()).hexdigest()[:12]}"
        self.sockets = short_folder(folder, "pgsock")
        if self.user and not self.reachable(self.sockets):
            self.sockets = short_folder("/tmp", f"fanfare-sock-{hashlib.sha256(folder.encode()).hexdigest()[:12]}")
        self.settings = settings or {}
        self.database_user = pwd.getpwuid(os.getuid()).pw_name if not self.user else self.user

    @staticmethod
    def unprivileged():
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name).pw_name
            except KeyError:
                continue
        raise Failure("postgres: run as root there must be an unprivileged user called postgres or nobody")

    def reachable(self, path):
        return subprocess.run(["test", "-x", path], user=self.user, check=False, cwd="/").returncode == 0

    def conninfo(self, database="fanfare"):
        host = self.sockets.replace("\\", "\\\\").replace("'", "\\'")
        if re.search(r"[\s'\\]", self.sockets):
            host = f"'{host}'"
        return f"host={host} port=5432 user={self.database_user} dbname={database}"

    def start(self):
        if not os.path.exists(os.path.join(self.data, "PG_VERSION")):
            self.init()
        settings = {"listen_addresses": "", "unix_socket_directories": self.sockets, "max_connections": "200",
                    "shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min", "jit": "off",
                    "max_locks_per_transaction": "128", "work_mem": "8MB", "autovacuum_naptime": "10s",
                    "log_min_messages": "warning", "log_line_prefix": "%m [%p] %a "}
        settings.update(self.settings)
        if self.user:
            shutil.chown(self.sockets, self.user)
        argv = [f"{PG_BIN}/postgres", "-D", self.data]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        self.spawn(argv, user=self.user)
        self.ready(lambda: subprocess.run([f"{PG_BIN}/pg_isready", "-q", "-h", self.sockets], check=False).returncode == 0, 60)

    def init(self):
        if not os.path.exists(f"{PG_BIN}/initdb"):
            raise Failure(f"postgres: {PG_BIN}/initdb is missing; install postgresql-15 (deploy/setup does)")
        os.makedirs(self.data, mode=0o700, exist_ok=True)
        if self.user:
            shutil.chown(self.data, self.user)
        done = subprocess.run([f"{PG_BIN}/initdb", "-D", self.data, "-U", self.database_user, "-A", "trust", "-E", "UTF8",
                               "--locale=C.UTF-8", "--no-instructions"], user=self.user, cwd="/", check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Failure(f"postgres: initdb failed:\n{done.stdout.decode(errors='replace')}")
        os.chmod(self.data, 0o700)

    def create_database(self, name="fanfare"):
        found = self.psql("SELECT 1 FROM pg_database WHERE datname = '%s'" % name, "postgres")
        if not found:
            self.psql(f"CREATE DATABASE {name}", "postgres")

    def psql(self, sql, database="fanfare"):
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database), "-c", sql],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise Failure(f"postgres: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode().strip()

    def stop(self, signo=signal.SIGINT, timeout=30):
        super().stop(signo, timeout)  # SIGINT: fast shutdown


class Redis(Process):
    """Redis without persistence: a cache node (and the queue) keeps nothing over a restart."""

    def __init__(self, name, folder, attached=True, port=None, arguments=()):
        super().__init__(name, folder, attached)
        self.socket = os.path.join(short_folder(folder, "sock"), f"{name}.sock")
        self.port = port
        self.folder = folder
        self.arguments = list(arguments)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}" if self.port else f"unix:{self.socket}"

    def start(self):
        argv = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port or 0), "--save", "", "--appendonly", "no",
                "--daemonize", "no", "--dir", self.folder, "--dbfilename", f"{self.name}.rdb", "--maxclients", "5000"]
        # --save "" keeps Redis from writing a snapshot, not from loading one that somebody's SAVE has left.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, f"{self.name}.rdb"))
        if not self.port:
            argv += ["--unixsocket", self.socket]
        self.spawn(argv + self.arguments)
        self.ready(lambda: self.command(b"PING\r\n").startswith(b"+PONG"))

    def command(self, line):
        return talk(self.address, line)


class Memcached(Process):
    def __init__(self, name, folder, attached=True, port=None, megabytes=256):
        super().__init__(name, folder, attached)
        self.socket = os.path.join(short_folder(folder, "sock"), f"{name}.sock")
        self.port = port
        self.megabytes = megabytes

    @property
    def address(self):
        return f"127.0.0.1:{self.port}" if self.port else f"unix:{self.socket}"

    def start(self):
        argv = ["memcached", "-m", str(self.megabytes), "-t", "1", "-c", "4096", "-U", "0"]
        if self.port:
            argv += ["-l", "127.0.0.1", "-p", str(self.port)]
        else:
            if os.path.exists(self.socket):
                os.unlink(self.socket)
            argv += ["-s", self.socket, "-a", "0700"]
        if os.getuid() == 0:
            argv += ["-u", "root"]
        self.spawn(argv)
        self.ready(lambda: talk(self.address, b"version\r\n").startswith(b"VERSION"))


def talk(address, line, timeout=1):
    """Sends one line, returns what comes first; b"" when nobody answers."""
    try:
        if address.startswith("unix:"):
            s = socket.socket(socket.AF_UNIX)
            target = address[5:]
        else:
            s = socket.socket()
            host, port = address.rsplit(":", 1)
            target = (host, int(port))
        with s:
            s.settimeout(timeout)
            s.connect(target)
            s.sendall(line)
            return s.recv(4096)
    except OSError:
        return b""


class Daemon(Process):
    """feedd or fanoutd from a folder of programs."""

    def __init__(self, name, program, config, folder, port, attached=True, env=None, sets=()):
        super().__init__(name, folder, attached)
        self.program = program
        self.config = config
        self.port = port
        self.env = dict(os.environ, **(env or {}))
        self.sets = list(sets)

    def start(self, timeout=20):
        argv = [self.program, "-c", self.config]
        for s in self.sets:
            argv += ["--set", s]
        self.spawn(argv, env=self.env)
        self.ready(lambda: http_status(f"http://127.0.0.1:{self.port}/readyz") == 200, timeout)

    def metrics(self):
        """Sample name with labels -> value."""
        samples = {}
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as r:
                text = r.read().decode()
        except OSError:
            return samples
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples


def http_status(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as r:
            return r.status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def save_json(path, value):
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1)
    os.replace(path + ".new", path)
