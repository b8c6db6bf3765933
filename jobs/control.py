"""The platform's own loops: what makes every job move without anybody asking.

Each loop has a thread of its own and can run alone (`manage.py control --only NAME`);
any number of copies may run, because each loop either holds a lock that only one copy
has, or does nothing that is not guarded. A turn that raises is logged, and the loop
goes on. News wakes the loops that wait for jobs; the clock wakes all.

What goes out to addresses that others chose is done by a process of its own: `fetch`
and `webhooks` run only when named.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import psycopg
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from jobs import batches, retention
from jobs.database import statistics
from jobs.database.unpooled import Sole
from jobs.dispatch import Dispatcher
from jobs.following.positions import Positions
from jobs.news import ALL_QUEUES, ENDS, FETCHES, WORK, Listener
from jobs.reaping import Reaper
from jobs.sources import Fetcher
from jobs.upkeep import control_signs, leaving
from jobs.upkeep.control_signs import APART
from jobs.webhooks.delivering import Deliverer

# What SIGTERM leaves to a turn in progress; a broker that is frozen holds one for 2 s.
END_WITHIN_S = 5.0
# A loop that finished no turn for so long gives no sign of life.
STUCK_AFTER_S = 10.0
# A turn that failed is made up for soon: the next may be an hour away.
AGAIN_AFTER_S = 5.0
SIGN_EVERY_S = 1.0
POSITIONS_EVERY_S = 1.0
COUNT_EVERY_S = 2.0

OUTAGES = (DatabaseError, psycopg.Error)

logger = logging.getLogger(__name__)


class Work(Protocol):
    """What a loop does, made in its own thread and used by no other."""

    def turn(self) -> object:
        """Do what is due now; may raise, and is then called again."""

    def pause_s(self, longest: float) -> float:
        """How long to wait for the next turn, unless woken."""

    def close(self) -> None:
        """The loop ends: let others have what this one held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """`begin` makes the work and touches nothing; a turn comes every `every_s`, and at
    news on the channel that it `hears` (of its `queue`, if it has one)."""

    name: str
    begin: Callable[[], Work]
    every_s: float
    hears: str = ""
    queue: str = ""

    def is_meant(self, words: Sequence[str]) -> bool:
        """Whether news of these words may mean something to do."""
        return not self.queue or self.queue in words or ALL_QUEUES in words


class Turning(threading.Thread):
    """A loop that runs until it is stopped."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(name=f"control {loop.name}", daemon=True)
        self.loop = loop
        self._woken = threading.Event()
        self._stopping = False
        self._turned_at = time.monotonic()

    def wake(self) -> None:
        """There may be something to do now."""
        self._woken.set()

    def stop(self) -> None:
        """End after the present turn."""
        self._stopping = True
        self._woken.set()

    def is_turning(self) -> bool:
        """Whether turns end without an error, as they should."""
        return time.monotonic() - self._turned_at < STUCK_AFTER_S + self.loop.every_s

    def run(self) -> None:
        work = self.loop.begin()
        if isinstance(work, Deliverer):
            work.wake = self.wake
        while not self._stopping:
            # Whatever happens from here on deserves another turn.
            self._woken.clear()
            has_turned = self._turned(work)
            pause_s = work.pause_s(self.loop.every_s)
            self._woken.wait(pause_s if has_turned else min(pause_s, AGAIN_AFTER_S))
        self._end(work)

    def _turned(self, work: Work) -> bool:
        try:
            close_old_connections()
            work.turn()
            self._turned_at = time.monotonic()
            return True
        except OUTAGES as error:
            logger.warning("%s: the database: %s", self.name, str(error).strip())
            connection.close()
        except Exception:
            logger.exception("%s stumbled", self.name)
            connection.close()
        return False

    def _end(self, work: Work) -> None:
        try:
            work.close()
        except Exception as error:
            logger.warning("%s: %s", self.name, error)
        connection.close()


class Control:
    """Some loops, the listener that wakes them, and their signs of life."""

    def __init__(self, loops: Iterable[Loop]) -> None:
        self._turning = [Turning(loop) for loop in loops]
        self._hearing = [one for one in self._turning if one.loop.hears]
        channels = {one.loop.hears for one in self._hearing}
        self._listener = Listener(
            {channel: partial(self._heard, channel) for channel in sorted(channels)},
            lambda up: _wake(self._hearing),
        )
        self._signs = Turning(
            Loop(
                name="signs",
                begin=lambda: _Task(self._give_signs),
                every_s=SIGN_EVERY_S,
            )
        )

    def start(self) -> None:
        for thread in (self._listener, *self._turning, self._signs):
            thread.start()

    def stop(self) -> bool:
        """End all loops within seconds; whether all did end by themselves."""
        threads = [*self._turning, self._signs]
        for thread in threads:
            thread.stop()
        deadline = time.monotonic() + END_WITHIN_S
        self._listener.stop(timeout_s=max(0, deadline - time.monotonic()))
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _heard(self, channel: str, words: Sequence[str]) -> None:
        hearing = [one for one in self._hearing if one.loop.hears == channel]
        _wake(one for one in hearing if one.loop.is_meant(words))

    def _give_signs(self) -> None:
        still = {one.loop.name for one in self._turning if not one.is_turning()}
        turning = {one.loop.name for one in self._turning} - still
        if turning:
            control_signs.give(turning)


def run(only: str = "") -> bool:
    """Run the loops of these names, or all but `APART`, until SIGTERM or SIGINT.

    Returns whether all loops ended in time. Raises KeyError for an unknown name.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    control = Control(loops(only))
    _analyze()
    control.start()
    logger.info("control runs %s", only or f"all loops but {', '.join(APART)}")
    stopping.wait()
    return control.stop()


def _analyze() -> None:
    try:
        statistics.analyze()
    except OUTAGES as error:
        logger.warning("the database: %s", str(error).strip())
        connection.close()


def loops(only: str = "") -> list[Loop]:
    """The loops of these names, with commas between, or all but `APART`.

    Raises KeyError.
    """
    known = _dispatch() + _others()
    if not only:
        return [one for one in known if one.name not in APART]
    names = set(only.split(","))
    if unknown := names - {one.name for one in known}:
        raise KeyError(", ".join(sorted(unknown)))
    return [one for one in known if one.name in names]


def _dispatch() -> list[Loop]:
    return [
        Loop(
            name="dispatch",
            begin=partial(Dispatcher, queue),
            every_s=settings.POLL_S,
            hears=WORK,
            queue=queue,
        )
        for queue in settings.QUEUES
    ]


def _others() -> list[Loop]:
    seldom_s = max(settings.SWEEP_S, settings.ORPHAN_AFTER_S / 4)
    return [
        Loop(name="reaping", begin=_reaping, every_s=settings.REAP_S),
        Loop(name="positions", begin=_positions, every_s=POSITIONS_EVERY_S),
        Loop(name="retention", begin=_expiring, every_s=settings.SWEEP_S),
        Loop(name="orphans", begin=_sweeping, every_s=seldom_s),
        Loop(name="batches", begin=_completing, every_s=settings.POLL_S),
        Loop(name="cleaning", begin=_cleaning, every_s=settings.SWEEP_S),
        Loop(name="leaving", begin=_leaving, every_s=settings.SWEEP_S),
        Loop(name="statistics", begin=_counting, every_s=COUNT_EVERY_S),
        Loop(name="fetch", begin=_fetching, every_s=settings.POLL_S, hears=FETCHES),
        Loop(
            name="webhooks",
            begin=Deliverer,
            every_s=settings.POLL_S,
            hears=ENDS,
        ),
    ]


class _Task:
    """Work whose pauses are always the same."""

    def __init__(
        self, act: Callable[[], object], close: Callable[[], None] = lambda: None
    ) -> None:
        self.turn = act
        self.close = close

    def pause_s(self, longest: float) -> float:
        return longest


def _reaping() -> Work:
    return _Task(Reaper().turn)


def _positions() -> Work:
    positions = Positions()
    return _Task(positions.turn, positions.close)


def _fetching() -> Work:
    fetcher = Fetcher()
    return _Task(fetcher.turn, fetcher.close)


def _completing() -> Work:
    return _Task(batches.complete)


def _expiring() -> Work:
    return _Task(retention.expire)


def _sweeping() -> Work:
    return _Task(partial(_if_alone, "orphans", retention.sweep))


def _cleaning() -> Work:
    return _Task(retention.clean)


def _leaving() -> Work:
    return _Task(partial(_if_alone, "leaving", leaving.erase))


def _counting() -> Work:
    sole = Sole("statistics")

    def act() -> None:
        with sole as session:
            if session is not None:
                statistics.refresh()

    return _Task(act, sole.close)


def _if_alone(name: str, act: Callable[[], object]) -> None:
    """Heavy work that only one copy of control should do at a time."""
    sole = Sole(name)
    try:
        with sole as session:
            if session is not None:
                act()
    finally:
        sole.close()


def _wake(turning: Iterable[Turning]) -> None:
    for one in turning:
        one.wake()
