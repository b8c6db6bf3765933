"""Signs of life of control's loops, for `/api/health`. Nothing is decided by them."""

from collections.abc import Iterable

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
    "statistics",
)
"""The loops that one control runs unless it is told which."""
APART = ("fetch", "webhooks")
"""Those that run only when named: they go to addresses that others chose."""

FRESH_S = 10
"""A loop that gave no sign for longer counts as stopped."""

# In order, so that two copies of control cannot wait for each other; lost in a crash of
# the database, they come again a second later.
GIVE = """
SET LOCAL synchronous_commit = off;
INSERT INTO jobs_controlsign (loop, seen_at)
SELECT name, clock_timestamp() FROM unnest(%s::text[]) AS loops (name) ORDER BY name
ON CONFLICT (loop) DO UPDATE SET seen_at = excluded.seen_at
"""
READ = """
SELECT loop FROM jobs_controlsign
WHERE seen_at > clock_timestamp() - make_interval(secs => %s)
"""


def give(loops: Iterable[str]) -> None:
    """These loops turn."""
    with connection.cursor() as cursor:
        cursor.execute(GIVE, [list(loops)])


def living() -> set[str]:
    """The loops that gave a sign lately, in any copy of control."""
    with connection.cursor() as cursor:
        cursor.execute(READ, [FRESH_S])
        return {loop for (loop,) in cursor.fetchall()}
