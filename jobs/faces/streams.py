"""The older editor's task as a stream: its state whenever that changes, unnamed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from accounts import authentication
from jobs.api.rendering import job_view, with_credits
from jobs.api.views import available_to
from jobs.faces.generation import GenerateView, TaskView, state_of
from jobs.faces.refusals import Manner
from jobs.faces.serving import JOB, Answer, settled, without_body
from jobs.following import streaming, waiting
from jobs.following.streaming import JobStream, message
from jobs.following.waiting import Seen
from jobs.models import Job
from jobs.requests.orders import Orderer
from jobs.submission import Accepted
from nijika.continuation import finish_on_thread, stream
from nijika.errors import NijikaError


class TaskStreamView(TaskView):
    def get(self, request: HttpRequest, task_id: str) -> HttpResponseBase:
        return _followed(request, self.own(task_id))


class GenerateStreamView(GenerateView):
    """Accept the order and tell at once what becomes of it."""

    def finished(
        self,
        request: HttpRequest,
        accepting: Future[Accepted],
        how: Answer,
        orderer: Orderer,
    ) -> HttpResponseBase:
        rest = without_body(request)
        begin = partial(_begun, rest, self.manner, self.old_names)
        return finish_on_thread(request, settled(accepting), begin)


def _begun(
    request: HttpRequest,
    manner: Manner,
    old_names: dict[str, str],
    accepted: Accepted | BaseException,
) -> HttpResponseBase:
    if isinstance(accepted, NijikaError):
        return manner.refuse(accepted, old_names)
    if isinstance(accepted, BaseException):
        raise accepted
    response = _followed(request, accepted.job)
    if accepted.replayed:
        response["Idempotency-Replayed"] = "true"
    return response


def _followed(request: HttpRequest, job: Job) -> HttpResponseBase:
    feed = TaskStream(job, is_let_in=authentication.watch(request.META))
    response = stream(request, feed, content_type=streaming.CONTENT_TYPE)
    for name, value in streaming.HEADERS.items():
        response[name] = value
    response[JOB] = str(job.pk)
    return with_credits(response, job, available_to(job))


class TaskStream(JobStream):
    """Every change, and every 5 seconds without one the same again. The end comes
    twice, the second time with its `result`."""

    idle_s = 5.0

    def __init__(self, job: Job, *, is_let_in: Callable[[], bool]) -> None:
        super().__init__(job, is_let_in=is_let_in)
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
