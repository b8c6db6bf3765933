"""What is submitted, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from billing import ledger
from jobs.models import Job
from nijika.errors import NijikaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What becomes a job. `id` is made by the caller and names the job for ever.

    `then` is the column of that name; `price` and `run_limit_s` are of all together.
    `inputs` are the rows of `Job.inputs`; one with a `url` and no `key` is still to be
    fetched. `sources` are the jobs whose files are inputs: they are pinned until this
    job ends. With an `idempotency_key` goes the `digest` of the request. `own_key`:
    the provider is paid with the owner's key, which is here sealed.
    """

    id: UUID
    user_id: int
    test: bool
    operation: str
    engine: str
    queue: str
    parameters: dict[str, Any]
    metadata: dict[str, Any]
    inputs: list[dict[str, Any]]
    price: Decimal
    run_limit_s: float
    then: list[dict[str, Any]] = field(default_factory=list)
    request_id: str = ""
    idempotency_key: str | None = None
    digest: str | None = None
    retry_of: UUID | None = None
    webhook_url: str = ""
    sources: tuple[UUID, ...] = ()
    batch_id: UUID | None = None
    batch_index: int | None = None
    own_key: bool = False
    sealed_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The job as it is now, and what its owner has available; `replayed` by its key."""

    job: Job
    available: Decimal
    replayed: bool = False


class Later(Enum):
    """Nothing is decided yet for this item, and nothing of it is written."""

    LOCKED = "another transaction has a row that this item needs"


LOCKED = Later.LOCKED
Outcome = Accepted | NijikaError | Later


def key_of(item: Submission) -> tuple[int, bool, str]:
    return item.user_id, item.test, item.idempotency_key or ""


def hold_of(item: Submission) -> ledger.Hold:
    return ledger.Hold(user_id=item.user_id, credits=item.price, reference=str(item.id))


def waits_for_fetch(given: dict[str, Any]) -> bool:
    return bool(given.get("url")) and not given.get("key")
