"""Many jobs in one request: accepted whole or not at all.

A batch is one transaction: its idempotency key, its row, and all its jobs, each with a
hold, an event and an end of its own. One item that is refused undoes them all, and the
refusal says which it was. Afterwards its jobs are like any others: dispatched in turn
with other users' jobs, charged one by one for success, cancelled alone or together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Count, Max, QuerySet, Sum

from billing.errors import InsufficientCredits
from jobs import lifecycle, submission
from jobs.accepting import groups, idempotency
from jobs.accepting.idempotency import Wish
from jobs.accepting.intake import Intake
from jobs.accepting.items import Accepted, Submission
from jobs.errors import BatchNotFound, within
from jobs.models import Batch, Job
from jobs.webhooks import events, recording
from nijika.errors import Invalid, NijikaError

logger = logging.getLogger(__name__)

TRIES = 3
COMPLETED_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """What becomes a batch; `id` is made by the caller. The items are of one user and
    mode and have no idempotency key of their own."""

    id: UUID
    wish: Wish
    items: Sequence[Submission]
    metadata: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A batch and what became of its jobs until now. `jobs` are their ids, in order."""

    batch: Batch
    jobs: Sequence[UUID]
    counts: Mapping[str, int]
    price: Decimal
    charged: Decimal
    last_end: datetime | None

    @property
    def unfinished(self) -> int:
        return self.counts[Job.Status.QUEUED] + self.counts[Job.Status.RUNNING]

    @property
    def completed_at(self) -> datetime | None:
        return None if self.unfinished else self.last_end


def accept(new: NewBatch) -> tuple[UUID, bool]:
    """Accept all items or none; the batch's id, and whether it was there before.

    May wait for locks. Raises what refuses any item, IdempotencyKeyReused, Unavailable.
    """
    for _ in range(TRIES):
        intake = _Intake(new)
        try:
            intake.run()
        except groups.OUTAGE as error:
            if not _may_repeat(intake, error):
                return new.id, False
        except (IntegrityError, DataError) as error:
            logger.exception("batch %s failed", new.id, exc_info=error)
            raise Invalid("The database does not take these values.") from error
        else:
            submission.on_accepted(intake.accepted())
            return intake.made, intake.made != new.id
    raise groups.unavailable()


def find(batch_id: UUID, *, user_id: int, test: bool) -> Summary:
    """Raises BatchNotFound."""
    batch = Batch.objects.filter(pk=batch_id, user_id=user_id, test=test).first()
    if batch is None:
        raise BatchNotFound
    return summaries([batch])[0]


def summaries(batches: Iterable[Batch]) -> list[Summary]:
    """The batches as they are now, in the given order."""
    batches = list(batches)
    rows: dict[UUID, list[Any]] = {one.pk: [] for one in batches}
    ids: dict[UUID, list[UUID]] = {one.pk: [] for one in batches}
    jobs = Job.objects.filter(batch__in=batches)
    for row in jobs.order_by().values("batch", "status").annotate(**_SUMS):
        rows[row["batch"]].append(row)
    for batch_id, job_id in jobs.order_by("batch_index").values_list("batch", "id"):
        ids[batch_id].append(job_id)
    return [_summary(one, rows[one.pk], ids[one.pk]) for one in batches]


_SUMS = {
    "count": Count("id"),
    "price_sum": Sum("price"),
    "charged_sum": Sum("charged"),
    "last_end": Max("ended_at"),
}


def jobs_of(batch_id: UUID) -> QuerySet[Job]:
    """Its jobs in the order of its items."""
    return Job.objects.filter(batch=batch_id).order_by("batch_index")


def cancel(batch_id: UUID, *, user_id: int, test: bool) -> None:
    """End what has not ended; a repeat changes nothing.

    Raises BatchNotFound, and WalletBusy: then some may be left, for a repeat.
    """
    mine = Batch.objects.filter(pk=batch_id, user_id=user_id, test=test)
    if not mine.exists():
        raise BatchNotFound
    unfinished = jobs_of(batch_id).filter(
        status__in=[Job.Status.QUEUED, Job.Status.RUNNING]
    )
    ids = unfinished.values_list("id", flat=True)
    lifecycle.cancel_many(ids, user_id=user_id, test=test)


def complete() -> int:
    """Say of batches without an unfinished job that they are completed, once each;
    gives how many."""
    total = 0
    while completed := _complete_some():
        total += completed
    return total


@transaction.atomic
def _complete_some() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_COMPLETE, [COMPLETED_AT_ONCE])
        completed = cursor.fetchall()
    for batch_id, user_id, test in completed:
        recording.record(
            events.BATCH_COMPLETED,
            user_id=user_id,
            test=test,
            data={"batch": str(batch_id)},
        )
    return len(completed)


# OFFSET 0 has it asked batch by batch; a bare status would let the planner take an
# index of all unfinished jobs, which looks small as long as few are waiting.
_COMPLETE = """
UPDATE jobs_batch SET completed_at = clock_timestamp() WHERE id IN (
    SELECT id FROM jobs_batch AS batch
    WHERE completed_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM jobs_job
        WHERE batch_id = batch.id AND status || '' IN ('queued', 'running')
        OFFSET 0
    )
    ORDER BY created_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING id, user_id, test
"""


class _Intake(Intake):
    """Accepts a batch: all its items, or nothing at all."""

    def __init__(self, new: NewBatch) -> None:
        super().__init__(new.items, wait=True)
        self._new = new
        self.made = new.id

    def accepted(self) -> list[Accepted]:
        return [one for one in self.outcomes.values() if isinstance(one, Accepted)]

    def answers(self) -> list[Any]:
        return list(self.outcomes.values())

    def _decide(self) -> None:
        self.made = idempotency.claim(self._new.wish, self._new.id)
        if self.made != self._new.id:
            return
        Batch.objects.create(
            pk=self._new.id,
            user_id=self._new.wish.user_id,
            test=self._new.wish.test,
            size=len(self.items),
            metadata=self._new.metadata,
            request_id=self._new.request_id,
        )
        super()._decide()
        if refusal := self._refusal():
            raise refusal

    def _refusal(self) -> NijikaError | None:
        """Why the batch cannot be: what refuses the first of the refused items."""
        for number, item in enumerate(self.items):
            outcome = self.outcomes[item.id]
            if isinstance(outcome, InsufficientCredits):
                return self._short(outcome)
            if isinstance(outcome, NijikaError):
                return within(f"items.{number}", outcome)
            assert isinstance(outcome, Accepted), outcome
        return None

    def _short(self, first: InsufficientCredits) -> InsufficientCredits:
        """Of the whole batch, before any of its holds."""
        held = [item for item in self.items if self._is_accepted(item)]
        return InsufficientCredits(
            needed=sum((item.price for item in self.items), Decimal(0)),
            available=first.available + sum((i.price for i in held), Decimal(0)),
        )

    def _is_accepted(self, item: Submission) -> bool:
        return isinstance(self.outcomes[item.id], Accepted)


def _may_repeat(intake: _Intake, error: Exception) -> bool:
    """Whether nothing of it is there, so that it may be tried again under its ids.

    False: it was committed. Raises Unavailable where that cannot be known or helped.
    """
    state = getattr(error.__cause__, "sqlstate", None)
    if state == groups.LOCK_NOT_AVAILABLE:
        raise groups.unavailable() from error
    if state in groups.UNDONE_BY_CHANCE:
        return True
    connection.close()
    if not intake.committing:
        return True
    there = groups.committed(intake)
    if there is None:
        logger.error("the fate of batch %s is unknown", intake.made)
        raise groups.unavailable() from error
    if there:
        submission.on_accepted(intake.accepted())
    return not there


def _summary(batch: Batch, rows: Sequence[Any], jobs: Sequence[UUID]) -> Summary:
    counts = dict.fromkeys(map(str, Job.Status.values), 0)
    counts |= {row["status"]: row["count"] for row in rows}
    return Summary(
        batch=batch,
        jobs=jobs,
        counts=counts,
        price=sum((row["price_sum"] for row in rows), Decimal(0)),
        charged=sum((row["charged_sum"] for row in rows), Decimal(0)),
        last_end=max(
            (row["last_end"] for row in rows if row["last_end"]), default=None
        ),
    )
