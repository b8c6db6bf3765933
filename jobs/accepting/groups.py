"""What becomes of a group of submissions when its transaction fails.

- Something in it breaks a rule of the database: it is split until the guilty item
  stands alone; its neighbours are accepted.
- The connection breaks before COMMIT: nothing was written; one more try, then 503.
- The connection breaks during COMMIT: the group is in doubt. The old backend may still
  be committing, so the transaction's status is asked until it is final; only then are
  the ids looked up, and what is not there is repeated under the same ids. Answering
  503 instead would let the client repeat, and pay twice.
- Somebody else has a row: without waiting the item is LOCKED; with waiting it is 503
  after `lock_timeout`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
)

from billing import ledger
from billing.errors import WalletBusy
from jobs.accepting.intake import Intake, replay
from jobs.accepting.items import LOCKED, Accepted, Outcome, Submission
from jobs.models import Job
from nijika.errors import Invalid, NijikaError, Unavailable

logger = logging.getLogger(__name__)

TRIES = 3
DOUBT_LIMIT_S = 60.0
"""How long a group in doubt waits for a database that can say what became of it."""
DOUBT_PAUSE_S = 0.1
STRANDED_AFTER_S = 1.0
"""After this, a transaction in progress has lost its client for good: it is ended."""

LOCK_NOT_AVAILABLE = "55P03"
UNDONE_BY_CHANCE = {"40001", "40P01"}  # serialization failure, deadlock
OUTAGE = (OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Whether this item was accepted only `resolve` can tell."""

    intake: Intake


Answer = Outcome | InDoubt


def submit(items: Sequence[Submission], *, wait: bool) -> list[Answer]:
    """The answer to each item. With `wait` none is LOCKED, and all are of one user.

    Of several items with one idempotency key only the first goes to the database; the
    others get what it got, or come later.
    """
    answers: dict[UUID, Answer] = {}
    rest = list(items)
    while rest:
        firsts = _firsts(rest)
        results = _submit(list(firsts.values()), wait=wait)
        first_answers = dict(zip(firsts, results, strict=True))
        for item in rest:
            key = _twins(item)
            answer = first_answers[key]
            if item is not firsts[key]:
                answer = _as_twin(item, firsts[key], answer)
            answers[item.id] = answer
        rest = [item for item in rest if wait and answers[item.id] is LOCKED]
    return [answers[item.id] for item in items]


def resolve(intake: Intake) -> dict[UUID, Answer]:
    """What became of a group in doubt: all that is not there is submitted once more."""
    answers: dict[UUID, Answer] = dict(intake.outcomes)
    expected = [item for item in intake.items if _is_new(answers[item.id])]
    there = committed(intake)
    if there is None:
        logger.error("the fate of %d submissions is unknown", len(expected))
        return answers | {item.id: unavailable() for item in expected}
    lost = [item for item in expected if item.id not in there]
    repeated = _submit(lost, wait=intake.wait) if lost else []
    return answers | {
        item.id: answer for item, answer in zip(lost, repeated, strict=True)
    }


def unavailable() -> Unavailable:
    return Unavailable("Nothing was accepted and nothing is charged; try again.")


# Twins


def _firsts(items: Sequence[Submission]) -> dict[object, Submission]:
    firsts: dict[object, Submission] = {}
    for item in items:
        firsts.setdefault(_twins(item), item)
    return firsts


def _twins(item: Submission) -> object:
    if item.idempotency_key is None:
        return item.id
    return item.user_id, item.test, item.idempotency_key


def _as_twin(item: Submission, first: Submission, answer: Answer) -> Answer:
    """What an item gets after the first with its key; LOCKED if that says nothing."""
    if isinstance(answer, Accepted):
        return replay(item, answer.job, first.digest, answer.available)
    if isinstance(answer, InDoubt) or item.digest != first.digest:
        return LOCKED
    return answer


# Failures


def _submit(
    items: Sequence[Submission], *, wait: bool, tries: int = TRIES
) -> list[Answer]:
    intake = Intake(items, wait=wait)
    try:
        return list(intake.run())
    except WalletBusy:
        return [unavailable() for _ in items]
    except OUTAGE as error:
        return _after_outage(intake, error, tries - 1)
    except Exception as error:  # whose fault it is shows when it stands alone
        if len(items) == 1:
            return [_refusal(items[0], error)]
        half = len(items) // 2
        return [
            *_submit(items[:half], wait=wait),
            *_submit(items[half:], wait=wait),
        ]


def _after_outage(intake: Intake, error: Exception, tries: int) -> list[Answer]:
    state = getattr(error.__cause__, "sqlstate", None)
    if state == LOCK_NOT_AVAILABLE:
        return [unavailable() if intake.wait else LOCKED for _ in intake.items]
    if state not in UNDONE_BY_CHANCE:
        connection.close()
        if intake.committing:
            return [InDoubt(intake)] * len(intake.items)
        # One more try is enough for a connection that died while it lay idle.
        tries = min(tries, 1 if tries == TRIES - 1 else 0)
    else:
        logger.warning("%d submissions are repeated: %s", len(intake.items), error)
    if tries > 0:
        return _submit(intake.items, wait=intake.wait, tries=tries)
    logger.warning("submissions refused: %s", error)
    return [unavailable() for _ in intake.items]


def _refusal(item: Submission, error: Exception) -> Answer:
    """The answer to an item that failed alone. A duplicate of its own id: accepted."""
    if isinstance(error, NijikaError):
        return error
    try:
        if isinstance(error, IntegrityError) and (mine := _accepted(item)):
            return mine
    except DatabaseError:
        return unavailable()
    logger.exception("submission %s failed", item.id, exc_info=error)
    if isinstance(error, IntegrityError | DataError | UnicodeError):
        return Invalid("The database does not take these values.")
    return NijikaError("The submission failed.")


def _accepted(item: Submission) -> Accepted | None:
    job = Job.objects.filter(id=item.id, user_id=item.user_id).first()
    if job is None:
        return None
    return Accepted(job=job, available=ledger.balance(item.user_id)[0])


# Doubt


def _is_new(answer: Answer) -> bool:
    return isinstance(answer, Accepted) and not answer.replayed


def committed(intake: Intake) -> set[UUID] | None:
    """The ids that are there once the transaction's end is certain; None: it is not."""
    start = time.monotonic()
    while (waited := time.monotonic() - start) < DOUBT_LIMIT_S:
        try:
            if _has_ended(intake, stranded=waited > STRANDED_AFTER_S):
                ids = list(intake.outcomes)
                return set(Job.objects.filter(id__in=ids).values_list("id", flat=True))
        except OUTAGE:
            connection.close()
        time.sleep(DOUBT_PAUSE_S)
    return None


def _has_ended(intake: Intake, *, stranded: bool) -> bool:
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT pg_xact_status(%s::text::xid8)", [intake.xid])
        except DataError:
            return True  # a crash took the number back: it was never committed
        if cursor.fetchone() != ("in progress",):
            return True
        if stranded:
            cursor.execute(_END_TRANSACTION, [intake.xid])
    return False


_END_TRANSACTION = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_xid = %s::text::xid8::xid
"""
