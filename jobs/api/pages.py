"""Lists in pages: what `limit`, `cursor` and the filters of a query mean.

A cursor says where the page before ended, so a page stays right while rows are added.
It is signed: one that we did not make is refused rather than misread.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from django.db.models import QuerySet
from django.utils.crypto import constant_time_compare, salted_hmac

from jobs import engines
from jobs.errors import BadFields, FieldError
from jobs.models import Batch, Job, WebhookDelivery

DEFAULT_LIMIT, MOST = 20, 100
PAGE = frozenset({"limit", "cursor"})
JOB_FILTERS = frozenset({"status", "operation", "created_after", "created_before"})
OPERATION = "[a-z0-9][a-z0-9-]{0,39}"
MILLISECOND = timedelta(milliseconds=1)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How many, and after what: `after` is what the cursor before was made of."""

    limit: int
    after: str


def page_of(query: Mapping[str, str], kind: str) -> Page:
    """Raises BadFields."""
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[1-9][0-9]{0,2}", limit) or int(limit) > MOST:
        raise _bad("limit", "range", f"must be a number from 1 to {MOST}")
    after = _opened(kind, query["cursor"]) if "cursor" in query else ""
    return Page(limit=int(limit), after=after)


def cursor(kind: str, after: str) -> str:
    """An opaque text for `after`, which must be ASCII; good for lists of this kind."""
    sealed = f"{_seal(kind, after)}{after}".encode("ascii")
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _opened(kind: str, text: str) -> str:
    try:
        padded = text + "=" * (-len(text) % 4)
        opened = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        opened = ""
    after = opened[SEAL:]
    # The whole text is compared, for base64 has several spellings of some bytes.
    if not opened or not constant_time_compare(cursor(kind, after), text):
        raise _bad("cursor", "format", "is none that was given out for this list")
    return after


SEAL = 16


def _seal(kind: str, after: str) -> str:
    mac = salted_hmac("jobs.api.pages", f"{kind}/{after}", algorithm="sha256")
    return mac.hexdigest()[:SEAL]


def job_cursor(job: Job) -> str:
    return cursor("jobs", place(job))


def place(row: Job | Batch | WebhookDelivery) -> str:
    """Where it stands in a list that has the newest first."""
    return f"{row.created_at.isoformat()}/{row.pk}"


Rows = TypeVar("Rows", Job, Batch, WebhookDelivery)


def later(rows: QuerySet[Rows], after: str) -> QuerySet[Rows]:
    """Those that come behind this place in a list that has the newest first."""
    if not after:
        return rows
    created_at, _, row_id = after.partition("/")
    # A comparison of rows, which an index answers; `OR` would not be.
    return rows.extra(
        where=["(created_at, id) < (%s, %s)"],
        params=[datetime.fromisoformat(created_at), UUID(row_id)],
    )


def filtered(jobs: QuerySet[Job], query: Mapping[str, str]) -> QuerySet[Job]:
    """The jobs that the query's filters leave. Raises BadFields."""
    if "status" in query:
        if query["status"] not in Job.Status.values:
            known = ", ".join(Job.Status.values)
            raise _bad("status", "choice", f"must be one of {known}")
        jobs = jobs.filter(status=query["status"])
    if "operation" in query:
        if not re.fullmatch(OPERATION, query["operation"]):
            raise _bad("operation", "format", "is not the name of an operation")
        # A name that no job can have is a slip of the pen, not a list without jobs.
        if not engines.is_operation(query["operation"]):
            raise _bad("operation", "unknown", "is not an operation")
        jobs = jobs.filter(operation=query["operation"])
    return _in_time(jobs, query)


def _in_time(jobs: QuerySet[Job], query: Mapping[str, str]) -> QuerySet[Job]:
    """Times are shown in whole milliseconds and are compared as they are shown."""
    if "created_after" in query:
        shown = _floor(time_of("created_after", query))
        jobs = jobs.filter(created_at__gte=shown + MILLISECOND)
    if "created_before" in query:
        at = time_of("created_before", query)
        shown = _floor(at)
        jobs = jobs.filter(created_at__lt=shown if shown == at else shown + MILLISECOND)
    return jobs


def _floor(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def time_of(name: str, query: Mapping[str, str]) -> datetime:
    if not _TIME.fullmatch(query[name]):
        raise _bad(name, "format", "must be an RFC 3339 time with its offset")
    try:
        # In UTC: PostgreSQL does not take every offset that Python does.
        at = datetime.fromisoformat(query[name].upper()).astimezone(UTC)
        at + MILLISECOND
    except (ValueError, OverflowError):
        raise _bad(name, "format", "is no time") from None
    return at


def _bad(field: str, code: str, message: str) -> BadFields:
    return BadFields(FieldError(field, code, message))
