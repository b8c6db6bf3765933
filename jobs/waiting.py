"""Waiting for the ends of jobs, with no thread and no connection per waiter.

A process has one room. In it one listener hears which jobs changed, and one thread
looks at them: one query for all that were named, have just come in, or have waited long
enough. A NOTIFY may be lost, so now and then it looks after all of them, and every
second while nothing is heard.

Whoever waits holds a future. Cancelling it leaves nothing behind; the front does so for
a client that goes away.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db import Error, connection
from django.db.models import OuterRef, Subquery

from billing.models import Wallet
from jobs import news
from jobs.errors import JobNotFound
from jobs.models import ENDS, Job
from jobs.submission import Accepted
from nijika.errors import Unavailable

LOOK_AFTER_ALL_S = 5.0
LOOK_WHILE_DEAF_S = 1.0
AFTER_AN_OUTAGE_S = 1.0
AT_ONCE = 1000
"""Jobs per query."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A job as it was when the waiting ended, and what its owner had available."""

    job: Job
    available: Decimal


class Waited(NamedTuple):
    """A submission's answer, and its job when the waiting for it ended."""

    accepted: Accepted
    seen: Seen


def wait(job_id: UUID, timeout_s: float, *, user_id: int, test: bool) -> Future[Seen]:
    """The job once it has ended, or as it is when the time is up.

    Raises JobNotFound for a job that is not this owner's, and Unavailable if the
    database is away when the time is up.
    """
    return _the_room().enter(job_id, timeout_s, owner=(user_id, test))


def wait_after(accepting: Future[Accepted], timeout_s: float) -> Future[Waited]:
    """The end of the job that a submission makes; raises what refuses it.

    Cancelling ends the waiting and never the submission.
    """
    ended: Future[Waited] = Future()
    accepting.add_done_callback(partial(_wait_for_accepted, ended, timeout_s))
    return ended


def has_ended(job: Job) -> bool:
    return job.status in ENDS


def _wait_for_accepted(
    outer: Future[Waited], timeout_s: float, accepting: Future[Accepted]
) -> None:
    if outer.cancelled():
        return
    if error := accepting.exception():
        _fail(outer, error)
        return
    accepted = accepting.result()
    job = accepted.job
    inner = wait(job.pk, timeout_s, user_id=job.user_id, test=job.test)
    outer.add_done_callback(lambda one: one.cancelled() and inner.cancel())
    inner.add_done_callback(partial(_pass_on, outer, accepted))


def _pass_on(outer: Future[Waited], accepted: Accepted, inner: Future[Seen]) -> None:
    if inner.cancelled():
        outer.cancel()
    elif error := inner.exception():
        _fail(outer, error)
    else:
        _end(outer, Waited(accepted, inner.result()))


def _end(future: Future[T], result: T) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(result)


def _fail(future: Future[T], error: BaseException) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiter:
    """Who waits: for which job, as whose, until when (monotonic seconds)."""

    job_id: UUID
    owner: tuple[int, bool]
    until: float
    future: Future[Seen] = field(default_factory=Future)


class Room:
    """All waiters of one process, their listener and the thread that looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[UUID, set[Waiter]] = defaultdict(set)
        self._named: set[UUID] = set()
        self._next_end = float("inf")
        self._looked_after_all = 0.0
        self._closing = False
        self._wake = threading.Event()
        self._listener = news.Listener(self._heard, self._changed)
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
        self._listener.start()
        self._thread.start()

    def enter(
        self, job_id: UUID, timeout_s: float, *, owner: tuple[int, bool]
    ) -> Future[Seen]:
        waiter = Waiter(job_id=job_id, owner=owner, until=time.monotonic() + timeout_s)
        with self._lock:
            self._waiters[job_id].add(waiter)
            # Looked at at once: it may have ended before we began to listen for it.
            self._named.add(job_id)
            self._next_end = min(self._next_end, waiter.until)
        waiter.future.add_done_callback(lambda future: self._leave(waiter))
        self._wake.set()
        return waiter.future

    def close(self) -> None:
        """End the threads and their connections; those who wait get Unavailable."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._listener.stop()
        for waiter in self._all():
            _fail(waiter.future, Unavailable())

    def count(self) -> int:
        return sum(map(len, list(self._waiters.values())))

    # News

    def _heard(self, ids: list[UUID]) -> None:
        if mine := [one for one in ids if one in self._waiters]:
            with self._lock:
                self._named.update(mine)
            self._wake.set()

    def _changed(self, is_up: bool) -> None:
        """The listener begins to listen, or has lost the database: look at all."""
        self._looked_after_all = 0.0
        self._wake.set()

    # The thread that looks

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            try:
                self._turn()
            except Error as error:
                logger.warning("the database: %s", str(error).strip())
                self._after_an_outage()
            except Exception:  # whatever it is, the others still wait
                logger.exception("looking after those who wait failed")
                self._after_an_outage()
        connection.close()

    def _pause_s(self) -> float | None:
        """Until somebody's time is up or all are to be looked after; none, for ever."""
        if not self._waiters:
            return None
        next_turn = min(self._next_end, self._looked_after_all + self._every_s())
        return max(next_turn - time.monotonic(), 0)

    def _every_s(self) -> float:
        return LOOK_AFTER_ALL_S if self._listener.is_up else LOOK_WHILE_DEAF_S

    def _turn(self) -> None:
        now = time.monotonic()
        looked_at = self._due(now)
        for job_ids in _in_pieces(looked_at):
            found = _look(job_ids)
            for job_id in job_ids:
                self._tell(job_id, found.get(job_id), now)

    def _due(self, now: float) -> set[UUID]:
        """The jobs to look at now: those that were named, those whose waiters' time is
        up, and now and then all that anybody waits for."""
        with self._lock:
            named, self._named = self._named, set()
            if now >= self._looked_after_all + self._every_s():
                self._looked_after_all = now
                return set(self._waiters)
            due = {one for one in named if one in self._waiters}
            if now >= self._next_end:
                waiters = [one for some in self._waiters.values() for one in some]
                due |= {one.job_id for one in waiters if one.until <= now}
                later = (one.until for one in waiters if one.until > now)
                self._next_end = min(later, default=float("inf"))
        return due

    def _tell(self, job_id: UUID, seen: Seen | None, now: float) -> None:
        for waiter in self._waiting_for(job_id):
            if seen is None or (seen.job.user_id, seen.job.test) != waiter.owner:
                _fail(waiter.future, JobNotFound())
            elif has_ended(seen.job) or waiter.until <= now:
                _end(waiter.future, seen)

    def _after_an_outage(self) -> None:
        """Look at everybody again soon; whose time is up has waited in vain."""
        connection.close()
        now = time.monotonic()
        for waiter in self._all():
            if waiter.until <= now:
                _fail(waiter.future, Unavailable())
        self._looked_after_all = 0.0
        time.sleep(AFTER_AN_OUTAGE_S)

    # Who is there

    def _leave(self, waiter: Waiter) -> None:
        with self._lock:
            waiters = self._waiters.get(waiter.job_id, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(waiter.job_id, None)

    def _waiting_for(self, job_id: UUID) -> list[Waiter]:
        with self._lock:
            return list(self._waiters.get(job_id, ()))

    def _all(self) -> list[Waiter]:
        with self._lock:
            return [one for some in self._waiters.values() for one in some]


def _in_pieces(ids: Collection[UUID]) -> Iterator[list[UUID]]:
    listed = list(ids)
    for start in range(0, len(listed), AT_ONCE):
        yield listed[start : start + AT_ONCE]


def _look(job_ids: Iterable[UUID]) -> dict[UUID, Seen]:
    wallet = Wallet.objects.filter(user_id=OuterRef("user_id"))
    rows = Job.objects.annotate(available=Subquery(wallet.values("available")))
    found = rows.filter(pk__in=list(job_ids))
    return {job.pk: Seen(job=job, available=job.available) for job in found}


_room: Room | None = None
_making = threading.Lock()


def _the_room() -> Room:
    global _room
    with _making:
        if _room is None:
            _room = Room()
        return _room


def waiting_now() -> int:
    """How many wait in this process."""
    return _room.count() if _room is not None else 0


def close_room() -> None:
    """End this process's room, if it has one."""
    global _room
    with _making:
        if _room is not None:
            _room.close()
        _room = None


def _forget_room() -> None:
    # A forked child has none of its parent's threads.
    global _room, _making
    _room, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_room)
