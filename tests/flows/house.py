"""A whole nijika for a test: the local stack in a folder of its own, and its clients.

The processes are the product's own (Procfile, supervisor, servers); a house adds what a
test needs: to speak HTTP as a user would, to kill, freeze and restart one part, and to
look into the database afterwards.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from nijika.local.servers import Server
from nijika.local.stack import Stack
from tests import misbehaving
from tests.flows import templates
from tests.flows.clerk import ClerkedStack

ROOT = Path(__file__).resolve().parents[2]
ENDS = {"succeeded", "failed", "cancelled"}
T = TypeVar("T")

SHORT_TIMES = {
    "NIJIKA_LEASE": "4s",
    "NIJIKA_BEAT": "500ms",
    "NIJIKA_LINK_EVERY": "500ms",
    "NIJIKA_RUN_LIMIT_GRACE": "1s",
    "NIJIKA_RETRY_BACKOFF": "200ms",
    "NIJIKA_REPUBLISH_AFTER": "1s",
    "NIJIKA_REPUBLISH_BACKOFF": "2s",
    "NIJIKA_POLL": "500ms",
    "NIJIKA_REAP": "300ms",
    "NIJIKA_WORKER_GONE": "3s",
    "NIJIKA_WORKER_GRACE": "2s",
}


@dataclass(slots=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]
    seconds: float = 0


@dataclass(slots=True)
class House:
    """A running stack and what a test does with it."""

    stack: Stack

    @property
    def _notes(self) -> Path:
        return self.stack.folder / "starts"

    # As a user

    def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30,
    ) -> Answer:
        url = path if path.startswith("http") else self.stack.url + path
        sent = {"Authorization": f"Bearer {key or self.stack.key}"} | dict(
            headers or {}
        )
        request = urllib.request.Request(url, data=body, headers=sent, method=method)
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                data, status, got = answer.read(), answer.status, answer.headers
        except urllib.error.HTTPError as error:
            data, status, got = error.read(), error.code, error.headers
        kind = got.get("Content-Type", "")
        parsed = json.loads(data) if "json" in kind and data else data
        return Answer(status, parsed, got, time.monotonic() - began)

    def submit(
        self,
        operation: str,
        image: Path | bytes | None = None,
        *,
        key: str | None = None,
        idempotency_key: str = "",
        timeout_s: float = 30,
        **parameters: Any,
    ) -> Answer:
        if operation in misbehaving.OPERATIONS:
            parameters["note"] = str(self._notes)
        body, kind = multipart(operation, image, parameters)
        headers = {"Content-Type": kind}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return self.call(
            "POST",
            "/api/v1/jobs",
            key=key,
            body=body,
            headers=headers,
            timeout_s=timeout_s,
        )

    def accepted(
        self, operation: str, image: Path | bytes | None = None, **rest: Any
    ) -> str:
        """Submit what must be accepted; the job's id."""
        answer = self.submit(operation, image, **rest)
        assert answer.status == 202, answer.body
        job_id: str = answer.body["id"]
        return job_id

    def job(self, job_id: str, *, key: str | None = None) -> Any:
        answer = self.call("GET", f"/api/v1/jobs/{job_id}", key=key)
        assert answer.status == 200, answer.body
        return answer.body

    def end_of(self, job_id: str, *, within_s: float = 30) -> Any:
        """The job once it has ended. Supervises meanwhile; the web may be away."""

        def look() -> Any:
            self.supervise()
            job = self.job(job_id)
            return job if job["status"] in ENDS else None

        try:
            return eventually(look, within_s=within_s)
        except AssertionError:
            self.tell_all(job_id)
            raise

    def until(self, job_id: str, status: str, *, within_s: float = 20) -> Any:
        def look() -> Any:
            job = self.job(job_id)
            return job if job["status"] == status else None

        return eventually(look, within_s=within_s)

    def account(self, *, key: str | None = None) -> Any:
        return self.call("GET", "/api/v1/account", key=key).body

    def new_user(self, *, credits: str = "50", test: bool = False) -> str:
        """A key of a user of their own."""
        email = f"{uuid.uuid4().hex[:12]}@example.org"
        self.stack.manage("create_user", email, "--credits", credits)
        return self.stack.manage("create_key", email, *(["--test"] if test else []))

    # As fate

    def pid(self, name: str) -> int:
        process = self.stack.supervisor.programs[name].process
        assert process is not None
        return process.pid

    def kill(self, name: str) -> None:
        """kill -9; the supervisor restarts it, at once, when it next looks."""
        program = self.stack.supervisor.programs[name]
        assert program.process is not None
        program.process.kill()
        program.process.wait()
        program.started_at = 0

    def supervise(self) -> None:
        """Restart what has ended, as `make run` does all the time."""
        self.stack.check()

    def settle_down(self, *, within_s: float = 30) -> None:
        """Wait until everything runs and is healthy again."""

        def look() -> bool | None:
            self.supervise()
            programs = self.stack.supervisor.programs.values()
            health = self.call("GET", "/api/health").body
            healthy = health["status"] == "healthy"
            return (healthy and all(p.running for p in programs)) or None

        eventually(look, within_s=within_s)

    @contextmanager
    def another(self, name: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """A second process of the same line of the Procfile, unsupervised."""
        command = self.stack.supervisor.programs[name].command
        log = (self.stack.folder / "logs" / f"another-{name}.log").open("wb")
        process = subprocess.Popen(
            f"exec {command}",
            shell=True,
            cwd=ROOT,
            env=self.stack.environment | settings,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            log.close()
            process.kill()
            process.wait()

    @contextmanager
    def standing(self, name: str) -> Iterator[None]:
        """The process stands still, as one that is paged out or debugged."""
        os.kill(self.pid(name), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid(name), signal.SIGCONT)

    @contextmanager
    def frozen(self, server: Server) -> Iterator[None]:
        server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            server.process.send_signal(signal.SIGCONT)

    # As an auditor

    def tell_all(self, job_id: str) -> None:
        """All about a job that does not end, for the test's report."""
        row = self.sql("SELECT to_jsonb(j) FROM jobs_job j WHERE id = %s", job_id)
        print(row, self.events(job_id), sep="\n")
        print(self.sql("SELECT to_jsonb(w), now() FROM jobs_worker w"))
        for log in sorted((self.stack.folder / "logs").glob("*.log")):
            print(f"--- {log.name}", *log.read_text().splitlines()[-15:], sep="\n")

    def sql(self, query: str, *parameters: Any) -> list[Any]:
        url = self.stack.environment["DATABASE_URL"]
        with psycopg.connect(url, autocommit=True) as connection:
            done = connection.execute(query, parameters or None)
            return done.fetchall() if done.description else []

    def check_ledger(self) -> None:
        self.stack.manage("check_ledger")

    def events(self, job_id: str) -> list[str]:
        query = "SELECT type FROM jobs_jobevent WHERE job_id = %s ORDER BY id"
        return [row[0] for row in self.sql(query, job_id)]

    def starts(self, job_id: str) -> int:
        """How often an engine of `tests.misbehaving` has started this job."""
        return self._notes.read_text().split().count(job_id)

    def stored(self, job_id: str) -> list[str]:
        """The job's result files, as paths below `results/<job>/`."""
        folder = self.stack.folder / "storage" / "results" / job_id
        return sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file()
        )

    def entries(self, job_id: str) -> list[tuple[str, str]]:
        query = """
            SELECT kind, amount::text FROM billing_entry
            WHERE reference = %s ORDER BY id
        """
        return [(kind, amount) for kind, amount in self.sql(query, job_id)]


def eventually(look: Callable[[], T | None], *, within_s: float) -> T:
    """What `look` returns once it is not None; connection errors count as not yet."""
    end = time.monotonic() + within_s
    last: Exception | None = None
    while True:
        try:
            found = look()
        except (OSError, AssertionError) as error:
            found, last = None, error
        if found is not None:
            return found
        assert time.monotonic() < end, f"nothing within {within_s} s ({last})"
        time.sleep(0.05)


def multipart(
    operation: str, image: Path | bytes | None, parameters: Mapping[str, Any]
) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    fields = {"operation": operation, "parameters": json.dumps(parameters)}
    parts = [
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    body = "".join(parts).encode()
    if image is not None:
        data = image.read_bytes() if isinstance(image, Path) else image
        head = 'Content-Disposition: form-data; name="image"; filename="image"'
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n"
    return (
        body + f"--{boundary}--\r\n".encode(),
        f"multipart/form-data; boundary={boundary}",
    )


@contextmanager
def house(
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    short_times: bool = True,
    procfile: Path = ROOT / "Procfile",
    kind: type[House] = House,
    own_postgres: bool = False,
) -> Iterator[Any]:
    """A stack of its own in `folder`, supervised only when the test says so.

    A test that stops PostgreSQL says `own_postgres`; other houses of a run of tests
    have databases in one server.
    """
    times = SHORT_TIMES if short_times else {}
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    server = os.environ.get("NIJIKA_TEST_DATABASE_URL")
    with ExitStack() as left:
        database = {}
        if server and not own_postgres:
            database["DATABASE_URL"] = left.enter_context(templates.database(server))
        stack = ClerkedStack(
            folder=folder,
            procfile=procfile,
            quiet=True,
            durable=False,
            environment=environment_of_a_newcomer(),
            settings=times | database | dict(settings or {}),
        )
        yield kind(left.enter_context(stack))


def environment_of_a_newcomer() -> dict[str, str]:
    """Ours, without what the tests have set: a house has servers of its own."""
    hidden = ("NIJIKA_", "DATABASE_URL", "REDIS_URL", "DJANGO_", "PYTEST")
    return {n: v for n, v in os.environ.items() if not n.startswith(hidden)}
