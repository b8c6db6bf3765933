"""Batches over HTTP: many jobs in one request, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from billing import ledger
from jobs import batches
from jobs.accepting import idempotency
from jobs.accepting.idempotency import Wish
from jobs.api import pages, parsing, wishes
from jobs.api.base import ApiView
from jobs.api.rendering import (
    answer,
    batch_url,
    batch_view,
    credits_text,
    job_view,
    page_view,
)
from jobs.batches import NewBatch, Summary
from jobs.errors import (
    BadFields,
    BatchNotCompleted,
    BatchNotFound,
    FieldError,
    within,
)
from jobs.files import archives
from jobs.files.archives import ArchiveFeed
from jobs.ids import new_id
from jobs.models import Batch
from jobs.parsing import strict_json
from jobs.requests import orders
from jobs.requests.inputs import job_id_of
from jobs.requests.orders import Order, Orderer
from nijika.continuation import stream

MEMBERS = ("items", "metadata")


class BatchesView(ApiView):
    scopes = {"GET": "jobs:read", "POST": "jobs:write"}
    queries = {"GET": pages.PAGE}

    def post(self, request: HttpRequest) -> HttpResponse:
        orderer = Orderer(
            user_id=self.caller.user_id,
            test=self.caller.test,
            request_id=self.request_id,
            idempotency_key=wishes.idempotency_key(request),
            provider_keys=wishes.provider_keys(request),
        )
        body = parsing.json_object(request)
        _check(body)
        batch_id, replayed = batches.accept(
            _new(_orders(body["items"]), body.get("metadata", {}), orderer)
        )
        response = self.shown(batch_id, status=202)
        response["Location"] = batch_url(batch_id)
        if replayed:
            response["Idempotency-Replayed"] = "true"
        return response

    def get(self, request: HttpRequest) -> HttpResponse:
        page = pages.page_of(self.query, "batches")
        mine = Batch.objects.filter(**self.owner)
        mine = pages.later(mine, page.after).order_by("-created_at", "-id")
        found = list(mine[: page.limit + 1])
        shown = found[: page.limit]
        more = None
        if len(found) > page.limit:
            more = pages.cursor("batches", pages.place(shown[-1]))
        views = [batch_view(one) for one in batches.summaries(shown)]
        return answer(page_view(views, more))

    @property
    def owner(self) -> dict[str, Any]:
        return {"user_id": self.caller.user_id, "test": self.caller.test}

    def summary(self, batch_id: str) -> Summary:
        return batches.find(_id_of(batch_id), **self.owner)

    def shown(self, batch_id: UUID, *, status: int = 200) -> HttpResponse:
        summary = batches.find(batch_id, **self.owner)
        response = answer(batch_view(summary), status=status)
        available = ledger.balance(self.caller.user_id)[0]
        response["X-Credits-Charged"] = credits_text(summary.charged)
        response["X-Credits-Remaining"] = credits_text(available)
        return response


class BatchView(BatchesView):
    scopes = {"GET": "jobs:read"}
    queries = {}
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, batch_id: str) -> HttpResponse:  # type: ignore[override]
        return self.shown(_id_of(batch_id))


class BatchCancelView(BatchesView):
    scopes = {"POST": "jobs:write"}
    takes_nothing = True
    queries = {}
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, batch_id: str) -> HttpResponse:  # type: ignore[override]
        batches.cancel(_id_of(batch_id), **self.owner)
        return self.shown(_id_of(batch_id))


class BatchJobsView(BatchesView):
    scopes = {"GET": "jobs:read"}
    queries = {"GET": pages.PAGE | {"status"}}
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, batch_id: str) -> HttpResponse:  # type: ignore[override]
        summary = self.summary(batch_id)
        kind = f"jobs of {summary.batch.pk}"
        page = pages.page_of(self.query, kind)
        jobs = pages.filtered(batches.jobs_of(summary.batch.pk), self.query)
        if page.after:
            jobs = jobs.filter(batch_index__gt=int(page.after))
        found = list(jobs[: page.limit + 1])
        shown = found[: page.limit]
        more = None
        if len(found) > page.limit:
            more = pages.cursor(kind, str(shown[-1].batch_index))
        return answer(page_view([job_view(job) for job in shown], more))


class BatchResultsView(BatchesView):
    scopes = {"GET": "jobs:read"}
    queries = {}
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, batch_id: str) -> HttpResponseBase:  # type: ignore[override]
        summary = self.summary(batch_id)
        if summary.unfinished:
            raise BatchNotCompleted(summary.unfinished)
        if request.method == "HEAD":
            response: HttpResponseBase = HttpResponse()
        else:
            response = stream(
                request, _feed(summary), content_type=archives.CONTENT_TYPE
            )
        response["Content-Type"] = archives.CONTENT_TYPE
        name = f"batch-{str(summary.batch.pk)[-12:]}.zip"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Cache-Control"] = "private, no-store"
        response["X-Content-Type-Options"] = "nosniff"
        return response


def _feed(summary: Summary) -> ArchiveFeed:
    jobs = batches.jobs_of(summary.batch.pk)
    return ArchiveFeed(archives.content_of(jobs, batch_view(summary)))


# Reading


def _check(body: Mapping[str, Any]) -> None:
    if problems := list(_problems(body)):
        raise BadFields(*problems[:20])


def _problems(body: Mapping[str, Any]) -> Iterator[FieldError]:
    for name in body:
        if name not in MEMBERS:
            known = strict_json.printable(name)
            yield FieldError(known, "unknown", "is not a member here")
    items = body.get("items")
    if "items" not in body:
        yield FieldError("items", "required", "is missing")
    elif not isinstance(items, list):
        yield FieldError("items", "type", "must be of type array")
    elif not 0 < len(items) <= settings.BATCH_LIMIT:
        what = f"must have 1 to {settings.BATCH_LIMIT} items"
        yield FieldError("items", "length", what)
    else:
        for number, item in enumerate(items):
            if not isinstance(item, dict):
                yield FieldError(f"items.{number}", "type", "must be of type object")
    if not isinstance(body.get("metadata", {}), dict):
        yield FieldError("metadata", "type", "must be of type object")
    yield from parsing.metadata_problems(body.get("metadata", {}))


def _orders(items: Sequence[Mapping[str, Any]]) -> list[Order]:
    """Raises BadFields with what is wrong in any of them."""
    problems: list[dict[str, str]] = []
    read: list[Order] = []
    for number, item in enumerate(items):
        try:
            read.append(parsing.json_order(item))
        except BadFields as bad:
            found = within(f"items.{number}", bad)
            problems += found.errors  # type: ignore[attr-defined]
    if problems:
        raise BadFields(*[FieldError(**one) for one in problems[:20]])
    return read


def _new(
    asked: Sequence[Order], metadata: dict[str, Any], orderer: Orderer
) -> NewBatch:
    batch_id = new_id()
    items = orders.prepare_batch(asked, orderer, batch_id)
    digest = idempotency.digest_of("batch", [metadata, [one.digest for one in items]])
    return NewBatch(
        id=batch_id,
        wish=Wish(
            user_id=orderer.user_id,
            test=orderer.test,
            key=orderer.idempotency_key,
            digest=digest,
        ),
        items=items,
        metadata=metadata,
        request_id=orderer.request_id,
    )


def _id_of(text: str) -> UUID:
    batch_id = job_id_of(text)
    if batch_id is None:
        raise BatchNotFound
    return batch_id
