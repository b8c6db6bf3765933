"""One transaction that accepts many submissions.

Order inside, at READ COMMITTED: idempotency rows in (user, mode, key) order, then the
`job:` sources in id order, then what counts a user's test jobs
(`jobs.accepting.sandbox`), then wallets in id order (`billing.ledger`), then entries,
jobs, events. Two transactions that keep it cannot deadlock.

A transaction that does not wait (`wait=False`) waits for no row at all: a key that a
twin is writing, a source or a wallet that somebody else has locked make their item
LOCKED, and its neighbours go on. That is why keys are taken under an advisory lock:
the unique index alone cannot be asked without waiting for it.

What is refused or passed over leaves no row behind, its idempotency row included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction

from billing import ledger
from billing.errors import InsufficientCredits
from jobs.accepting import rows, sandbox
from jobs.accepting.items import (
    LOCKED,
    Accepted,
    Outcome,
    Submission,
    hold_of,
    key_of,
    waits_for_fetch,
)
from jobs.errors import (
    IdempotencyKeyReused,
    SandboxFull,
    SourceGone,
    TooManyUnfinished,
)
from jobs.models import Job
from nijika.errors import Unavailable

KEY_TRIES = 3


class Intake:
    """One attempt to accept `items`, of which no two share an idempotency key.

    After a failure, `committing` says whether COMMIT may have reached the database;
    `xid` then names the transaction, and `outcomes` hold if it was committed.
    """

    def __init__(self, items: Sequence[Submission], *, wait: bool) -> None:
        self.items = items
        self.wait = wait
        self.outcomes: dict[UUID, Outcome] = {}
        self.xid: str | None = None
        self.committing = False

    def run(self) -> list[Outcome]:
        """The outcome of each item, once committed. Raises what the database raises."""
        with transaction.atomic(durable=True):
            self._decide()
            self.committing = self.xid is not None
        return self.answers()

    def _decide(self) -> None:
        if self._accept_at_once():
            return
        self._take_keys()
        self._lock_sources()
        self._limit_tests()
        self._limit_unfinished()
        self._accept(self._hold())
        self._drop_unused_keys()

    def answers(self) -> list[Outcome]:
        return [self.outcomes[item.id] for item in self.items]

    def _open(self) -> list[Submission]:
        """The items about which nothing is decided yet."""
        return [item for item in self.items if item.id not in self.outcomes]

    # A lone submission

    def _accept_at_once(self) -> bool:
        """Accept a lone plain item by one statement, sent together with BEGIN.

        Most requests are that when little is to do, and the round trips are most of
        their time. False: nothing was done, and the long way says why or waits.
        """
        if len(self.items) != 1 or not _is_plain(self.items[0]):
            return False
        [item] = self.items
        if not (row := rows.accept_one(item)):
            return False
        self.xid, available, *times = row
        self.outcomes[item.id] = Accepted(
            job=rows.job(item, times), available=available
        )
        return True

    # Idempotency keys

    def _take_keys(self) -> None:
        keyed = sorted((i for i in self.items if i.idempotency_key), key=key_of)
        for _ in range(KEY_TRIES):
            if not keyed:
                return
            taken = rows.insert_keys(keyed, wait=self.wait)
            keyed = [item for item in keyed if item.id not in taken]
            # A statement of its own: the one above cannot see rows that were committed
            # while it waited.
            keyed = self._replay(keyed)
            if not self.wait:
                break
        for item in keyed:
            self.outcomes[item.id] = Unavailable() if self.wait else LOCKED

    def _replay(self, keyed: list[Submission]) -> list[Submission]:
        """Answer items whose key stands; gives those whose key is (again) free."""
        if not keyed:
            return []
        made = rows.read_keys(keyed)
        jobs = Job.objects.in_bulk([job_id for job_id, _ in made.values()])
        available = _balances(item.user_id for item in keyed if item.id in made)
        for item in keyed:
            if item.id in made:
                job_id, digest = made[item.id]
                self.outcomes[item.id] = replay(
                    item, jobs.get(job_id), digest, available[item.user_id]
                )
        return [item for item in keyed if item.id not in made]

    def _drop_unused_keys(self) -> None:
        """A refused or skipped item must not meet itself as its own twin later."""
        unused = [
            item
            for item in self.items
            if item.idempotency_key and not _keeps_key(self.outcomes[item.id])
        ]
        if unused:
            rows.delete_keys(unused)

    # Sources

    def _lock_sources(self) -> None:
        wanted = {source for item in self._open() for source in item.sources}
        if not wanted:
            return
        there = rows.lock_jobs(sorted(wanted), wait=self.wait)
        for item in self._open():
            if not {(s, item.user_id, item.test) for s in item.sources} <= there:
                # Passed over and gone look alike; only who waits can tell.
                self.outcomes[item.id] = SourceGone() if self.wait else LOCKED

    # Test jobs

    def _limit_tests(self) -> None:
        """A user's test jobs are free, and therefore few."""
        tests = [item for item in self._open() if item.test]
        if not tests:
            return
        ids = [item.id for item in tests]
        rooms = sandbox.rooms((i.user_id for i in tests), ids, wait=self.wait)
        for item in tests:
            room = rooms.get(item.user_id)
            if room is None:
                self.outcomes[item.id] = LOCKED
            elif room <= 0:
                self.outcomes[item.id] = SandboxFull()
            else:
                rooms[item.user_id] = room - 1

    # Unfinished jobs

    def _limit_unfinished(self) -> None:
        """Nobody fills the queues alone. Counted without a lock: what other groups are
        accepting at this moment is not in it."""
        most = settings.UNFINISHED_PER_USER
        items = [item for item in self._open() if not item.test]
        if not most or not items:
            return
        left = rows.unfinished_left({item.user_id for item in items}, items, most)
        for item in items:
            left[item.user_id] -= 1
            if left[item.user_id] < 0:
                self.outcomes[item.id] = TooManyUnfinished()

    # Credits

    def _hold(self) -> dict[UUID, Decimal]:
        """What is available after each hold. Test jobs move no credits."""
        free = [item for item in self._open() if item.test]
        balances = _balances(item.user_id for item in free)
        available = {item.id: balances[item.user_id] for item in free}
        charged = [item for item in self._open() if not item.test]
        holds = [hold_of(item) for item in charged]
        results = ledger.hold_many(holds, wait=self.wait) if holds else []
        for item, result in zip(charged, results, strict=True):
            match result:
                case ledger.Held():
                    available[item.id] = result.available_after
                case ledger.Short():
                    self.outcomes[item.id] = InsufficientCredits(
                        needed=result.needed, available=result.available
                    )
                case ledger.Locked():
                    self.outcomes[item.id] = LOCKED
        return available

    # Jobs

    def _accept(self, available: dict[UUID, Decimal]) -> None:
        items = self._open()
        if not items:
            return
        self.xid, *times = rows.insert_jobs(items)
        rows.insert_fetches(items)
        rows.insert_pins(items)
        for item in items:
            self.outcomes[item.id] = Accepted(
                job=rows.job(item, times), available=available[item.id]
            )


def replay(
    item: Submission, job: Job | None, digest: str | None, available: Decimal
) -> Outcome:
    """What an item gets whose key had made `job` for a request with `digest`; no job
    where it had made something else."""
    if digest != item.digest or job is None:
        return IdempotencyKeyReused()
    # A key that made this very job was taken by an earlier try of ours, not by a twin.
    return Accepted(job=job, available=available, replayed=job.id != item.id)


def _balances(users: Iterable[int]) -> dict[int, Decimal]:
    return {user_id: ledger.balance(user_id)[0] for user_id in set(users)}


def _keeps_key(outcome: Outcome) -> bool:
    """Whether the row of this item's key is right to be there."""
    return isinstance(outcome, Accepted | IdempotencyKeyReused)


def _is_plain(item: Submission) -> bool:
    """Whether its job and its hold are all that has to be written."""
    more = item.idempotency_key or item.sources or item.test
    return not more and not any(map(waits_for_fetch, item.inputs))
