"""One job: what was asked for, what came of it and when; cancel, run again, erase."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from accounts import browsers
from jobs import lifecycle, retention
from jobs.api import wishes
from jobs.api.events import EventStream, last_event_id
from jobs.api.rendering import job_view
from jobs.following import streaming
from jobs.models import Job, JobEvent, WebhookDelivery
from jobs.pages import requests, words
from jobs.pages.base import PersonPage, owner_of
from jobs.requests import again
from nijika.continuation import stream
from nijika.errors import NijikaError


class JobPage(PersonPage):
    def get(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job, over = self.own_job(job_id)
        view = job_view(job)
        return self.show(
            "jobs/job.html",
            job=job,
            view=view,
            words=words.operation(job.operation),
            error=words.error(job.error),
            waiting=words.waiting(view["waiting"]),
            events=_events(job),
            results=[] if over else _results(job),
            inputs=_inputs(job, over=over),
            over=over,
            may_run_again=again.may_run_again(job),
            again_key=f"again {self.request_id}",
            parameters=_json(job.parameters),
            then=_json(job.then) if job.then else "",
            metadata=_json(job.metadata) if job.metadata else "",
            requests=requests.of_job(job),
            deliveries=_deliveries(job),
        )


class Cancel(PersonPage):
    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job, _ = self.own_job(job_id)
        try:
            lifecycle.cancel(job.pk, **owner_of(job))
        except NijikaError as error:
            messages.error(request, str(error))
        return redirect("pages:job", job_id=job_id)


class RunAgain(PersonPage):
    """The form's key guards against a second click."""

    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job, _ = self.own_job(job_id)
        key = request.POST.get("key", "")[: wishes.MOST_KEY_LENGTH]
        try:
            orderer = self.orderer(test=job.test, idempotency_key=key or None)
            accepted = again.run_again(job, orderer)
        except NijikaError as error:
            messages.error(request, str(error))
            return redirect("pages:job", job_id=job_id)
        return redirect("pages:job", job_id=str(accepted.job.pk))


class Erase(PersonPage):
    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job, _ = self.own_job(job_id)
        try:
            retention.erase(job.pk, **owner_of(job))
            messages.success(request, "The files of this job are erased.")
        except NijikaError as error:
            messages.error(request, str(error))
        return redirect("pages:job", job_id=job_id)


class Events(PersonPage):
    """The job's events while they happen, as the API streams them."""

    def get(self, request: HttpRequest, job_id: str) -> HttpResponseBase:
        job, _ = self.own_job(job_id)
        is_let_in = partial(browsers.is_signed_in, request.session.session_key)
        feed = EventStream(job, is_let_in=is_let_in, after=last_event_id(request))
        response = stream(request, feed, content_type=streaming.CONTENT_TYPE)
        for name, value in streaming.HEADERS.items():
            response[name] = value
        return response


def _events(job: Job) -> list[dict[str, Any]]:
    found = JobEvent.objects.filter(job=job).order_by("id")[:200]
    return [
        {
            "type": one.type,
            "text": words.event(one.type, one.reason),
            "attempt": one.attempt,
            "created_at": one.created_at,
        }
        for one in found
    ]


def _results(job: Job) -> list[dict[str, Any]]:
    if job.erased_at:
        return []
    return [
        one
        | {
            "is_image": one["content_type"].startswith("image/"),
            "preview": f"/jobs/{job.pk}/{one['index']}/preview",
            "file": f"/jobs/{job.pk}/result/{one['index']}",
        }
        for one in job.results
    ]


def _inputs(job: Job, *, over: bool) -> list[dict[str, Any]]:
    first = next((n for n, one in enumerate(job.inputs) if one["key"]), None)
    return [
        one
        | {
            "has_file": bool(one["key"]) and not over,
            # On the fly only the first input can be shown small.
            "preview": f"/jobs/{job.pk}/input/preview" if n == first else "",
            "file": f"/jobs/{job.pk}/inputs/{n}",
        }
        for n, one in enumerate(job.inputs)
    ]


def _deliveries(job: Job) -> list[WebhookDelivery]:
    rows = WebhookDelivery.objects.filter(
        user_id=job.user_id, test=job.test, created_at__gte=job.created_at
    )
    # By the list's index: this job's are among the first after its making.
    near = rows.order_by("created_at")[:500]
    return [one for one in near if one.job_id == job.pk][:10]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
