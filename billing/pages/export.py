"""A statement as CSV (RFC 4180), for spreadsheets.

A spreadsheet takes a cell that begins like a formula for one, whoever wrote it: texts
get an apostrophe in front then (OWASP, "CSV Injection"). Amounts are ours, and numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable, Sequence
from datetime import UTC

from django.db import connection

from billing import ledger
from billing.models import Entry

COLUMNS = (
    "id",
    "time (UTC)",
    "kind",
    "amount",
    "held",
    "available after",
    "held after",
    "reference",
    "note",
)
AT_ONCE = 1000
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")


def pieces(user_id: int) -> Generator[bytes, None, None]:
    """All of a user's entries, the newest first, read in parts by a thread that keeps
    no connection."""
    before: int | None = None
    try:
        yield _lines([COLUMNS])
        while entries := ledger.statement(user_id, limit=AT_ONCE, before=before):
            before = entries[-1].pk
            yield _lines(_cells(entry) for entry in entries)
    finally:
        connection.close()


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def safe(text: str) -> str:
    """The text so that no spreadsheet calculates it."""
    return f"'{text}" if text.lstrip(" ").startswith(DANGEROUS) else text


def _cells(entry: Entry) -> list[str]:
    return [
        str(entry.pk),
        entry.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        entry.kind,
        f"{entry.amount:.4f}",
        f"{entry.held_amount:.4f}",
        f"{entry.available_after:.4f}",
        f"{entry.held_after:.4f}",
        safe(entry.reference),
        safe(entry.note),
    ]
