"""The older editor's task as a stream: its state whenever that changes, unnamed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase

from jobs import streaming, waiting
from jobs.api.rendering import job_view, with_credits
from jobs.api.views import available_to
from jobs.faces.generation import TaskView, state_of
from jobs.models import Job
from jobs.streaming import JobStream, message
from jobs.waiting import Seen
from nijika.continuation import stream


class TaskStreamView(TaskView):
    def get(self, request: HttpRequest, task_id: str) -> HttpResponseBase:
        job = self.own(task_id)
        response = stream(request, TaskStream(job), content_type=streaming.CONTENT_TYPE)
        for name, value in streaming.HEADERS.items():
            response[name] = value
        return with_credits(response, job, available_to(job))


class TaskStream(JobStream):
    """Every change, and every 5 seconds without one the same again. The end comes
    twice, the second time with its `result`."""

    idle_s = 5.0

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._state = state_of(job)
        self._begun = False

    def render(self, seen: Seen) -> bytes:
        state = state_of(seen.job)
        if self._begun and state == self._state:
            return b""
        self._begun, self._state = True, state
        piece = message(state)
        if waiting.has_ended(seen.job):
            piece += message(state | {"result": _result(seen.job)})
        return piece

    def idle(self) -> bytes:
        return message(self._state)


def _result(job: Job) -> dict[str, Any] | None:
    """Where the picture is. It would be large as text, and hundreds may listen."""
    results = job_view(job)["results"]
    return results[0] if results else None
