"""Raw statements, prepared, many in one round trip (`nijika.postgres.prepared`)."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from nijika.postgres import prepared
from nijika.postgres.prepared import Row, Statement

__all__ = ["Row", "Statement", "lock_refused", "run"]


def run(statements: Sequence[Statement]) -> list[list[Row]]:
    """The rows of each statement; call it in a transaction.

    Raises Django's database errors.
    """
    if len(statements) == 1:  # a pipeline of one costs twice as much
        return [prepared.rows(*statements[0])]
    return prepared.rows_of_each(statements) if statements else []


def lock_refused(error: OperationalError) -> bool:
    """Whether a statement waited for a lock as long as it was allowed to."""
    return isinstance(error.__cause__, LockNotAvailable)
