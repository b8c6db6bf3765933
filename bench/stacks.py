"""Both systems, started on one PostgreSQL and one Redis each, with equal durability."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from nijika.local import servers
from nijika.local.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
USERS = 64
SLOTS = 2
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One of the two: where it is, who its users are, and how to look inside."""

    name: str
    url: str
    keys: list[str]
    """Whole `Authorization` values, one per user."""
    database: str
    web_pid: int
    database_pid: int

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def ends(self, ids: list[str]) -> dict[str, float]:
        """When each of these jobs succeeded, as a Unix time."""
        table = "jobs_job" if self.name == "nijika" else "baseline_job"
        query = f"""SELECT id::text, extract(epoch FROM ended_at)::float8 FROM {table}
                    WHERE id = ANY(%s::uuid[]) AND status = 'succeeded'"""
        return dict(self.rows(query, ids))  # type: ignore[arg-type]

    def unfinished(self) -> int:
        table = "jobs_job" if self.name == "nijika" else "baseline_job"
        query = f"""SELECT count(*) FROM {table}
                    WHERE status IN ('queued', 'running') AND operation <> 'park'"""
        [(count,)] = self.rows(query)
        return int(str(count))

    def cpu_s(self) -> tuple[float, float]:
        """Seconds of CPU that the web server and PostgreSQL have used so far.

        Busy neighbours slow everything down, but hardly change these.
        """
        return (
            sum(cpu_of(pid) for pid in tree(self.web_pid)),
            sum(cpu_of(pid) for pid in tree(self.database_pid)),
        )

    def web_rss_mb(self) -> float:
        """Resident memory of the web server's processes together."""
        return sum(_rss_kb(pid) for pid in tree(self.web_pid)) / 1000


@contextlib.contextmanager
def both(folder: Path) -> Iterator[tuple[System, System]]:
    """nijika and the baseline, running. Nothing is left when it ends."""
    with contextlib.ExitStack() as stack:
        postgres = servers.start_postgres(folder, durable=True)
        stack.callback(postgres.stop)
        yield (
            stack.enter_context(nijika(folder, postgres)),
            stack.enter_context(
                _baseline(folder, _new_database(postgres.url), postgres.process.pid)
            ),
        )


def _new_database(url: str) -> str:
    base = url.rsplit("/", 1)[0]
    with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS baseline")
        connection.execute("CREATE DATABASE baseline")
    return f"{base}/baseline"


@contextlib.contextmanager
def nijika(
    folder: Path, postgres: servers.Server, more: Mapping[str, str] | None = None
) -> Iterator[System]:
    """nijika alone, with the bench's engines; `more` are further settings."""
    settings = {
        "DATABASE_URL": postgres.url,
        "NIJIKA_WORKER_ENGINES": "noop/bench=bench.engines:Noop,"
        "single/bench=bench.engines:Single,sleep/bench=bench.engines:Sleep",
        "NIJIKA_DEFAULT_ENGINES": "noop=bench,single=bench,sleep=bench,park=bench",
        **(more or {}),
    }
    with Stack(folder=folder, settings=settings, quiet=True) as stack:
        keys = _output("bench.seed", str(USERS), environment=stack.environment)
        web = stack.supervisor.programs["web"].process
        assert web is not None
        system = System(
            name="nijika",
            url=f"{stack.url}/api/v1/jobs",
            keys=[f"Bearer {key}" for key in keys],
            database=postgres.url,
            web_pid=web.pid,
            database_pid=postgres.process.pid,
        )
        _wait_until_it_takes(system)
        yield system


@contextlib.contextmanager
def _baseline(folder: Path, database: str, database_pid: int) -> Iterator[System]:
    port = servers.free_port()
    redis = servers.start_redis(folder / "baseline-redis")
    environment = os.environ | {
        "DATABASE_URL": database,
        "REDIS_URL": redis.url,
        "DJANGO_SETTINGS_MODULE": "bench.baseline.settings",
    }
    gunicorn = [f"{BIN}/gunicorn", "bench.baseline.wsgi", "-b", f"127.0.0.1:{port}"]
    gunicorn += ["-k", "gthread", "-w", "2", "--threads", "8", "--keep-alive", "60"]
    celery = [f"{BIN}/celery", "-A", "bench.baseline", "worker", "-P", "prefork"]
    celery += ["-c", str(SLOTS), "-l", "WARNING", "--without-gossip"]
    celery += ["--without-mingle", "--without-heartbeat"]
    with contextlib.ExitStack() as stack:
        stack.callback(redis.stop)
        keys = _output("bench.baseline.seed", str(USERS), environment=environment)
        web = stack.enter_context(_program(gunicorn, folder, environment))
        stack.enter_context(_program(celery, folder, environment))
        _wait_for(f"http://127.0.0.1:{port}/api/v1/jobs")
        yield System(
            name="baseline",
            url=f"http://127.0.0.1:{port}/api/v1/jobs",
            keys=[f"Token {key}" for key in keys],
            database=database,
            web_pid=web.pid,
            database_pid=database_pid,
        )


@contextlib.contextmanager
def _program(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _output(module: str, *arguments: str, environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr}")
    return done.stdout.split()


def _wait_until_it_takes(system: System) -> None:
    """The worker announces its engines a moment after it has said hello."""
    headers = {"Authorization": system.keys[0], "Content-Type": "application/json"}
    body = b'{"operation": "noop"}'
    end = time.monotonic() + 30
    while True:
        request = urllib.request.Request(system.url, body, headers)
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except urllib.error.HTTPError as error:
            if time.monotonic() > end:
                raise SystemExit(f"nijika: {error.read()!r}") from error
            time.sleep(0.2)
        else:
            return


def _wait_for(url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return  # 401: it answers
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing answers at {url}")


def tree(pid: int) -> list[int]:
    """The process and all its descendants, whichever thread has started them."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        texts = [task.joinpath("children").read_text() for task in tasks]
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has just ended
    children = [int(one) for text in texts for one in text.split()]
    return [pid, *(one for child in children for one in tree(child))]


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
