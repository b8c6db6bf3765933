"""A statement as CSV (RFC 4180), for spreadsheets.

A spreadsheet takes a cell that begins like a formula for one, whoever wrote it: texts
get an apostrophe in front then (OWASP, "CSV Injection"). Amounts are ours, and numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC

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


def lines(user_id: int) -> Iterator[str]:
    """All of a user's entries, the newest first, read in parts."""
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    before: int | None = None
    while entries := ledger.statement(user_id, limit=AT_ONCE, before=before):
        for entry in entries:
            yield writer.writerow(_cells(entry))
        before = entries[-1].pk


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


class _Line:
    """A file whose write gives the line back."""

    def write(self, line: str) -> str:
        return line
