"""The canonical API: parse, one call into the domain, render."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views import View

from accounts import authentication
from billing import ledger
from jobs import lifecycle, results, retention, submission
from jobs.api import catalogue, pages, parsing, wishes
from jobs.api.base import ApiView, id_of
from jobs.api.rendering import (
    JSON_HEADERS,
    answer,
    body_of,
    credit_headers,
    credits_text,
    entry_view,
    etag,
    job_answer,
    job_view,
    page_view,
    with_credits,
)
from jobs.errors import BadFields, FieldError, ResultErased
from jobs.files import links
from jobs.following import outlook, waiting
from jobs.following.waiting import Seen, Waited
from jobs.models import Job
from jobs.requests import inputs, orders
from jobs.requests.orders import Orderer
from jobs.submission import Accepted
from nijika.continuation import Plain, finish
from nijika.errors import Conflict


class JobsView(ApiView):
    scopes = {"GET": "jobs:read", "POST": "jobs:write"}
    queries = {"GET": pages.PAGE | pages.JOB_FILTERS}

    def post(self, request: HttpRequest) -> HttpResponse:
        orderer = Orderer(
            user_id=self.caller.user_id,
            test=self.caller.test,
            request_id=self.request_id,
            idempotency_key=wishes.idempotency_key(request),
            provider_keys=wishes.provider_keys(request),
        )
        with parsing.order_of(request) as order:
            item = orders.prepare(order, orderer)
        accepting = submission.combiner().offer(item)
        wait_s = wishes.preferred_wait_s(request)
        if wait_s is None:
            return finish(request, accepting, _accepted)
        waited = waiting.wait_after(
            accepting, wait_s, admit=authentication.later(request.META)
        )
        return finish(
            request,
            waited,
            partial(_waited, wait_s),
            timeout_s=wait_s + wishes.SPARE_S,
            on_gone=waited.cancel,
        )

    def get(self, request: HttpRequest) -> HttpResponse:
        page = pages.page_of(self.query, "jobs")
        jobs = Job.objects.filter(user_id=self.caller.user_id, test=self.caller.test)
        jobs = pages.later(pages.filtered(jobs, self.query), page.after)
        found = list(jobs.order_by("-created_at", "-id")[: page.limit + 1])
        shown = found[: page.limit]
        more = pages.job_cursor(shown[-1]) if len(found) > page.limit else None
        return answer(page_view([job_view(job) for job in shown], more))


def _accepted(accepted: Accepted) -> Plain:
    """Runs in the front's event loop: no query here."""
    job = accepted.job
    view = job_view(job)
    headers = JSON_HEADERS | credit_headers(job, accepted.available)
    headers["Location"] = view["urls"]["self"]
    if accepted.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Plain(202, headers, body_of(view))


def _waited(wait_s: int, waited: Waited) -> Plain:
    """In the front's event loop, too."""
    job, available = waited.seen.job, waited.seen.available
    now = replace(waited.accepted, job=job, available=available)
    _, headers, body = _accepted(now)
    headers["Preference-Applied"] = f"wait={wait_s}"
    return Plain(200 if waiting.has_ended(job) else 202, headers, body)


class JobView(ApiView):
    scopes = {"GET": "jobs:read", "DELETE": "jobs:write"}
    queries = {"GET": frozenset({"wait"})}

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except (Conflict, ResultErased) as error:
            job = self.own(kwargs["job_id"])
            credits = credit_headers(job, available_to(job))
            error.headers = {**error.headers, **credits}
            raise

    def get(self, request: HttpRequest, job_id: str) -> HttpResponseBase:
        wait_s = wishes.asked_wait_s(self.query)
        job = self.own(job_id)
        if wait_s is None or waiting.has_ended(job):
            return _shown(request, Seen(job=job, available=available_to(job)))
        seen = waiting.wait(
            job.pk, wait_s, **self.owner, admit=authentication.later(request.META)
        )
        return finish(
            request,
            seen,
            partial(_shown, request),
            timeout_s=wait_s + wishes.SPARE_S,
            on_gone=seen.cancel,
        )

    def delete(self, request: HttpRequest, job_id: str) -> HttpResponse:
        retention.erase(id_of(job_id), **self.owner)
        job = self.own(job_id)
        response = HttpResponse(status=204)
        return with_credits(response, job, available_to(job))

    @property
    def owner(self) -> dict[str, Any]:
        """What a job must have to be this caller's."""
        return {"user_id": self.caller.user_id, "test": self.caller.test}

    def own(self, job_id: str) -> Job:
        return results.find(id_of(job_id), **self.owner)[0]


def _shown(request: HttpRequest, seen: Seen) -> HttpResponse:
    """Perhaps in the front's event loop: no query here."""
    entity_tag = etag(seen.job)
    if results.matches(request, entity_tag):
        response = HttpResponse(status=304)
    else:
        response = job_answer(seen.job, seen.available)
    response["ETag"] = entity_tag
    response["Cache-Control"] = "private, no-cache"
    return response


def available_to(job: Job) -> Decimal:
    """What the job's owner may spend now."""
    return ledger.balance(job.user_id)[0]


class CancelView(JobView):
    scopes = {"POST": "jobs:write"}
    takes_nothing = True
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        lifecycle.cancel(id_of(job_id), **self.owner)
        job = self.own(job_id)
        return job_answer(job, available_to(job))


class ResultView(JobView):
    scopes = {"GET": "jobs:read"}
    queries = {}
    http_method_names = ["get", "head", "options"]

    def get(
        self, request: HttpRequest, job_id: str, index: int = 0
    ) -> HttpResponseBase:
        job, over = results.find(id_of(job_id), **self.owner)
        response = results.send(request, job, results.result_of(job, index, over=over))
        if response.status_code == 304:
            return response
        return with_credits(response, job, available_to(job))


class FileView(View):
    """A result by a signed link, for whoever has it."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, job_id: str, index: int) -> HttpResponseBase:
        links.check(
            job_id,
            index,
            expires=request.GET.get("expires", ""),
            signature=request.GET.get("signature", ""),
        )
        job, over = results.find(id_of(job_id))
        return results.send(request, job, results.result_of(job, index, over=over))


class OperationsView(ApiView):
    queries = {"GET": pages.PAGE}

    def get(self, request: HttpRequest) -> HttpResponse:
        page = pages.page_of(self.query, "operations")
        found = [one for one in catalogue.operations() if one["name"] > page.after]
        shown = found[: page.limit]
        more = len(found) > page.limit
        cursor = pages.cursor("operations", shown[-1]["name"]) if more else None
        return answer(page_view(shown, cursor))


class ProvidersView(ApiView):
    """Who edits images here: an object, or the bare list where `format=array` or
    `Accept` asks for that."""

    scopes = {"GET": "jobs:read"}
    queries = {"GET": frozenset({"format"})}

    def get(self, request: HttpRequest) -> HttpResponse:
        form = self.query.get("format", _form_of(request.META.get("HTTP_ACCEPT", "")))
        if form not in ("object", "array"):
            what = "must be one of object, array"
            raise BadFields(FieldError("format", "choice", what))
        known = catalogue.providers(test=self.caller.test)
        return answer(known["available"] if form == "array" else known)


def _form_of(accept: str) -> str:
    """What `Accept: application/json; format=array` asks for."""
    for one in accept.split(","):
        kind, _, options = one.replace(" ", "").lower().partition(";")
        if kind == "application/json" and "format=array" in options.split(";"):
            return "array"
    return "object"


class AccountView(ApiView):
    scopes = {"GET": "account:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        available, held = ledger.balance(self.caller.user_id)
        content = {
            "email": self.caller.email,
            "credits": {
                "available": credits_text(available),
                "held": credits_text(held),
            },
            "limits": catalogue.limits(),
            "test": self.caller.test,
        }
        return answer(content)


class LedgerView(ApiView):
    scopes = {"GET": "account:read"}
    queries = {"GET": pages.PAGE}

    def get(self, request: HttpRequest) -> HttpResponse:
        page = pages.page_of(self.query, "ledger")
        before = int(page.after) if page.after else None
        found = ledger.statement(
            self.caller.user_id, limit=page.limit + 1, before=before
        )
        shown = found[: page.limit]
        more = len(found) > page.limit
        cursor = pages.cursor("ledger", str(shown[-1].pk)) if more else None
        return answer(page_view([entry_view(entry) for entry in shown], cursor))


class EstimateView(ApiView):
    scopes = {"POST": "jobs:read"}

    def post(self, request: HttpRequest) -> HttpResponse:
        with parsing.order_of(request) as order:
            checked = orders.check(
                order,
                test=self.caller.test,
                images_optional=True,
                own_keys=wishes.provider_keys(request),
            )
            inputs.check(order.images)
            given = inputs.pixels_of(order.images)
        content = {
            "price": credits_text(checked.price),
            "own_key": checked.own_key,
            "operation": checked.spec.operation,
            "engine": checked.spec.engine,
            "queue": checked.spec.queue,
            "parameters": checked.parameters,
            "then": checked.then,
            **outlook.estimate(checked.spec, checked.parameters, given=given),
            "steps": [
                {
                    "operation": stage.spec.operation,
                    "engine": stage.spec.engine,
                    "price": credits_text(stage.price),
                }
                for stage in checked.stages
            ],
        }
        return answer(content)
