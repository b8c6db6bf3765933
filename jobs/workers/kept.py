"""The newest look at something in the database, kept for a while by this process.

One thread looks; the others take what is there meanwhile. The front's event loop must
not wait for the database: it takes what is kept, however old, and has a thread look.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import connection

T = TypeVar("T")


class Kept(Generic[T]):
    """What `look` last gave. `unknown` stands for it where nobody has looked yet."""

    def __init__(self, look: Callable[[], T], *, unknown: T) -> None:
        self._look, self._unknown = look, unknown
        self._lock = threading.Lock()
        self._now: T | None = None
        self._looked_at = 0.0

    def forget(self) -> None:
        """Look afresh when next asked."""
        self._now = None

    def get(self, *, fresh_s: float) -> T:
        """At most so old, but in an event loop. Raises Django's database errors."""
        now = self._now
        if now is not None and (self._is_fresh(fresh_s) or self._lock.locked()):
            return now
        if _in_event_loop():
            if not self._lock.locked():
                threading.Thread(target=self._look_once, daemon=True).start()
            return self._unknown if now is None else now
        with self._lock:
            if self._now is None or not self._is_fresh(fresh_s):
                self._now, self._looked_at = self._look(), time.monotonic()
            return self._now

    def _look_once(self) -> None:
        """In a thread of its own, unless another one is at it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._now, self._looked_at = self._look(), time.monotonic()
        finally:
            self._lock.release()
            connection.close()

    def _is_fresh(self, fresh_s: float) -> bool:
        return time.monotonic() < self._looked_at + fresh_s


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
