"""Signs of life of control's loops, for `/api/health`. Nothing is decided by them."""

import time

from django.db import connection

TOGETHER = (
    "dispatch",
    "reaping",
    "positions",
    "retention",
    "orphans",
    "batches",
    "cleaning",
    "leaving",
)
"""The loops that one control runs unless it is told which."""
APART = ("fetch", "webhooks")
"""Those that run only when named: they go to addresses that others chose."""

EVERY_S = 1.0
FRESH_S = 10
"""A loop that gave no sign for longer counts as stopped."""

GIVE = """
INSERT INTO jobs_controlsign (loop, seen_at) VALUES (%s, clock_timestamp())
ON CONFLICT (loop) DO UPDATE SET seen_at = excluded.seen_at
"""
READ = """
SELECT loop FROM jobs_controlsign
WHERE seen_at > clock_timestamp() - make_interval(secs => %s)
"""

_given: dict[str, float] = {}


def give(loop: str) -> None:
    """The loop turns. Call it at each turn; it writes once a second at most."""
    now = time.monotonic()
    if now < _given.get(loop, 0) + EVERY_S:
        return
    with connection.cursor() as cursor:
        cursor.execute(GIVE, [loop])
    _given[loop] = now


def living() -> set[str]:
    """The loops that gave a sign lately, in any copy of control."""
    with connection.cursor() as cursor:
        cursor.execute(READ, [FRESH_S])
        return {loop for (loop,) in cursor.fetchall()}


def forget() -> None:
    """Give the next sign of every loop at once."""
    _given.clear()
