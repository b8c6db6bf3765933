"""Who runs next: threads that take whatever waits, up to an engine's batch size.

Nothing waits for company: a free lane takes the oldest errand at once, together with
those that have gathered while all lanes were busy: of the same engine, with the same
`share` (what the engine can run in one pass), oldest first, of one owner at most so
many while others wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from gpu_worker.errors import Stopped
from gpu_worker.registry import Key

logger = logging.getLogger("gpu_worker.batching")

Said = dict[str, Any]


@dataclass(slots=True, eq=False, kw_only=True)
class Errand:
    """One thing to do for one job: its item's run, or its decoding or encoding.

    `together` is how many errands may share a call, of which `of_one` may be one
    owner's. The future resolves to the answer's part for this item, or to the error of
    the errand. `offered_at` and `began_at` are times of `time.monotonic()`. A
    checkpoint that is `heard` gives a future, which tells when it is stored.
    """

    do: str
    key: Key
    item: dict[str, Any]
    deadline: float
    heard: Callable[[Said], object]
    together: int = 1
    of_one: int = 0
    share: Hashable = ()
    owner: str = ""
    offered_at: float = 0.0
    began_at: float = 0.0
    # Perhaps with a client's key in it: for no text of ours.
    extra: dict[str, Any] = field(default_factory=dict, repr=False)
    future: Future[dict[str, Any]] = field(default_factory=Future)
    stopped: bool = False
    handed_back: bool = False


class Batch:
    """Errands that share one call. A batch of several gets half of the time that its
    most urgent member has, so that all can run again alone if it fails."""

    def __init__(self, errands: Sequence[Errand]) -> None:
        self.errands = tuple(errands)
        self.began_at = time.monotonic()
        deadline = min(errand.deadline for errand in errands)
        if len(errands) > 1:
            deadline = (self.began_at + deadline) / 2
        self.deadline = deadline
        self._by_job = {errand.item["job_id"]: errand for errand in errands}

    def heard(self, said: Said) -> None:
        """Pass on what a child says of one of its items; anything else is ignored."""
        for details in said.values():
            if isinstance(details, list) and details:
                errand = self._by_job.get(str(details[0]))
                if errand is not None:
                    errand.heard(said)

    def is_stopped(self) -> bool:
        return all(errand.stopped for errand in self.errands)

    def open_errands(self) -> list[Errand]:
        """Those that nobody has answered yet."""
        return [errand for errand in self.errands if not errand.future.done()]


class Muster:
    """The runs of a message, offered at once when each is ready or has dropped out."""

    def __init__(self, parties: int) -> None:
        self._lock = threading.Lock()
        self._missing = parties
        self._ready: dict[Batcher, list[Errand]] = {}

    def offer(self, batcher: Batcher, errand: Errand) -> None:
        with self._lock:
            self._ready.setdefault(batcher, []).append(errand)
            self._arrive()

    def drop_out(self) -> None:
        """One of the runs will not come."""
        with self._lock:
            self._arrive()

    def _arrive(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            for batcher, errands in self._ready.items():
                batcher.offer(*errands)


class Lane(Protocol):
    """What runs batches, in a thread of its own."""

    def start(self) -> None:
        """Get ready; called once, by the lane's thread."""

    def most(self, errand: Errand) -> int:
        """How many errands like this one may share a batch here, now."""

    def run(self, batch: Batch) -> None:
        """Resolve the future of every errand, whatever happens."""

    def interrupt(self) -> None:
        """End the work of the moment if nobody wants it any more; from any thread."""


class Batcher:
    """Lanes that share one queue of errands."""

    def __init__(self, name: str, lanes: Sequence[Lane]) -> None:
        self._lanes = tuple(lanes)
        self._condition = threading.Condition()
        self._waiting: deque[Errand] = deque()
        self._running: dict[Lane, Batch] = {}
        self._ready = threading.Semaphore(0)
        self._broken = False
        self._threads = [
            threading.Thread(
                target=self._work, args=[lane], name=f"{name}-{n}", daemon=True
            )
            for n, lane in enumerate(self._lanes)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether every lane has started, within the time."""
        end = time.monotonic() + timeout_s
        started = [
            self._ready.acquire(timeout=max(0, end - time.monotonic()))
            for _ in self._lanes
        ]
        return all(started) and not self._broken

    def offer(self, *errands: Errand) -> None:
        """Queue the errands at once, so that they can share a batch."""
        now = time.monotonic()
        for errand in errands:
            errand.offered_at = now
        with self._condition:
            self._waiting.extend(errands)
            self._condition.notify(len(errands))

    def withdraw(self, errand: Errand) -> bool:
        """Take back an errand that has not begun. False: it has."""
        with self._condition:
            if errand not in self._waiting:
                return False
            self._waiting.remove(errand)
            return True

    def stop(self, errand: Errand) -> None:
        """Nobody waits for this errand: it fails with Stopped, at once where it can."""
        errand.stopped = True
        if self.withdraw(errand):
            errand.future.set_exception(Stopped())
            return
        with self._condition:
            lanes = [a for a, batch in self._running.items() if errand in batch.errands]
        for lane in lanes:
            lane.interrupt()

    def overdue(self, now: float) -> tuple[Errand, ...]:
        """The running errands whose time is over."""
        with self._condition:
            running = [one for batch in self._running.values() for one in batch.errands]
        return tuple(errand for errand in running if errand.deadline < now)

    def _work(self, lane: Lane) -> None:
        try:
            lane.start()
        except Exception:  # the edge of this thread: an engine that cannot be loaded
            logger.exception("a lane did not start")
            self._broken = True
            return
        finally:
            self._ready.release()
        while True:
            batch = self._take(lane)
            try:
                lane.run(batch)
            finally:
                with self._condition:
                    del self._running[lane]

    def _take(self, lane: Lane) -> Batch:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting)
            first = self._waiting.popleft()
            errands = [first, *self._company(first, lane)]
            batch = self._running[lane] = Batch(errands)
            for errand in errands:
                errand.began_at = batch.began_at
            return batch

    def _company(self, first: Errand, lane: Lane) -> list[Errand]:
        """What waits for the same call, shared fairly among the lanes that are free."""
        most = lane.most(first) if first.together > 1 else 1
        if most == 1 or not self._waiting:
            return []
        same = [e for e in self._waiting if _kind(e) == _kind(first)]
        free = len(self._lanes) - len(self._running)
        seats = min(most, -(-(len(same) + 1) // free)) - 1
        company = _fairly(first, same, self._of_one(first))[:seats]
        for errand in company:
            self._waiting.remove(errand)
        return company

    def _of_one(self, first: Errand) -> int:
        """How many of one owner may share the batch: all, while nobody else waits."""
        if all(errand.owner == first.owner for errand in self._waiting):
            return first.together
        return first.of_one or first.together


def _kind(errand: Errand) -> tuple[Hashable, ...]:
    return errand.do, errand.key, errand.share


def _fairly(first: Errand, same: Sequence[Errand], of_one: int) -> list[Errand]:
    """The oldest, so many of each owner at most, the first errand included."""
    taken, chosen = Counter([first.owner]), []
    for errand in same:
        if taken[errand.owner] < of_one:
            taken[errand.owner] += 1
            chosen.append(errand)
    return chosen
