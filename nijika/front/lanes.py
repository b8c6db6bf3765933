"""Lanes: bounded pools of threads that do blocking work for the event loop.

Few threads are faster than many here, since they share one interpreter lock; what
waits, waits in the lane's queue, and what finds the queue full is refused at once. A
lane's threads live as long as the process, so each keeps its own database connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from nijika.errors import Unavailable

T = TypeVar("T")


class LaneFull(Unavailable):
    """The server is busy; try again in a moment."""

    headers = {"Retry-After": "1"}


class Arrivals:
    """Brings results from other threads to the loop, waking it once for many."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[asyncio.Future[Any], Any, BaseException | None]]
        self._arrived = deque()
        self._woken = False

    def post(
        self, future: asyncio.Future[Any], result: Any, error: BaseException | None
    ) -> None:
        """From any thread. Does nothing once the loop has ended."""
        self._arrived.append((future, result, error))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._arrived.clear()

    def _deliver(self) -> None:
        # First, so that whoever posts from here on wakes the loop again.
        self._woken = False
        while self._arrived:
            future, result, error = self._arrived.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


class Lane:
    """`threads` at work and at most `waiting` more in the queue. For one event loop."""

    def __init__(
        self, name: str, *, threads: int, waiting: int, arrivals: Arrivals
    ) -> None:
        self._capacity = threads + waiting
        self._arrivals = arrivals
        self._unfinished = 0
        self._work: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None]
        self._work = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._labour, name=f"{name}-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_full(self) -> bool:
        return self._unfinished >= self._capacity

    def run(
        self, work: Callable[[], T], *, admitted: bool = False
    ) -> asyncio.Future[T]:
        """The result of `work()`, done on one of the threads. Raises LaneFull, but not
        for the rest of what was admitted before."""
        if self.is_full and not admitted:
            raise LaneFull()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._unfinished += 1
        future.add_done_callback(self._finished)
        self._work.put((work, future))
        return future

    def close(self) -> None:
        """Let the threads end once they have done what is queued."""
        for _ in self._threads:
            self._work.put(None)

    def _finished(self, future: asyncio.Future[Any]) -> None:
        self._unfinished -= 1

    def _labour(self) -> None:
        while (item := self._work.get()) is not None:
            work, future = item
            try:
                result = work()
            except BaseException as error:  # the loop's task raises it
                self._arrivals.post(future, None, error)
            else:
                self._arrivals.post(future, result, None)
                del result
            del item, work, future
