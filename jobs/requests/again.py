"""A job once more: a new one for the same, on the same files, at today's price.

An ended job stays ended; the new one names it in `retry_of`. Its inputs are the old
job's files, pinned until the new one ends; a URL that was never fetched is fetched.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from gpu_worker.contract import SANDBOX, Step
from jobs import submission
from jobs.errors import JobNotEnded, OwnKeyNeeded, ResultErased
from jobs.ids import new_id
from jobs.models import Job
from jobs.requests import orders
from jobs.requests.inputs import Given, Taken, owner_of
from jobs.requests.orders import Checked, Order, Orderer
from jobs.submission import Accepted, Submission
from nijika.errors import NijikaError


def run_again(job: Job, orderer: Orderer) -> Accepted:
    """Submit what the ended `job` asked for; its owner pays, as for any job.

    With the orderer's idempotency key a repeat gives the same job. Raises JobNotEnded,
    ResultErased if its inputs are gone, OwnKeyNeeded if its owner paid a provider, and
    all that a new order may be refused with.
    """
    if job.ended_at is None:
        raise JobNotEnded
    if job.own_key:
        raise OwnKeyNeeded
    _check_files(job)
    checked = orders.check(_order(job), test=job.test)
    [answer] = submission.submit_many([_submission(job, checked, orderer)])
    if isinstance(answer, NijikaError):
        raise answer
    return answer


def may_run_again(job: Job) -> bool:
    """Whether `run_again` would take it, as far as its row knows."""
    try:
        _check_files(job)
    except ResultErased:
        return False
    return job.ended_at is not None and not job.own_key


def _check_files(job: Job) -> None:
    has_files = any(row["key"] for row in job.inputs)
    expired = job.expires_at is not None and job.expires_at <= datetime.now(UTC)
    if has_files and (expired or job.erased_at is not None):
        raise ResultErased


def _order(job: Job) -> Order:
    return Order(
        operation=job.operation,
        engine=None if job.engine == SANDBOX else job.engine,
        parameters=job.parameters,
        then=[Step(**step) for step in job.then],
        images=[Given(role=row["role"], field=row["role"]) for row in job.inputs],
        metadata=job.metadata,
        webhook_url=job.webhook_url,
    )


def _submission(job: Job, checked: Checked, orderer: Orderer) -> Submission:
    taken = Taken(rows=job.inputs, sources=_sources(job.inputs))
    return Submission(
        id=new_id(),
        user_id=orderer.user_id,
        test=job.test,
        operation=checked.spec.operation,
        engine=checked.spec.engine,
        queue=checked.spec.queue,
        parameters=checked.parameters,
        then=checked.then,
        metadata=job.metadata,
        inputs=taken.rows,
        price=checked.price,
        run_limit_s=checked.run_limit_s(taken.pixels() / 1_000_000),
        request_id=orderer.request_id,
        idempotency_key=orderer.idempotency_key,
        digest=f"again {job.pk}" if orderer.idempotency_key else None,
        retry_of=job.pk,
        webhook_url=job.webhook_url,
        sources=taken.sources,
    )


def _sources(rows: list[dict[str, Any]]) -> tuple[UUID, ...]:
    return tuple(sorted({owner_of(row["key"]) for row in rows if row["key"]}))
