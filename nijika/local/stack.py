"""The whole of nijika on this machine: servers, migrations, a user, all processes.

Everything that it writes lies in `.nijika/` of the checkout, except where PostgreSQL
must run under another uid that cannot enter there (nijika.local.servers).
`DATABASE_URL` and `REDIS_URL` of the environment replace the servers of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from redis import Redis
from redis.exceptions import RedisError

from nijika.env import shown
from nijika.local import servers
from nijika.local.provider import Provider
from nijika.local.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
HEALTHY_WITHIN_S = 60.0
HOPELESS_CRASHES = 4
"""A program that crashed so often before anything was healthy will not come up."""
USER = "you@example.org"
TRUE = ("true", "on", "ok", "y", "yes", "1")
STOP_EACH_S = 5.0
STOPPING = (signal.SIGINT, signal.SIGTERM)
RATES = (
    "NIJIKA_RATE_PER_KEY",
    "NIJIKA_RATE_EDITS",
    "NIJIKA_RATE_PER_ADDRESS",
    "NIJIKA_RATE_HEALTH",
    "NIJIKA_RATE_SIGN_IN",
    "NIJIKA_RATE_PER_PERSON",
)


STOP = threading.Event()
"""Set by a signal handler; a handler that raised could leave a half-made process."""


class Stopped(BaseException):
    """Somebody asked this process to end."""


class StackFailed(RuntimeError):
    """The stack did not come up; the text says which process, and how its log ends."""


class Stack:
    """One stack per folder, as a context manager: leaving it stops everything.

    `environment` is that of this process unless given; `settings` are variables that
    go before all others. Tests and benches use stacks of their own, in other folders.
    `development_sign_in` lets people in through a stand-in for the providers.
    """

    def __init__(
        self,
        *,
        folder: Path = ROOT / ".nijika",
        procfile: Path = ROOT / "Procfile",
        port: int | None = None,
        quiet: bool = False,
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
        development_sign_in: bool = False,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.environment: dict[str, str] = {}
        self.url = ""
        self.key = ""
        self.postgres: servers.Server | None = None
        self.redis: servers.Server | None = None
        self.provider: Provider | None = None
        self.supervisor: Supervisor
        self._procfile = procfile
        self._port = port
        self._quiet = quiet
        self._given = dict(os.environ if environment is None else environment)
        self._settings = dict(settings or {})
        self._durable = durable
        self._development_sign_in = development_sign_in
        self._lock: TextIO | None = None

    def __enter__(self) -> Stack:
        self._lock = _sole_stack(self.folder / "lock")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def check(self) -> None:
        """Restart what crashed. Raises Stopped once STOP is set, and ServerFailed."""
        if STOP.is_set():
            raise Stopped
        for name, server in (("postgres", self.postgres), ("redis", self.redis)):
            if server is not None and server.has_crashed:
                self.supervisor.say(f"{name} ended; restarting it")
                server.restart()
        self.supervisor.check()

    def stop(self) -> None:
        """End every process, servers last. Further signals are ignored meanwhile."""
        before = {n: signal.signal(n, signal.SIG_IGN) for n in STOPPING}
        (self.folder / "env").unlink(missing_ok=True)
        if hasattr(self, "supervisor"):
            # Workers hand their jobs back over the link, so the web goes after them.
            others = [name for name in self.supervisor.programs if name != "web"]
            self.supervisor.stop([others, ["web"]], timeout_s=STOP_EACH_S)
        if self.provider is not None:
            self.provider.__exit__()
            self.provider = None
        for server in (self.redis, self.postgres):
            if server is not None:
                server.stop(timeout_s=2)
        if self._lock is not None:
            self._lock.close()
        for number, handler in before.items():
            signal.signal(number, handler)

    def manage(self, *arguments: str) -> str:
        """Run a manage.py command in the stack's environment. Raises StackFailed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            why = done.stderr.strip()
            if "\n" in why:
                why = f"manage.py {' '.join(arguments)} failed:\n{why[-3000:]}"
            raise StackFailed(why)
        return done.stdout.strip()

    def get(self, path: str, *, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    @property
    def elsewhere(self) -> Path | None:
        """Where the database's data and log are, if not in the stack's own folder."""
        home = self.postgres.log.parent if self.postgres else self.folder
        return None if home.is_relative_to(self.folder) else home

    def _free_port(self) -> int:
        """The port that was asked for, else any. Raises StackFailed if it is taken."""
        wanted = self._port or int(self._given.get("NIJIKA_PORT") or 0)
        port = servers.free_port(wanted)
        if wanted and port != wanted:
            raise StackFailed(
                f"Something else listens on port {wanted}; NIJIKA_PORT={port} is free."
            )
        return port

    def _start(self) -> None:
        port = self._free_port()
        database, redis = self._start_servers()
        self.url = self._given.get("NIJIKA_PUBLIC_URL") or f"http://127.0.0.1:{port}"
        self.environment = self._make_environment(database, redis, port)
        self.manage("migrate", "--verbosity", "0")
        if self.redis is None:
            _refuse_silent(redis)
        self.supervisor = Supervisor(
            self._procfile,
            environment=self.environment,
            logs=self.folder / "logs",
            quiet=self._quiet,
            folder=ROOT,
        )
        self.supervisor.start()
        self._wait_until_healthy()
        self.key = self._key_of_user()
        self._write_env_file()

    def _start_servers(self) -> tuple[str, str]:
        chosen = self._given | self._settings
        database, redis = chosen.get("DATABASE_URL", ""), chosen.get("REDIS_URL", "")
        if not database:
            self.postgres = servers.start_postgres(self.folder, durable=self._durable)
            database = self.postgres.url
        if not redis:
            self.redis = servers.start_redis(self.folder / "redis")
            redis = self.redis.url
        return database, redis

    def _make_environment(self, database: str, redis: str, port: int) -> dict[str, str]:
        link = f"127.0.0.1:{servers.free_port()}"
        ours = {
            "DATABASE_URL": database,
            "REDIS_URL": redis,
            "NIJIKA_HOST": "127.0.0.1",
            "NIJIKA_PORT": str(port),
            "NIJIKA_PUBLIC_URL": self.url,
            "NIJIKA_STORAGE_URL": f"file://{self.folder}/storage",
            "NIJIKA_SECRET_KEY": self._secret("secret_key"),
            "NIJIKA_LINK_TOKEN": self._secret("link_token"),
            "NIJIKA_LINK_LISTEN": link,
            "NIJIKA_LINK_URL": f"http://{link}/internal/link",
            "NIJIKA_BROKER_URL": redis,
            "NIJIKA_WORKER_GRACE": "3s",
            **_limits(self._given | self._settings),
            "NIJIKA_UNFINISHED_PER_USER": "0",
            "PYTHONUNBUFFERED": "1",
        }
        if self._may_stand_in():
            self.provider = Provider(local_user=USER).__enter__()
            ours["NIJIKA_DEBUG"] = "true"
            ours["NIJIKA_DEVELOPMENT_SIGN_IN"] = self.provider.url
        chosen = {k: v for k, v in self._given.items() if k.startswith("NIJIKA_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{self._given.get('PATH', '')}"
        here = {"PATH": path, "NIJIKA_PORT": str(port)}
        return self._given | ours | chosen | self._settings | here

    def _may_stand_in(self) -> bool:
        """Whether signing in leads to a stand-in: it is asked for, and the environment
        neither names a real provider nor switches debugging off."""
        chosen = self._given | self._settings
        real = ("NIJIKA_GITHUB_CLIENT_ID", "NIJIKA_GITLAB_CLIENT_ID")
        return (
            self._development_sign_in
            and not any(chosen.get(name) for name in real)
            and chosen.get("NIJIKA_DEBUG", "true").lower() in TRUE
        )

    def _secret(self, name: str) -> str:
        path = self.folder / name
        if not path.exists():
            servers.write_private(path, secrets.token_urlsafe(32))
        return path.read_text()

    def _key_of_user(self) -> str:
        """The local user's key, kept in `.nijika/key`; made anew for a new database."""
        path = self.folder / "key"
        if path.exists() and self._opens(path.read_text()):
            return path.read_text()
        with suppress(StackFailed):  # the user is there, only the key was lost
            self.manage("create_user", USER)
        servers.write_private(path, self.manage("create_key", USER))
        return path.read_text()

    def _opens(self, key: str) -> bool:
        try:
            self.get("/api/v1/account", key=key)
        except urllib.error.HTTPError:
            return False
        return True

    def _wait_until_healthy(self) -> None:
        end = time.monotonic() + HEALTHY_WITHIN_S
        health: Any = "no answer"
        while time.monotonic() < end and self._most_crashes() < HOPELESS_CRASHES:
            self.check()
            try:
                health = self.get("/api/health")
            except (OSError, ValueError):
                pass
            else:
                if self._stands(health):
                    return
            time.sleep(0.1)
        raise StackFailed(f"{self._culprit()}\nhealth: {health}")

    def _stands(self, health: Any) -> bool:
        """All is healthy that is ours: a queue of `NIJIKA_QUEUES` that no line of the
        Procfile works on gets its worker by hand, once the stack is there."""
        ours = set(re.findall(r"--queue[ =](\S+)", self._procfile.read_text()))
        return all(
            service["status"] == "healthy"
            for name, service in health["services"].items()
            if not name.startswith("queue:") or name.removeprefix("queue:") in ours
        )

    def _most_crashes(self) -> int:
        return max(p.crashes for p in self.supervisor.programs.values())

    def _culprit(self) -> str:
        programs = self.supervisor.programs.values()
        worst = max(programs, key=lambda program: program.crashes)
        if not worst.crashes:
            return "The stack did not become healthy."
        return f"{worst.name} does not run. Its log ends:\n{servers.tail(worst.log)}"

    def _write_env_file(self) -> None:
        names = ["DATABASE_URL", "REDIS_URL"]
        names += [n for n in self.environment if n.startswith("NIJIKA_")]
        values = {n: self.environment[n] for n in names}
        values |= {"NIJIKA_URL": self.url, "NIJIKA_API_KEY": self.key}
        lines = [f"{n}={shlex.quote(v)}\n" for n, v in sorted(values.items())]
        servers.write_private(self.folder / "env", "".join(lines))


def _refuse_silent(url: str) -> None:
    """Raises StackFailed if no Redis takes a command there."""
    try:
        with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        why = " ".join(str(error).split())
        raise StackFailed(f"REDIS_URL={shown(url)!r} cannot be used: {why}") from error


def _limits(chosen: Mapping[str, str]) -> dict[str, str]:
    """On one's own machine only those rates are limited that one has set."""
    if chosen.get("NIJIKA_RATE_LIMITS"):
        return {}
    if not any(chosen.get(name) for name in RATES):
        return {"NIJIKA_RATE_LIMITS": "false"}
    return dict.fromkeys(RATES, "off")


def _sole_stack(path: Path) -> TextIO:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StackFailed(
            "nijika is already running in this checkout (.nijika/env says where);"
            " stop it first, or use another checkout."
        ) from None
    return lock
