"""Raw statements on Django's own connection, planned once by the server.

Without the setting `prepare_threshold`, which Django leaves off, `prepare=True` does
nothing. Parameters are bound by the server, so their types have to be clear in the
statement (`%s::text[]`). Database errors are Django's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]
Statement = tuple[str, Parameters]


def rows(query: str, parameters: Parameters) -> list[Row]:
    """Run one statement on this thread's connection."""
    raw = _connection()
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        return _fetched(cursor.execute(query.encode(), parameters, prepare=True))


def rows_of_each(statements: Sequence[Statement]) -> list[list[Row]]:
    """Run statements in one round trip; each sees what those before it committed.

    For statements that need no decision in between: a round trip gives up the
    interpreter lock, and in a busy process getting it back costs more than the
    statement.
    """
    raw = _connection()
    with connection.wrap_database_errors, raw.pipeline():
        cursors = [
            psycopg.Cursor(raw).execute(query.encode(), parameters, prepare=True)
            for query, parameters in statements
        ]
    # Before the pipeline's end no cursor knows what it will get.
    return [_fetched(cursor) for cursor in cursors]


def _connection() -> "psycopg.Connection[Row]":
    connection.ensure_connection()
    raw: psycopg.Connection[Row] = connection.connection
    return raw


def _fetched(cursor: "psycopg.Cursor[Row]") -> list[Row]:
    return cursor.fetchall() if cursor.description else []
