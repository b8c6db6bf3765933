"""Raw statements on Django's own connection, prepared, many in one round trip.

A round trip gives up the interpreter lock, and in a busy process getting it back costs
more than the statement (1 ms becomes 8 to 16); so what needs no decision in between
travels together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

Row = tuple[Any, ...]
Statement = tuple[str, Mapping[str, Any]]


def run(statements: Sequence[Statement]) -> list[list[Row]]:
    """The rows of each statement, all in one round trip; call it in a transaction.

    Parameters are bound by the server, so their types have to be clear there
    (`::text`). Raises Django's database errors.
    """
    if not statements:
        return []
    connection.ensure_connection()
    raw = connection.connection
    # Django leaves preparing off. Ours are few and fixed, and planning them costs more
    # than running them.
    raw.prepare_threshold = 0
    try:
        with connection.wrap_database_errors, raw.pipeline():
            cursors = [_sent(raw, text, values) for text, values in statements]
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
    finally:
        raw.prepare_threshold = None


def _sent(
    raw: psycopg.Connection[Any], text: str, values: Mapping[str, Any]
) -> psycopg.Cursor[Row]:
    return psycopg.Cursor(raw).execute(text, values)


def lock_refused(error: OperationalError) -> bool:
    """Whether a statement waited for a lock as long as it was allowed to."""
    return isinstance(error.__cause__, LockNotAvailable)
