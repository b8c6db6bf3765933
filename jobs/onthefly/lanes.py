"""Where foreign bytes are decoded: threads with a child process each, under limits on
memory and time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from gpu_worker.children import Child
from jobs.onthefly.errors import (
    BadRequest,
    LimitReached,
    MakingFailed,
    NotAnImage,
    Saturated,
)
from jobs.onthefly.flights import Flight
from nijika.errors import NijikaError

QUEUE = "web"
"""Not a queue of the broker's: the name under which a child loads its one engine."""
IDLE_S = 300.0
"""A child that nobody has needed for so long gives its memory back."""
QUEUED_S = 30.0
"""Who waited so long for a lane has gone away."""

Answer = dict[str, Any] | Exception


class Lanes:
    """Threads with a child process each, started when first needed."""

    def __init__(self, count: int, bring: Callable[[Flight, Answer], None]) -> None:
        self._bring = bring
        self._work: queue.SimpleQueue[tuple[Flight, dict[str, Any]] | None]
        self._work = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"picture-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, flight: Flight, request: dict[str, Any]) -> None:
        self._work.put((flight, request))

    def close(self) -> None:
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(30)  # one that is starting its child is long about it

    def _run(self) -> None:
        memory_bytes = settings.ONTHEFLY_MEMORY_BYTES
        child = Child(QUEUE, memory_bytes=memory_bytes, threads=1)
        while True:
            try:
                work = self._work.get(timeout=IDLE_S)
            except queue.Empty:
                child.close()
                continue
            if work is None:
                child.close()
                return
            flight, request = work
            self._bring(flight, _answer(child, flight, request))
            del work, flight, request


class _Call:
    """One call to a child, for which somebody always waits."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + settings.ONTHEFLY_RUN_LIMIT_S

    def heard(self, said: dict[str, Any]) -> None:
        pass

    def is_stopped(self) -> bool:
        return False


def _answer(child: Child, flight: Flight, request: dict[str, Any]) -> Answer:
    if time.monotonic() - flight.began_at > QUEUED_S + settings.FETCH_TIMEOUT_S:
        return Saturated()
    try:
        if child.pid is None:
            child.start()  # what that takes is not the picture's time
        return child.call(request, _Call())
    except Exception as error:
        return error


def file_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The one file of a child's answer. Raises what it says went wrong."""
    if "raised" in answer:
        raise _error_of(answer["raised"])
    outcome = answer["outcomes"][0]
    if "failure" in outcome:
        raise _error_of(outcome["failure"])
    file: dict[str, Any] = outcome["files"][0]
    return file


_MEANINGS: dict[str, type[NijikaError]] = {
    "invalid_image": NotAnImage,
    "limit_exceeded": LimitReached,
    "invalid_parameters": BadRequest,
}


def _error_of(failure: dict[str, Any]) -> NijikaError:
    kind = _MEANINGS.get(str(failure.get("code")), MakingFailed)
    return kind(str(failure.get("message", ""))[:500])
