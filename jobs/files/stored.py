"""How many bytes a user's files take: jobs' inputs and results, and uploads.

A look that is up to `KEPT_S` old and reserves nothing: files of requests that arrive
together may pass it together. It keeps one account from filling the store, not from
the last megabyte.
"""

from __future__ import annotations

import threading
import time

from django.conf import settings

from jobs.errors import StorageFull
from nijika.postgres import prepared

KEPT_S = 10.0
REMEMBERED = 10_000

_lock = threading.Lock()
_seen: dict[int, tuple[float, int]] = {}


def glance(user_id: int) -> None:
    """Raise StorageFull if the user's files take all the room that they may."""
    most: int = settings.STORED_PER_USER_BYTES
    if most and _taken(user_id) >= most:
        raise StorageFull


def bytes_of(user_id: int) -> int:
    """What the files of a user's jobs and uploads take now."""
    [(taken,)] = prepared.rows(_TAKEN, {"user_id": user_id})
    return int(taken)


def forget() -> None:
    """Look afresh at the next question."""
    _seen.clear()


def _taken(user_id: int) -> int:
    seen_at, taken = _seen.get(user_id, (0.0, 0))
    if time.monotonic() - seen_at < KEPT_S and seen_at:
        return taken
    taken = bytes_of(user_id)
    with _lock:
        if len(_seen) >= REMEMBERED:
            _seen.clear()
        _seen[user_id] = (time.monotonic(), taken)
    return taken


_TAKEN = """
SELECT (
    SELECT coalesce(sum((file ->> 'size_bytes')::bigint), 0)
    FROM jobs_job AS job
    CROSS JOIN LATERAL jsonb_array_elements(job.inputs || job.results) AS file
    WHERE job.user_id = %(user_id)s::bigint AND job.erased_at IS NULL
) + (
    SELECT coalesce(sum(size_bytes), 0) FROM jobs_upload
    WHERE user_id = %(user_id)s::bigint AND ready_at IS NOT NULL
)
"""
