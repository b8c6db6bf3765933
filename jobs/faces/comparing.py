"""`/generate/multi-steps`: the same picture with few steps and with many, side by side.

One request, one batch: all pictures are accepted or none, each is a job of its own, and
the answer has them all.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts import authentication
from jobs import batches
from jobs.accepting import idempotency
from jobs.accepting.idempotency import Wish
from jobs.api import wishes
from jobs.api.rendering import answer, credits_text
from jobs.batches import NewBatch
from jobs.faces.generation import GenerateView
from jobs.faces.reading import fields_of
from jobs.faces.refusals import Manner, StillRunning, TimedOut
from jobs.faces.serving import SANDBOX, base64_of, settled, succeeded
from jobs.following import waiting
from jobs.following.waiting import Admit, Seen
from jobs.ids import new_id
from jobs.models import Job
from jobs.requests import orders
from jobs.requests.inputs import Given
from jobs.requests.orders import Order, Orderer
from nijika.continuation import finish_on_thread
from nijika.errors import NijikaError

STEPS = (5, 10, 25)
SEED = 42
"""The older clients' own: pictures from different seeds could not be compared."""
_PLACE = re.compile(r"^items\.[0-9]+\.")


class MultiStepsView(GenerateView):
    """Wait for all the pictures; JSON."""

    def post(self, request: HttpRequest) -> HttpResponseBase:
        orderer = self.orderer(request)
        with fields_of(request) as fields:
            self.old_names = fields.old_names
            fields.take("num_inference_steps", "integer")  # each picture has its own
            order = self.order(fields)
            fields.finish()
            batch_id, replayed = self._accepted(order, orderer)
        ending = Ending(
            batch_id=batch_id,
            owner=self.owner,
            manner=self.manner,
            replayed=replayed,
            may_return=orderer.idempotency_key is not None,
        )
        admit = authentication.later(request.META)
        ended = settled(self._ends(batch_id, admit))
        return finish_on_thread(
            request,
            ended,
            ending.render,
            timeout_s=settings.FACE_EDIT_TIMEOUT_S + wishes.SPARE_S,
            on_gone=ended.cancel,
        )

    def _accepted(self, order: Order, orderer: Orderer) -> tuple[UUID, bool]:
        orders.check(order, test=orderer.test, own_keys=orderer.provider_keys)
        try:
            return batches.accept(_batch(order, orderer))
        except NijikaError as error:
            for one in getattr(error, "errors", ()):
                one["field"] = _PLACE.sub("", one["field"])
            raise

    def _ends(self, batch_id: UUID, admit: Admit) -> Future[list[Seen]]:
        timeout_s = settings.FACE_EDIT_TIMEOUT_S
        ids = batches.find(batch_id, **self.owner).jobs
        return together(
            [waiting.wait(one, timeout_s, **self.owner, admit=admit) for one in ids]
        )


def _batch(order: Order, orderer: Orderer) -> NewBatch:
    batch_id = new_id()
    items = orders.prepare_batch(_orders(order), orderer, batch_id)
    return NewBatch(
        id=batch_id,
        wish=Wish(
            user_id=orderer.user_id,
            test=orderer.test,
            key=orderer.idempotency_key,
            digest=idempotency.digest_of("steps", [one.digest for one in items]),
        ),
        items=items,
        request_id=orderer.request_id,
    )


def _orders(order: Order) -> list[Order]:
    """The order once for each number of steps, with files that are read apart."""
    contents = [
        None if image.file is None else image.file.read() for image in order.images
    ]

    def images() -> list[Given]:
        return [
            image if content is None else replace(image, file=io.BytesIO(content))
            for image, content in zip(order.images, contents, strict=True)
        ]

    return [
        replace(
            order,
            parameters={"seed": SEED, **order.parameters, "steps": steps},
            images=images(),
        )
        for steps in STEPS
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is needed to answer when all have ended.

    `may_return`: the client can take up the waiting again, by its key.
    """

    batch_id: UUID
    owner: dict[str, Any]
    manner: Manner
    replayed: bool
    may_return: bool

    def render(self, ended: list[Seen] | BaseException) -> HttpResponseBase:
        """On a thread."""
        try:
            return self._rendered(ended)
        except NijikaError as error:
            return self.manner.refuse(error, {})

    def _rendered(self, ended: list[Seen] | BaseException) -> HttpResponse:
        if isinstance(ended, BaseException):
            raise ended
        jobs = [seen.job for seen in ended]
        if late := [job for job in jobs if not waiting.has_ended(job)]:
            jobs = self._given_up(late[0])
        response = answer(self._content([succeeded(job) for job in jobs]))
        charged = sum((job.charged for job in jobs), Decimal())
        response["X-Credits-Charged"] = credits_text(charged)
        response["X-Credits-Remaining"] = credits_text(ended[-1].available)
        if jobs[0].test:
            response[SANDBOX] = "true"
        if self.replayed:
            response["Idempotency-Replayed"] = "true"
        return response

    def _given_up(self, late: Job) -> list[Job]:
        """The jobs after all, if the last has ended in this very moment."""
        if self.may_return:
            raise StillRunning(late)
        batches.cancel(self.batch_id, **self.owner)
        jobs = list(batches.jobs_of(self.batch_id))
        if any(job.status == Job.Status.CANCELLED for job in jobs):
            raise TimedOut(late)
        return jobs

    def _content(self, jobs: Sequence[Job]) -> dict[str, Any]:
        return {
            "success": True,
            "results": [_compared(job) for job in jobs],
            "batch_id": str(self.batch_id),
            "request_id": jobs[0].request_id,
            "error": None,
        }


def _compared(job: Job) -> dict[str, Any]:
    return {
        "num_inference_steps": job.parameters["steps"],
        "image": base64_of(job),
        "generation_time": (job.engine_ms or 0) / 1000,
        "task_id": str(job.pk),
    }


def together(futures: Sequence[Future[Seen]]) -> Future[list[Seen]]:
    """All results, in order, once the last is there; or the first's error.

    Cancelling ends the waiting for all.
    """
    ended: Future[list[Seen]] = Future()
    ended.add_done_callback(partial(_cancel_too, futures))
    left, lock = len(futures), threading.Lock()

    def arrived(_: Future[Seen]) -> None:
        nonlocal left
        with lock:
            left -= 1
            is_last = not left
        if is_last and ended.set_running_or_notify_cancel():
            _settle(ended, futures)

    for future in futures:
        future.add_done_callback(arrived)
    return ended


def _cancel_too(futures: Sequence[Future[Seen]], ended: Future[list[Seen]]) -> None:
    if ended.cancelled():
        for future in futures:
            future.cancel()


def _settle(ended: Future[list[Seen]], futures: Sequence[Future[Seen]]) -> None:
    try:
        ended.set_result([future.result() for future in futures])
    except Exception as error:
        ended.set_exception(error)
