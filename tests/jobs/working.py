"""Workers for tests: they say to the real link what a worker process would say."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.joining import join
from accounts.models import User
from gpu_worker.contract import (
    Answer,
    Beat,
    Call,
    Failure,
    Report,
    ResultFile,
    Run,
)
from jobs import link
from jobs.ids import new_id
from jobs.models import Job
from jobs.submission import Accepted, Submission, submit_many

PRICE = Decimal("0.0100")


def user_with(credits: str, email: str = "") -> User:
    return join(
        email or f"{secrets.token_hex(6)}@example.com", credits=Decimal(credits)
    )


def submit(user: User, count: int = 1, **changes: Any) -> list[UUID]:
    """Accepted jobs that wait, in the order of their ids."""
    items = [_submission(user, changes) for _ in range(count)]
    for answer in submit_many(items):
        assert isinstance(answer, Accepted), answer
    return sorted(item.id for item in items)


def _submission(user: User, changes: dict[str, Any]) -> Submission:
    values: dict[str, Any] = {
        "id": new_id(),
        "user_id": user.pk,
        "test": False,
        "operation": "resize",
        "engine": "imaging",
        "queue": "cpu",
        "parameters": {},
        "metadata": {},
        "inputs": [],
        "price": PRICE,
        "run_limit_s": 60.0,
        "request_id": "",
    }
    return Submission(**values | changes)


def run_of(job_id: UUID, attempt: int = 1, claim: str | None = None) -> Run:
    return Run(job_id=str(job_id), attempt=attempt, claim=claim or secrets.token_hex(8))


def success(run: Run, **changes: Any) -> Report:
    values: dict[str, Any] = {
        "index": 0,
        "key": f"results/{run.job_id}/{run.attempt}-{run.claim}/0",
        "content_type": "image/png",
        "width_px": 4,
        "height_px": 3,
        "size_bytes": 10,
        "sha256": "0" * 64,
    }
    return Report(run=run, results=(ResultFile(**values | changes),), engine_ms=5)


def failure(
    run: Run, code: str = "engine_failed", *, retryable: bool = False
) -> Report:
    said = Failure(code=code, message="It went wrong.", retryable=retryable)
    return Report(run=run, failure=said)


@dataclass
class TestWorker:
    """A worker process that is only its words. `hello` begins a new incarnation."""

    __test__ = False
    name: str = "cpu-1"
    incarnation: int = 0
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def hello(self) -> TestWorker:
        answer = link.handle(self.call(incarnation=0))
        assert answer.status == "ok"
        self.incarnation = answer.incarnation
        return self

    def call(self, **words: Any) -> Call:
        head: dict[str, Any] = {
            "name": self.name,
            "incarnation": self.incarnation,
            "number": next(self.numbers),
            "queue": "cpu",
            "slots": 2,
            "free_slots": 1,
            "specs_digest": "",
        }
        return Call(**head | words)

    def say(self, **words: Any) -> Answer:
        return link.handle(self.call(**words))

    def claim(self, *runs: Run) -> set[Run]:
        answer = self.say(claims=runs)
        return {grant.run for grant in answer.grants if grant.granted}

    def start(self, job_id: UUID, attempt: int = 1) -> Run:
        run = run_of(job_id, attempt)
        assert self.claim(run) == {run}
        return run

    def beat(self, *runs: Run) -> set[Run]:
        """The runs that may go on."""
        answer = self.say(beats=tuple(Beat(run=run) for run in runs))
        return set(runs) - set(answer.stop)

    def report(self, *reports: Report) -> set[Run]:
        return set(self.say(reports=reports).acknowledged)


def status(job_id: UUID) -> str:
    return str(Job.objects.values_list("status", flat=True).get(pk=job_id))


def lease_ends(*job_ids: UUID) -> None:
    """What time does to a lease that nobody renews."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH ours AS MATERIALIZED (
                SELECT id FROM jobs_job WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
            )
            UPDATE jobs_job SET lease_until = clock_timestamp() - interval '1 ms'
            FROM ours WHERE jobs_job.id = ours.id AND status = 'running'
            """,
            [list(job_ids)],
        )


def check_books() -> None:
    """Wallets are the sums of their entries, held is what unfinished jobs hold, and
    every ended job has one end and one settlement, of what it was charged."""
    with connection.cursor() as cursor:
        for name, query in _DIFFERENCES.items():
            cursor.execute(query)
            assert cursor.fetchall() == [], name


_DIFFERENCES = {
    "wallet is not the sum of its entries": """
        SELECT wallet.id FROM billing_wallet AS wallet
        LEFT JOIN billing_entry AS entry ON entry.wallet_id = wallet.id
        GROUP BY wallet.id
        HAVING wallet.available <> coalesce(sum(entry.amount), 0)
            OR wallet.held <> coalesce(sum(entry.held_amount), 0)""",
    "held is not what unfinished jobs hold": """
        SELECT wallet.user_id FROM billing_wallet AS wallet
        LEFT JOIN jobs_job AS job ON job.user_id = wallet.user_id AND NOT job.test
            AND job.status IN ('queued', 'running')
        GROUP BY wallet.id HAVING wallet.held <> coalesce(sum(job.price), 0)""",
    "an ended job has not exactly one settlement of its charge": """
        SELECT job.id FROM jobs_job AS job
        LEFT JOIN billing_entry AS entry
            ON entry.reference = job.id::text AND entry.kind = 'settle'
        WHERE NOT job.test GROUP BY job.id
        HAVING count(entry.id) <> (job.status NOT IN ('queued', 'running'))::int
            OR sum(job.price - entry.amount) <> job.charged""",
    "an ended job has not exactly one end": """
        SELECT job.id FROM jobs_job AS job
        LEFT JOIN jobs_jobevent AS event ON event.job_id = job.id
            AND event.type IN ('succeeded', 'failed', 'cancelled')
        GROUP BY job.id
        HAVING count(event.id) <> (job.status NOT IN ('queued', 'running'))::int
            OR bool_or(event.type <> job.status)""",
}
