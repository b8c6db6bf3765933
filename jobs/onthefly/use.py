"""How many pictures each account had: free of charge, but counted.

Counts are kept in the process and written every few seconds; a process that dies takes
those of its last seconds with it.
"""

from __future__ import annotations

import threading
from collections import Counter

from django.db import connection

WRITE_EVERY_S = 2.0

_lock = threading.Lock()
_made: Counter[int] = Counter()
_served: Counter[int] = Counter()


def made(user_id: int) -> None:
    with _lock:
        _made[user_id] += 1


def served(user_id: int) -> None:
    with _lock:
        _served[user_id] += 1


def waits() -> bool:
    """Whether anything is to be written."""
    return bool(_made or _served)


def write() -> None:
    """Add what was counted to the rows of today."""
    with _lock:
        counts = {user: (_made[user], _served[user]) for user in _made | _served}
        _made.clear()
        _served.clear()
    with connection.cursor() as cursor:
        for user_id in sorted(counts):
            cursor.execute(_ADD, [*counts[user_id], user_id])


# Whose row is gone has nothing to count for, and must not stop what else is written.
_ADD = """
INSERT INTO jobs_renditionuse AS old (user_id, day, made, served)
SELECT id, (now() AT TIME ZONE 'UTC')::date, %s, %s FROM accounts_user WHERE id = %s
ON CONFLICT (user_id, day) DO UPDATE
SET made = old.made + EXCLUDED.made, served = old.served + EXCLUDED.served
"""
