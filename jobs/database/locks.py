"""How jobs are locked: all jobs of a transaction in one statement, in id order.

Unordered, two transactions that share two jobs wait for each other. Whoever locks
wallets or workers' rows too locks workers first and wallets last.
"""

from collections.abc import Iterable

from jobs.database import sql
from jobs.database.sql import Statement

_LOCK = """
SELECT id::text FROM jobs_job WHERE id = ANY(%(jobs)s::uuid[])
ORDER BY id FOR NO KEY UPDATE"""


def lock(job_ids: Iterable[str]) -> Statement:
    """Lock these jobs, waiting for whoever has one."""
    return _LOCK, {"jobs": list(job_ids)}


def lock_free(job_ids: Iterable[str]) -> list[str]:
    """Lock those of these jobs that no other transaction has, and give them."""
    [rows] = sql.run([(f"{_LOCK} SKIP LOCKED", {"jobs": list(job_ids)})])
    return [row[0] for row in rows]
