"""What the API shows of a job and of all else, in one place. Plain dicts, for speed.

Fields are added, never renamed. Times are RFC 3339 in UTC with milliseconds, credits
are texts with four decimals, links are absolute and never from the Host header.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase

from billing.models import Entry
from jobs.batches import Summary
from jobs.files import links
from jobs.following import outlook
from jobs.models import Job

API = "/api/v1"
JSON_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
Answer = TypeVar("Answer", bound=HttpResponseBase)


def job_view(job: Job) -> dict[str, Any]:
    """The job as every call shows it."""
    return _row(job) | {
        "results": [] if job.erased_at else [_result(job, one) for one in job.results],
        "waiting": outlook.waiting(job),
        "urls": _urls(job),
    }


def _row(job: Job) -> dict[str, Any]:
    """All that follows from the row alone."""
    return {
        "id": str(job.pk),
        "operation": job.operation,
        "engine": job.engine,
        "queue": job.queue,
        "status": job.status,
        "test": job.test,
        "parameters": job.parameters,
        "then": job.then,
        "metadata": job.metadata,
        # A job that waits for its first start is in its first attempt.
        "attempt": max(job.attempt, 1),
        "retry_of": str(job.retry_of) if job.retry_of else None,
        "batch": _batch(job),
        "created_at": time_text(job.created_at),
        "started_at": time_text(job.started_at),
        "ended_at": time_text(job.ended_at),
        "expires_at": time_text(job.expires_at),
        "erased_at": time_text(job.erased_at),
        "position": job.position if job.status == "queued" else None,
        "progress": job.progress,
        "price": credits_text(job.price),
        "charged": credits_text(job.charged),
        "error": job.error,
        "timings": _timings(job),
        "stages": job.stages,
    }


def _batch(job: Job) -> dict[str, Any] | None:
    if job.batch_id is None:
        return None
    return {"id": str(job.batch_id), "index": job.batch_index}


def _result(job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
    index = result["index"]
    return {
        "index": index,
        "url": links.result_url(job.pk, index),
        "content_type": result["content_type"],
        "width_px": result["width_px"],
        "height_px": result["height_px"],
        "size_bytes": result["size_bytes"],
        "sha256": result["sha256"],
        "details": result["details"],
    }


def _timings(job: Job) -> dict[str, int | None]:
    queued = _between_ms(job.created_at, job.started_at)
    total = _between_ms(job.created_at, job.ended_at)
    engine, platform = job.engine_ms, None
    if queued is not None and total is not None and engine is not None:
        platform = max(total - queued - engine, 0)
    return {
        "queued_ms": queued,
        "engine_ms": engine,
        "platform_ms": platform,
        "total_ms": total,
    }


def _between_ms(start: datetime, end: datetime | None) -> int | None:
    if end is None:
        return None
    return max(round((end - start).total_seconds() * 1000), 0)


def job_url(job: Job) -> str:
    return f"{settings.PUBLIC_URL}{API}/jobs/{job.pk}"


def _urls(job: Job) -> dict[str, str]:
    own = job_url(job)
    return {
        "self": own,
        "result": f"{own}/result",
        "events": f"{own}/events",
        "cancel": f"{own}/cancel",
    }


def batch_view(summary: Summary) -> dict[str, Any]:
    """The batch as every call shows it, with what became of its jobs until now."""
    batch = summary.batch
    own = batch_url(batch.pk)
    return {
        "id": str(batch.pk),
        "status": "running" if summary.unfinished else "completed",
        "test": batch.test,
        "metadata": batch.metadata,
        "created_at": time_text(batch.created_at),
        "completed_at": time_text(summary.completed_at),
        "size": batch.size,
        "counts": dict(summary.counts),
        "price": credits_text(summary.price),
        "charged": credits_text(summary.charged),
        "job_ids": [str(one) for one in summary.jobs],
        "urls": {
            "self": own,
            "jobs": f"{own}/jobs",
            "cancel": f"{own}/cancel",
            "results": f"{own}/results",
        },
    }


def batch_url(batch_id: UUID) -> str:
    return f"{settings.PUBLIC_URL}{API}/batches/{batch_id}"


def etag(job: Job) -> str:
    """Changes with what the row shows. Weak, for links are signed anew each time."""
    shown = json.dumps([_row(job), job.results], sort_keys=True, default=str)
    return f'W/"{hashlib.sha256(shown.encode()).hexdigest()[:24]}"'


def entry_view(entry: Entry) -> dict[str, Any]:
    return {
        "id": str(entry.pk),
        "kind": entry.kind,
        "amount": credits_text(entry.amount),
        "available_after": credits_text(entry.available_after),
        "held_after": credits_text(entry.held_after),
        "reference": entry.reference,
        "note": entry.note,
        "created_at": time_text(entry.created_at),
    }


def page_view(items: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    return {"items": items, "next_cursor": next_cursor}


def time_text(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def credits_text(amount: Decimal) -> str:
    return f"{amount:.4f}"


def answer(content: Any, *, status: int = 200) -> HttpResponse:
    """JSON that no cache keeps: it is about one caller."""
    return HttpResponse(body_of(content), status=status, headers=JSON_HEADERS)


def body_of(content: Any) -> bytes:
    return _JSON.encode(content).encode()


def job_answer(job: Job, available: Decimal, *, status: int = 200) -> HttpResponse:
    return with_credits(answer(job_view(job), status=status), job, available)


def with_credits(response: Answer, job: Job, available: Decimal) -> Answer:
    for name, value in credit_headers(job, available).items():
        response[name] = value
    return response


def credit_headers(job: Job, available: Decimal) -> dict[str, str]:
    """What every answer about a job says, a refusal like any other."""
    return {
        "X-Credits-Charged": credits_text(job.charged),
        "X-Credits-Remaining": credits_text(available),
    }
