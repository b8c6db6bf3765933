"""How many messages a worker takes up at once.

As many as it has slots, and as many again while what runs is short: the next message is
then claimed and its input read before a slot is free. A job that has met a dead worker
(`alone`) waits until nothing else is in and lets nothing else in until it is out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Draining(Exception):
    """The worker is going: this message is for another."""


class Passage:
    """One message inside the gate: out when its last job is done with its engine."""

    def __init__(self, gate: Gate, jobs: int) -> None:
        self._gate, self._jobs, self._lock = gate, jobs, threading.Lock()

    def job_done(self) -> None:
        with self._lock:
            self._jobs -= 1
            if self._jobs == 0:
                self._gate.leave()


class Gate:
    """Counts the messages between their claim and the end of their engine's work."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._condition = threading.Condition()
        self._inside = 0
        self._alone_waiting = 0
        self._alone_inside = self._closed = False

    @property
    def free_slots(self) -> int:
        with self._condition:
            if self._closed or self._alone_inside or self._alone_waiting:
                return 0
            return max(0, self._slots - self._inside)

    def enter(self, *, alone: bool, ahead: bool) -> None:
        """Wait for a place; `ahead` may take one beyond the slots. Raises Draining."""
        with self._condition:
            if alone:
                self._enter_alone()
                return
            most = 2 * self._slots if ahead else self._slots
            self._wait(lambda: self._is_open() and self._inside < most)
            self._inside += 1

    def leave(self) -> None:
        with self._condition:
            self._inside -= 1
            self._alone_inside = False
            self._condition.notify_all()

    def close(self) -> None:
        """Let nobody in any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _enter_alone(self) -> None:
        self._alone_waiting += 1
        try:
            self._wait(lambda: self._inside == 0)
        finally:
            self._alone_waiting -= 1
            self._condition.notify_all()
        self._inside, self._alone_inside = 1, True

    def _is_open(self) -> bool:
        return not (self._alone_inside or self._alone_waiting)

    def _wait(self, allowed: Callable[[], bool]) -> None:
        self._condition.wait_for(lambda: self._closed or allowed())
        if self._closed:
            raise Draining
