"""Requests that arrive together share a commit.

One thread takes all that has come and submits it as one group, without a timer: a lone
request goes at once, and while its commit lasts the next group gathers. Whoever offers
an item holds a future and no thread.

Two kinds of items leave that lane, so that they delay nobody: those that wait for
another transaction's lock, in a group per user, and those in doubt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from uuid import UUID

from django.db import connection

from jobs.accepting import groups
from jobs.accepting.groups import Answer, InDoubt
from jobs.accepting.intake import Intake
from jobs.accepting.items import Accepted, Later, Submission
from nijika import counters
from nijika.errors import NijikaError

logger = logging.getLogger(__name__)

GROUP_LIMIT = 128
WAITING_THREADS = 4
DOUBT_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    item: Submission
    future: Future[Accepted] = field(default_factory=Future)


class Combiner:
    """The lanes of one process; each of their threads holds a database connection.

    `on_accepted` is told of new jobs before their futures are done.
    """

    def __init__(self, on_accepted: Callable[[Sequence[Accepted]], None]) -> None:
        self._on_accepted = on_accepted
        self._offers: SimpleQueue[Offer | None] = SimpleQueue()
        self._closing = False
        self._first = _Threads("submit", 1)
        self._waiting = _WaitingLane(self._submit)
        self._doubts = _Threads("submit-doubt", DOUBT_THREADS)
        self._first.do(self._run)

    def offer(self, item: Submission) -> Future[Accepted]:
        """A future of the item's end: Accepted, or the NijikaError that refuses it."""
        offer = Offer(item=item)
        self._offers.put(offer)
        return offer.future

    def close(self) -> None:
        """Finish what was offered, then end the threads and their connections."""
        self._offers.put(None)
        self._first.close()
        self._doubts.close()
        self._waiting.close()

    def _run(self) -> None:
        while not self._closing:
            if group := self._gathered():
                self._submit(group, wait=False)

    def _gathered(self) -> list[Offer]:
        """All that has come, and at least one; None among it is the end."""
        group = [self._offers.get()]
        try:
            while len(group) < GROUP_LIMIT:
                group.append(self._offers.get_nowait())
        except Empty:
            pass
        self._closing = None in group
        return [offer for offer in group if offer is not None]

    def _submit(self, offers: Sequence[Offer], *, wait: bool) -> None:
        try:
            answers = groups.submit([offer.item for offer in offers], wait=wait)
        except Exception as error:  # this thread must outlive whatever happens
            logger.exception("a group of %d submissions failed", len(offers))
            for offer in offers:
                offer.future.set_exception(error)
        else:
            self._deliver(list(zip(offers, answers, strict=True)))

    def _deliver(self, pairs: Sequence[tuple[Offer, Answer]]) -> None:
        self._on_accepted([a for _, a in pairs if isinstance(a, Accepted)])
        locked, doubts = [], dict[Intake, list[Offer]]()
        for offer, answer in pairs:
            match answer:
                case Accepted():
                    offer.future.set_result(answer)
                case NijikaError():
                    counters.SUBMITS.labels(answer.code).inc()
                    offer.future.set_exception(answer)
                case Later():
                    locked.append(offer)
                case InDoubt(intake):
                    doubts.setdefault(intake, []).append(offer)
        self._waiting.add(locked)
        for intake, offers in doubts.items():
            self._doubts.do(partial(self._resolve, intake, offers))

    def _resolve(self, intake: Intake, offers: Sequence[Offer]) -> None:
        try:
            answers: dict[UUID, Answer] = groups.resolve(intake)
        except Exception:
            logger.exception("the fate of %d submissions is unknown", len(offers))
            answers = {offer.item.id: groups.unavailable() for offer in offers}
        self._deliver([(offer, answers[offer.item.id]) for offer in offers])


class _WaitingLane:
    """Items that wait for a lock: one group at a time per user, few users at a time."""

    def __init__(self, submit: Callable[..., None]) -> None:
        self._submit = submit
        self._users: dict[int, list[Offer]] = {}
        self._lock = threading.Lock()
        self._threads = _Threads("submit-waiting", WAITING_THREADS)

    def add(self, offers: Iterable[Offer]) -> None:
        with self._lock:
            for offer in offers:
                user_id = offer.item.user_id
                if user_id not in self._users:
                    self._users[user_id] = []
                    self._threads.do(partial(self._work, user_id))
                self._users[user_id].append(offer)

    def close(self) -> None:
        self._threads.close()

    def _work(self, user_id: int) -> None:
        while group := self._taken(user_id):
            self._submit(group, wait=True)

    def _taken(self, user_id: int) -> list[Offer]:
        """What waits for this user; with nothing left, the user's turn is over."""
        with self._lock:
            waiting = self._users[user_id]
            group, self._users[user_id] = waiting[:GROUP_LIMIT], waiting[GROUP_LIMIT:]
            if not group:
                del self._users[user_id]
            return group


class _Threads:
    """Threads that keep their database connections between tasks, until closed."""

    def __init__(self, name: str, count: int) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=name, daemon=True)
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def do(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)

    def close(self) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while task := self._tasks.get():
            task()
        connection.close()
