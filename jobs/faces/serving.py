"""Submit an order, wait for its end, answer: with the bytes, or with JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, ClassVar, TypeVar

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)

from accounts import authentication
from jobs import lifecycle, results, submission
from jobs.api import wishes
from jobs.api.base import ApiView
from jobs.api.rendering import answer, with_credits
from jobs.errors import FileMissing, JobNotCancellable, ResultErased
from jobs.faces.reading import Fields, fields_of
from jobs.faces.refusals import (
    JobCancelled,
    JobFailed,
    Manner,
    StillRunning,
    TimedOut,
)
from jobs.following import waiting
from jobs.following.waiting import Waited
from jobs.models import Job
from jobs.requests import orders
from jobs.requests.orders import Order, Orderer
from jobs.storage import store
from nijika.continuation import finish_on_thread, send_file
from nijika.errors import NijikaError

CHUNK_BYTES = 1 << 18
JOB = "X-Job-Id"
SANDBOX = "X-Sandbox"
T = TypeVar("T")

Answer = Callable[[HttpRequest, Job], HttpResponseBase]


class FaceView(ApiView):
    """A view whose refusals are in the manner of the system that it stands for."""

    manner: ClassVar[Manner]
    old_names: dict[str, str]

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        self.old_names = {}
        try:
            return super().dispatch(request, *args, **kwargs)
        except NijikaError as error:
            return self.manner.refuse(error, self.old_names)

    @property
    def owner(self) -> dict[str, Any]:
        """What a job must have to be this caller's."""
        return {"user_id": self.caller.user_id, "test": self.caller.test}


class OrderFace(FaceView):
    """A POST that becomes an order: `order` says which, `answer` what comes of it."""

    scopes = {"POST": "jobs:write"}
    http_method_names = ["post", "options"]
    light: ClassVar[bool] = False
    """Whether it is work of a moment, which nobody waits long for."""

    def order(self, fields: Fields) -> Order:
        raise NotImplementedError

    def answer(self, request: HttpRequest, fields: Fields) -> Answer:
        """How to answer; must keep nothing that is large."""
        return send_bytes

    def post(self, request: HttpRequest) -> HttpResponseBase:
        orderer = self.orderer(request)
        with fields_of(request) as fields:
            self.old_names = fields.old_names
            order = self.order(fields)
            fields.finish()
            item = orders.prepare(order, orderer)
            how = self.answer(request, fields)
        accepting = submission.combiner().offer(item)
        return self.finished(request, accepting, how, orderer)

    def orderer(self, request: HttpRequest) -> Orderer:
        return Orderer(
            user_id=self.caller.user_id,
            test=self.caller.test,
            request_id=self.request_id,
            idempotency_key=wishes.idempotency_key(request),
            provider_keys=wishes.provider_keys(request),
        )

    def finished(
        self,
        request: HttpRequest,
        accepting: Future[submission.Accepted],
        how: Answer,
        orderer: Orderer,
    ) -> HttpResponseBase:
        long_s, short_s = settings.FACE_EDIT_TIMEOUT_S, settings.FACE_TIMEOUT_S
        timeout_s = short_s if self.light else long_s
        ending = Ending(
            request=without_body(request),
            how=how,
            manner=self.manner,
            old_names=self.old_names,
            may_return=orderer.idempotency_key is not None,
        )
        admit = authentication.later(request.META)
        waited = settled(waiting.wait_after(accepting, timeout_s, admit=admit))
        return finish_on_thread(
            request,
            waited,
            ending.render,
            timeout_s=timeout_s + wishes.SPARE_S,
            on_gone=waited.cancel,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is needed to answer when a job has ended. Small: many may wait.

    `may_return`: the client can take up the waiting again, by its key.
    """

    request: HttpRequest
    how: Answer
    manner: Manner
    old_names: dict[str, str]
    may_return: bool

    def render(self, waited: Waited | BaseException) -> HttpResponseBase:
        """On a thread. Raises what refuses the order, and how its job failed."""
        try:
            return self._rendered(waited)
        except NijikaError as error:
            return self.manner.refuse(error, self.old_names)

    def _rendered(self, waited: Waited | BaseException) -> HttpResponseBase:
        if isinstance(waited, BaseException):
            raise waited
        job, available = waited.seen.job, waited.seen.available
        if not waiting.has_ended(job):
            job = self._given_up(job)
        response = self.how(self.request, succeeded(job))
        response[JOB] = str(job.pk)
        if job.test:
            response[SANDBOX] = "true"
        if waited.accepted.replayed:
            response["Idempotency-Replayed"] = "true"
        return with_credits(response, job, available)

    def _given_up(self, job: Job) -> Job:
        """The job after all, if it has ended in this very moment.

        Who has no key to come again with could never fetch the result, so their job is
        cancelled and costs nothing.
        """
        if self.may_return:
            raise StillRunning(job)
        owner: dict[str, Any] = {"user_id": job.user_id, "test": job.test}
        try:
            lifecycle.cancel(job.pk, **owner)
        except JobNotCancellable:
            return results.find(job.pk, **owner)[0]
        raise TimedOut(job)


def succeeded(job: Job) -> Job:
    """Raises JobFailed and JobCancelled."""
    if job.status == Job.Status.FAILED:
        raise JobFailed(job)
    if job.status == Job.Status.CANCELLED:
        raise JobCancelled(job)
    return job


def without_body(request: HttpRequest) -> HttpRequest:
    """What is left to know of a request whose body has been read and is let go."""
    rest = HttpRequest()
    rest.META, rest.method = request.META, request.method
    return rest


def settled(future: Future[T]) -> Future[T | BaseException]:
    """A future that gives an error as its result, so that rendering may word it."""
    outcome: Future[T | BaseException] = Future()
    outcome.add_done_callback(lambda one: one.cancelled() and future.cancel())
    future.add_done_callback(partial(_pass_on, outcome))
    return outcome


def _pass_on(outcome: Future[Any], future: Future[Any]) -> None:
    if future.cancelled():
        outcome.cancel()
    elif outcome.set_running_or_notify_cancel():
        outcome.set_result(future.exception() or future.result())


# Answers


def send_bytes(request: HttpRequest, job: Job) -> HttpResponseBase:
    """The first result itself."""
    result = results.result_of(job, 0, over=False)
    key, content_type = result["key"], result["content_type"]
    path = store().path(key)
    response: HttpResponseBase
    try:
        if path is not None:
            response = send_file(request, path, content_type=content_type)
        else:
            file = store().open(key)
            response = StreamingHttpResponse(_chunks(file), content_type=content_type)
            response["Content-Length"] = str(result["size_bytes"])
    except (FileNotFoundError, FileMissing):
        raise ResultErased from None
    response["Cache-Control"] = "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def base64_of(job: Job, index: int = 0) -> str:
    """A result as text. Raises ResultErased."""
    result = results.result_of(job, index, over=False)
    try:
        with store().open(result["key"]) as file:
            return base64.b64encode(file.read()).decode()
    except FileMissing:
        raise ResultErased from None


def json_answer(members: Callable[[Job], dict[str, Any]]) -> Answer:
    """An answer in JSON with `success`, these members, and no error."""

    def render(request: HttpRequest, job: Job) -> HttpResponse:
        return answer({"success": True, **members(job), "error": None})

    return render


def wants_bytes(request: HttpRequest, fields: Fields) -> bool:
    """Whether an image is wanted rather than JSON: as `Accept` says; where it says
    nothing, JSON is answered with JSON and a form with the image."""
    accepted = request.META.get("HTTP_ACCEPT", "").lower()
    if "image/" in accepted:
        return True
    return fields.is_form and "json" not in accepted
