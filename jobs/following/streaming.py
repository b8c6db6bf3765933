"""What happens to a job, told while it happens: the streams of server-sent events.

A stream is a guest of the room of `jobs.following.waiting` and a feed of the front: it
costs no thread and no connection. It keeps the job as it was seen last and how far its
client has been told, so behind a slow reader nothing piles up: events come in their
order and none is left out, of progress only the newest is told.

It ends with the job, or after `LONGEST_S`; clients come again by themselves, to where
they were. Who is let in no more, by a key that was revoked or a session that was ended,
is told nothing more.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.conf import settings

from jobs.following import waiting
from jobs.following.waiting import Seen
from jobs.models import Job
from nijika.errors import RateLimited

CONTENT_TYPE = "text/event-stream; charset=utf-8"
HEADERS = {
    "Cache-Control": "private, no-cache, no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events back until it has many
    "X-Content-Type-Options": "nosniff",
}
LONGEST_S = 3600.0
COMMENT = b": still here\n\n"


class TooManyStreams(RateLimited):
    """This account has as many open streams as it may."""

    headers = {"Retry-After": "5"}


class JobStream:
    """The stream of one job for its owner, as long as it `is_let_in`, which is asked
    before each piece. Subclasses say in `render` what is told."""

    follows = True
    idle_s = 15.0

    def __init__(self, job: Job, *, is_let_in: Callable[[], bool]) -> None:
        self.job_id = job.pk
        self._is_let_in = is_let_in
        self.until = time.monotonic() + LONGEST_S
        self._owner = (job.user_id, job.test)
        self._wake: Callable[[], None] = lambda: None
        self._room: waiting.Room | None = None
        self._seen: Seen | None = None
        self._told: Seen | None = None
        self._over = False

    def render(self, seen: Seen) -> bytes:
        """What the client has not been told yet; the last of it for an ended job."""
        raise NotImplementedError

    # A guest of the room, for its thread

    def told(self, seen: Seen | None, now: float) -> None:
        if seen is None or not self._may_know(seen.job):
            self._over = True
        else:
            self._seen = seen
            self._over = waiting.has_ended(seen.job) or self.until <= now
        self._wake()

    def _may_know(self, job: Job) -> bool:
        return self._is_let_in() and waiting.is_owned(job, self._owner)

    def give_up(self) -> None:
        self._over = True
        self._wake()

    # A feed of the front

    def open(self, wake: Callable[[], None]) -> None:
        """Raises TooManyStreams."""
        self._wake = wake
        _open.add(self._owner)
        self._room = waiting.the_room()
        self._room.enter(self)

    def take(self) -> bytes | None:
        is_last, seen = self._over, self._seen
        piece = b""
        if seen is not None and seen is not self._told:
            self._told = seen
            piece = self.render(seen)
        return None if is_last and not piece else piece

    def idle(self) -> bytes:
        return COMMENT

    def close(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.leave(self)
            _open.discard(self._owner)


class _Open:
    """How many streams each owner has in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[tuple[int, bool]] = Counter()

    def add(self, owner: tuple[int, bool]) -> None:
        """Raises TooManyStreams."""
        with self._lock:
            if self._count[owner] >= settings.STREAMS_PER_ACCOUNT:
                raise TooManyStreams
            self._count[owner] += 1

    def discard(self, owner: tuple[int, bool]) -> None:
        with self._lock:
            self._count[owner] -= 1
            if not self._count[owner]:
                del self._count[owner]

    def total(self) -> int:
        return self._count.total()


_open = _Open()


def open_now() -> int:
    """How many streams are open in this process."""
    return _open.total()


def message(data: Any, *, event: str = "", number: int | None = None) -> bytes:
    """One server-sent event (WHATWG HTML, 9.2); JSON has no line breaks of its own."""
    lines = [f"id: {number}"] if number is not None else []
    lines += [f"event: {event}"] if event else []
    lines += [f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}"]
    return ("\n".join(lines) + "\n\n").encode()
