"""`GET /jobs/{id}/events`: a job's events, and its progress between them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts import authentication
from jobs.api.rendering import job_view, time_text, with_credits
from jobs.api.views import JobView, available_to
from jobs.errors import BadFields, FieldError
from jobs.following import streaming, waiting
from jobs.following.streaming import JobStream, message
from jobs.following.waiting import Event, Seen
from jobs.models import ENDS, Job, JobEvent
from nijika.continuation import stream

COME_AGAIN = b"retry: 1000\n\n"
"""After how many milliseconds a client whose stream has ended asks again."""


class EventsView(JobView):
    scopes = {"GET": "jobs:read"}
    queries = {}
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, job_id: str) -> HttpResponseBase:
        after = last_event_id(request)
        job = self.own(job_id)
        response: HttpResponseBase
        if _has_heard_the_end(job, after):
            # What tells a browser's EventSource not to come again.
            response = HttpResponse(status=204)
        else:
            is_let_in = authentication.watch(request.META)
            feed = EventStream(job, is_let_in=is_let_in, after=after)
            response = stream(request, feed, content_type=streaming.CONTENT_TYPE)
            for name, value in streaming.HEADERS.items():
                response[name] = value
        return with_credits(response, job, available_to(job))


def last_event_id(request: HttpRequest) -> int:
    """The number after which to go on; 0 for the beginning. Raises BadFields."""
    text = request.META.get("HTTP_LAST_EVENT_ID", "")
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]{1,18}", text):
        message = "must be the id of an event of this job"
        raise BadFields(FieldError("Last-Event-ID", "format", message))
    return int(text)


def _has_heard_the_end(job: Job, after: int) -> bool:
    if not after or not waiting.has_ended(job):
        return False
    return JobEvent.objects.filter(job=job, pk=after, type__in=ENDS).exists()


class EventStream(JobStream):
    """Named events with numbers; `progress` without, for it is told only once."""

    def __init__(self, job: Job, *, is_let_in: Callable[[], bool], after: int) -> None:
        super().__init__(job, is_let_in=is_let_in)
        self._after = after
        self._begun = False
        self._progress: dict[str, Any] | None = None

    def render(self, seen: Seen) -> bytes:
        pieces = [] if self._begun else [COME_AGAIN]
        events = [one for one in seen.events if one.type != JobEvent.Type.ERASED]
        if not self._begun and events and self._after > events[-1].number:
            self._after = 0  # no event of this job's: from the beginning, then
        self._begun = True
        for event in events:
            if event.number > self._after:
                pieces.append(_told(event, seen.job))
                self._after = event.number
        return b"".join([*pieces, self._newest_progress(seen.job)])

    def _newest_progress(self, job: Job) -> bytes:
        now = None if waiting.has_ended(job) else _progress(job)
        if now is None or now == self._progress:
            return b""
        self._progress = now
        return message(now, event="progress")


def _told(event: Event, job: Job) -> bytes:
    """The job is shown as it is now, which for an old event is later than that."""
    data = {
        "id": str(event.number),
        "type": event.type,
        "attempt": event.attempt,
        "reason": event.reason or None,
        "created_at": time_text(event.created_at),
        "job": job_view(job),
    }
    return message(data, event=event.type, number=event.number)


def _progress(job: Job) -> dict[str, Any] | None:
    """How far an unfinished job is; None where nothing is known of it."""
    said = job.progress or {}
    position = job.position if job.status == Job.Status.QUEUED else None
    if not said and position is None:
        return None
    return {
        "job_id": str(job.pk),
        "status": job.status,
        "attempt": max(job.attempt, 1),
        "step": said.get("step"),
        "total": said.get("total"),
        "message": said.get("message"),
        "position": position,
    }
