"""Waiting for the ends of jobs, with no thread and no connection per waiter.

The same room takes whoever follows a job event by event (`jobs.following.streaming`).

A process has one room. In it one listener hears which jobs changed, and one thread
looks at them: one query for all that were named, have just come in, or have waited long
enough. Who only waits is not looked after for a step on the way to the end. A NOTIFY
may be lost, so now and then it looks after all of them, and every second while nothing
is heard. Of whom it follows it reads no more than a row's version until that has
changed, and it rests after each turn, so that hundreds who come, or hear of something,
at once are looked after together and leave the process to others.

Whoever waits holds a future. Cancelling it leaves nothing behind; the front does so for
a client that goes away.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db import Error, connection
from django.db.models import OuterRef, Subquery
from django.db.models.functions import JSONObject

from billing.models import Wallet
from jobs import news
from jobs.errors import JobNotFound
from jobs.models import ENDS, Job, JobEvent
from jobs.submission import Accepted
from nijika.errors import NijikaError, Unavailable
from nijika.postgres import prepared

LOOK_AFTER_ALL_S = 5.0
LOOK_WHILE_DEAF_S = 1.0
AFTER_AN_OUTAGE_S = 1.0
REST = 4.0
"""How long the thread that looks rests, in CPU time of its last turn."""
AT_ONCE = 1000
"""Jobs per query."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Event(NamedTuple):
    """A JobEvent; of one job's, the later has the greater number."""

    number: int
    type: str
    attempt: int
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A job as it was at one moment, and what its owner had available; for whoever
    follows it, also all that had happened to it until that very moment."""

    job: Job
    available: Decimal
    events: tuple[Event, ...] = ()


class Waited(NamedTuple):
    """A submission's answer, and its job when the waiting for it ended."""

    accepted: Accepted
    seen: Seen


Admit = Callable[[], object]
"""Raises the NijikaError of who may know no more, whenever it is asked."""


def wait(
    job_id: UUID, timeout_s: float, *, user_id: int, test: bool, admit: Admit
) -> Future[Seen]:
    """The job once it has ended, or as it is when the time is up.

    Raises JobNotFound for a job that is not this owner's, Unavailable if the database
    is away when the time is up, and what `admit` raises, seconds after it would.
    """
    until = time.monotonic() + timeout_s
    owner = user_id, test
    waiter = Waiter(job_id=job_id, owner=owner, until=until, admit=admit)
    room = the_room()
    room.enter(waiter)
    waiter.future.add_done_callback(lambda future: room.leave(waiter))
    return waiter.future


def wait_after(
    accepting: Future[Accepted], timeout_s: float, *, admit: Admit
) -> Future[Waited]:
    """The end of the job that a submission makes; raises what refuses it, and what
    `admit` raises.

    Cancelling ends the waiting and never the submission.
    """
    ended: Future[Waited] = Future()
    accepting.add_done_callback(partial(_wait_for_accepted, ended, timeout_s, admit))
    return ended


def has_ended(job: Job) -> bool:
    return job.status in ENDS


def is_owned(job: Job, owner: tuple[int, bool]) -> bool:
    """`owner`: the user's id, and whether in test mode."""
    return (job.user_id, job.test) == owner


def _wait_for_accepted(
    outer: Future[Waited],
    timeout_s: float,
    admit: Admit,
    accepting: Future[Accepted],
) -> None:
    if outer.cancelled():
        return
    if error := accepting.exception():
        _fail(outer, error)
        return
    accepted = accepting.result()
    job = accepted.job
    user_id, test = job.user_id, job.test
    inner = wait(job.pk, timeout_s, user_id=user_id, test=test, admit=admit)
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


class Guest(Protocol):
    """Who is told of a job by the thread that looks, until `until` (monotonic seconds).

    Told when the job has ended, or was before it entered, and when its time is up. Who
    `follows` is also told soon after it has entered and whenever the job may have
    changed, with the job's events.
    """

    @property
    def job_id(self) -> UUID: ...

    @property
    def until(self) -> float: ...

    @property
    def follows(self) -> bool: ...

    def told(self, seen: Seen | None, now: float) -> None:
        """Takes no time. None: there is no such job."""

    def give_up(self) -> None:
        """Nothing more will be told: the database is away when the time is up, or the
        room closes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiter:
    """Who waits: for which job, as whose, until when (monotonic seconds)."""

    job_id: UUID
    owner: tuple[int, bool]
    until: float
    admit: Admit
    future: Future[Seen] = field(default_factory=Future)
    follows: bool = False

    def told(self, seen: Seen | None, now: float) -> None:
        if refusal := self.refusal():
            _fail(self.future, refusal)
        elif seen is None or not is_owned(seen.job, self.owner):
            _fail(self.future, JobNotFound())
        elif has_ended(seen.job) or self.until <= now:
            _end(self.future, seen)

    def is_turned_away(self, owner: tuple[int, bool]) -> bool:
        return self.owner != owner or self.refusal() is not None

    def refusal(self) -> NijikaError | None:
        try:
            self.admit()
        except NijikaError as error:
            return error
        return None

    def give_up(self) -> None:
        _fail(self.future, Unavailable())


class Room:
    """All guests of one process, their listener and the thread that looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[UUID, set[Guest]] = defaultdict(set)
        self._named: set[UUID] = set()
        self._changed: set[UUID] = set()
        self._told: dict[UUID, str] = {}
        self._next_end = float("inf")
        self._looked_after_all = 0.0
        self._closing = False
        self._wake = threading.Event()
        self._listener = news.Listener(
            {news.CHANGES: self._heard, news.STEPS: self._heard_step},
            self._heard_again,
        )
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
        self._listener.start()
        self._thread.start()

    def enter(self, guest: Guest) -> None:
        with self._lock:
            self._waiters[guest.job_id].add(guest)
            # Looked at at once: it may have ended before we began to listen for it.
            self._named.add(guest.job_id)
            self._told.pop(guest.job_id, None)
            self._next_end = min(self._next_end, guest.until)
        self._wake.set()

    def leave(self, guest: Guest) -> None:
        """A repeat changes nothing."""
        with self._lock:
            guests = self._waiters.get(guest.job_id, set())
            guests.discard(guest)
            if not guests:
                self._waiters.pop(guest.job_id, None)
                self._told.pop(guest.job_id, None)

    def close(self) -> None:
        """End the threads and their connections; those who wait get Unavailable."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._listener.stop()
        for guest in self._all():
            guest.give_up()

    def count(self) -> int:
        return sum(map(len, list(self._waiters.values())))

    # News

    def _heard(self, words: list[str]) -> None:
        if mine := [one for one in news.ids(words) if one in self._waiters]:
            with self._lock:
                self._changed.update(mine)
            self._wake.set()

    def _heard_step(self, words: list[str]) -> None:
        if mine := [one for one in news.ids(words) if self._follows(one)]:
            with self._lock:
                self._named.update(mine)
            self._wake.set()

    def _heard_again(self, is_up: bool) -> None:
        """The listener begins to listen, or has lost the database: look at all."""
        self._looked_after_all = 0.0
        self._wake.set()

    # The thread that looks

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            spent_s = time.thread_time()
            try:
                self._turn()
            except Error as error:
                logger.warning("the database: %s", str(error).strip())
                self._after_an_outage()
            except Exception:  # whatever it is, the others still wait
                logger.exception("looking after those who wait failed")
                self._after_an_outage()
            time.sleep(REST * (time.thread_time() - spent_s))
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
        with self._lock:
            changed, self._changed = self._changed & self._waiters.keys(), set()
        for job_ids in _in_pieces(self._due(now) | changed):
            for job_id, seen in self._seen(job_ids, changed, now).items():
                self._tell(job_id, seen, now)

    def _seen(
        self, job_ids: list[UUID], changed: set[UUID], now: float
    ) -> dict[UUID, Seen | None]:
        """What there is to tell, of those of whom there is something."""
        # What comes to who only waits is nearly always the end.
        surely = {
            one for one in changed.intersection(job_ids) if not self._follows(one)
        }
        glances = _glance([one for one in job_ids if one not in surely])
        ripe = [
            one
            for one in job_ids
            if one in surely or self._is_ripe(one, glances.get(one), now)
        ]
        followed = {one for one in ripe if self._follows(one)}
        waited_for = [one for one in ripe if one not in followed]
        found: dict[UUID, Seen] = {}
        found |= _look(waited_for) if waited_for else {}
        found |= _follow(followed) if followed else {}
        self._note({one: glances[one] for one in followed if one in glances})
        return {one: found.get(one) for one in ripe}

    def _is_ripe(self, job_id: UUID, glance: Glance | None, now: float) -> bool:
        """Whether somebody is to be told of this job now."""
        return (
            glance is None
            or glance.has_ended
            or any(
                guest.until <= now
                or (guest.follows and self._told.get(job_id) != glance.version)
                or (isinstance(guest, Waiter) and guest.is_turned_away(glance.owner))
                for guest in self._waiting_for(job_id)
            )
        )

    def _follows(self, job_id: UUID) -> bool:
        return any(guest.follows for guest in self._waiting_for(job_id))

    def _note(self, glances: dict[UUID, Glance]) -> None:
        """Before they are told: who enters afterwards has it told anew."""
        with self._lock:
            for job_id, glance in glances.items():
                if job_id in self._waiters:
                    self._told[job_id] = glance.version

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
        for guest in self._waiting_for(job_id):
            guest.told(seen, now)

    def _after_an_outage(self) -> None:
        """Look at everybody again soon; whose time is up has waited in vain."""
        connection.close()
        now = time.monotonic()
        for guest in self._all():
            if guest.until <= now:
                guest.give_up()
        with self._lock:
            self._told.clear()
        self._looked_after_all = 0.0
        time.sleep(AFTER_AN_OUTAGE_S)

    # Who is there

    def _waiting_for(self, job_id: UUID) -> list[Guest]:
        with self._lock:
            return list(self._waiters.get(job_id, ()))

    def _all(self) -> list[Guest]:
        with self._lock:
            return [one for some in self._waiters.values() for one in some]


def _in_pieces(ids: Collection[UUID]) -> Iterator[list[UUID]]:
    listed = list(ids)
    for start in range(0, len(listed), AT_ONCE):
        yield listed[start : start + AT_ONCE]


class Glance(NamedTuple):
    """What tells whether a closer look is worth its price: a job as a whole costs ten
    times as much to read, and most news of it are not its end. Its events are written
    with its row, whose `version` any change of it changes."""

    owner: tuple[int, bool]
    has_ended: bool
    version: str


def _glance(job_ids: Collection[UUID]) -> dict[UUID, Glance]:
    if not job_ids:
        return {}
    rows = prepared.rows(_GLANCE, [list(job_ids)])
    return {
        job_id: Glance(owner=(user_id, test), has_ended=has_ended, version=version)
        for job_id, user_id, test, has_ended, version in rows
    }


_GLANCE = """
SELECT id, user_id, test, ended_at IS NOT NULL, xmin::text FROM jobs_job
WHERE id = ANY(%s::uuid[])"""


def _look(job_ids: Iterable[UUID]) -> dict[UUID, Seen]:
    """By a statement that is planned once: Django writes one anew each time, which
    takes longer than all else that a waiting costs."""
    found: dict[UUID, Seen] = {}
    for *values, available in prepared.rows(_statement(), [list(job_ids)]):
        for place, convert in _converters():
            values[place] = convert(values[place], None, connection)
        job = Job.from_db(connection.alias, _names(), values)
        found[job.pk] = Seen(job=job, available=available)
    return found


@cache
def _statement() -> str:
    columns = (f'job."{one.column}"' for one in Job._meta.concrete_fields)
    return f"""
SELECT {", ".join(columns)}, (
    SELECT available FROM billing_wallet AS wallet WHERE wallet.user_id = job.user_id
) FROM jobs_job AS job WHERE id = ANY(%s::uuid[])"""


@cache
def _names() -> list[str]:
    return [one.attname for one in Job._meta.concrete_fields]


@cache
def _converters() -> list[tuple[int, Callable[..., Any]]]:
    """What makes values of those that the database gives, by their place."""
    fields = enumerate(Job._meta.concrete_fields)
    return [
        (place, one.from_db_value)
        for place, one in fields
        if hasattr(one, "from_db_value")
    ]


def _follow(job_ids: Iterable[UUID]) -> dict[UUID, Seen]:
    """In one statement, so that a job that has ended is never seen without its end."""
    events = JobEvent.objects.filter(job_id=OuterRef("pk")).order_by("id")
    fields = JSONObject(**{name: name for name in _EVENT_FIELDS})
    wallet = Wallet.objects.filter(user_id=OuterRef("user_id"))
    found = Job.objects.filter(pk__in=list(job_ids)).annotate(
        available=Subquery(wallet.values("available")),
        told=ArraySubquery(events.values(e=fields)),
    )
    return {
        job.pk: Seen(
            job=job,
            available=job.available,
            events=tuple(_event(one) for one in job.told),
        )
        for job in found
    }


_EVENT_FIELDS = ("id", "type", "attempt", "reason", "created_at")


def _event(row: dict[str, Any]) -> Event:
    number, kind, attempt, reason, at = (row[name] for name in _EVENT_FIELDS)
    return Event(number, kind, attempt, reason, datetime.fromisoformat(at))


_room: Room | None = None
_making = threading.Lock()


def the_room() -> Room:
    """This process's room, from its first guest on."""
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
