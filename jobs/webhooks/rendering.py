"""What is said: the event's type and time, and what it is about, as that is now.

Bodies are made anew at each try, so that the links in them work when they arrive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from jobs import batches
from jobs.api.rendering import batch_view, job_view, time_text
from jobs.models import Batch, Job
from jobs.webhooks import events

Data = dict[str, Any]


def _batch(data: Data) -> Data:
    [summary] = batches.summaries([Batch.objects.get(pk=data["batch"])])
    return batch_view(summary)


RENDERERS: dict[str, Callable[[Data], Data]] = {events.BATCH_COMPLETED: _batch}
"""By the type of an event: from what was recorded to what is said of it now."""


class Telling(Protocol):
    """What a body is made from."""

    @property
    def type(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def job_id(self) -> UUID | None: ...
    @property
    def data(self) -> Data | None: ...


def jobs_of(told: Iterable[Telling]) -> dict[UUID, Job]:
    """The jobs that these are about, in one query."""
    return Job.objects.in_bulk({one.job_id for one in told if one.job_id})


def event_id(event: UUID) -> str:
    """The id of an event as receivers see it, the same in every try."""
    return f"evt_{event.hex}"


def body(one: Telling, jobs: Mapping[UUID, Job]) -> bytes | None:
    """What is said; None where what it is about is no more."""
    if one.job_id is not None:
        job = jobs.get(one.job_id)
        data = None if job is None else job_view(job)
    else:
        data = RENDERERS.get(one.type, dict)(one.data or {})
    if data is None:
        return None
    said = {"type": one.type, "timestamp": time_text(one.created_at), "data": data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
