"""Webhooks over HTTP: endpoints, their secrets, what was sent, replay and ping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from accounts.authentication import Scope
from jobs.accepting import idempotency
from jobs.api import pages, parsing, wishes
from jobs.api.base import ApiView
from jobs.api.rendering import API, answer, page_view, time_text
from jobs.errors import BadFields, FieldError
from jobs.ids import new_id
from jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from jobs.parsing import strict_json
from jobs.requests.inputs import job_id_of
from jobs.webhooks import deliveries, endpoints, events
from jobs.webhooks.deliveries import Range
from jobs.webhooks.endpoints import LONGEST_URL, AccountSecret, Change, Owner
from jobs.webhooks.errors import DeliveryNotFound, EndpointNotFound
from jobs.webhooks.rendering import event_id
from nijika.errors import NotFound

LONGEST_DESCRIPTION = 200
DELIVERY_FILTERS = frozenset({"endpoint", "job", "status", "type"})
READ: Scope = "webhooks:read"
WRITE: Scope = "webhooks:write"

Types = Mapping[str, tuple[type, str]]
MEMBERS: Types = {
    "url": (str, "must be of type string"),
    "events": (list, "must be of type array"),
    "description": (str, "must be of type string"),
}
CHANGES: Types = {**MEMBERS, "enabled": (bool, "must be of type boolean")}
REPLAY: Types = {
    "since": (str, "must be of type string"),
    "until": (str, "must be of type string"),
    "status": (str, "must be of type string"),
}


class WebhookView(ApiView):
    """What belongs to the caller: a user in a mode."""

    @property
    def owner(self) -> Owner:
        return Owner(user_id=self.caller.user_id, test=self.caller.test)


class EndpointsView(WebhookView):
    scopes = {"GET": READ, "POST": WRITE}
    queries = {"GET": pages.PAGE}

    def post(self, request: HttpRequest) -> HttpResponse:
        body = _body(request, MEMBERS, required=("url", "events"))
        wish = wishes.once(request, self.caller, "webhook endpoint", body)
        fresh = new_id()
        with transaction.atomic():
            endpoint_id = idempotency.claim(wish, fresh)
            if endpoint_id == fresh:
                endpoint = endpoints.create(self.owner, endpoint_id=fresh, **body)
            else:
                endpoint = endpoints.find(self.owner, endpoint_id)
        response = answer(_with_secret(endpoint), status=201)
        response["Location"] = _url(endpoint)
        if endpoint_id != fresh:
            response["Idempotency-Replayed"] = "true"
        return response

    def get(self, request: HttpRequest) -> HttpResponse:
        page = pages.page_of(self.query, "webhook-endpoints")
        after = UUID(page.after) if page.after else None
        found = endpoints.listed(self.owner, after=after, limit=page.limit + 1)
        shown = found[: page.limit]
        more = len(found) > page.limit
        cursor = pages.cursor("webhook-endpoints", str(shown[-1].pk)) if more else None
        return answer(page_view([endpoint_view(one) for one in shown], cursor))


class EndpointView(WebhookView):
    scopes = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}

    def get(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        return answer(endpoint_view(endpoints.find(self.owner, _endpoint(endpoint_id))))

    def patch(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        wanted = Change(**_body(request, CHANGES))
        changed = endpoints.change(self.owner, _endpoint(endpoint_id), wanted)
        return answer(endpoint_view(changed))

    def delete(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        endpoints.remove(self.owner, _endpoint(endpoint_id))
        return HttpResponse(status=204)


class EndpointSecretView(WebhookView):
    """The secret again: for whoever lost what the creation showed."""

    scopes = {"GET": WRITE}

    def get(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        found = endpoints.find(self.owner, _endpoint(endpoint_id))
        return answer(_secret_view(found))


class RotateView(WebhookView):
    scopes = {"POST": WRITE}
    takes_nothing = True

    def post(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        rotated = endpoints.rotate(self.owner, _endpoint(endpoint_id))
        return answer(_secret_view(rotated))


class PingView(WebhookView):
    scopes = {"POST": WRITE}
    takes_nothing = True

    def post(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        made = deliveries.ping(self.owner, _endpoint(endpoint_id))
        return _sent(made)


class ReplayRangeView(WebhookView):
    scopes = {"POST": WRITE}

    def post(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        body = _body(request, REPLAY, required=("since", "until"))
        wanted = Range(
            since=pages.time_of("since", body),
            until=pages.time_of("until", body),
            status=body.get("status", WebhookDelivery.Status.FAILED),
        )
        if wanted.status not in ENDED:
            raise _bad("status", "choice", f"must be one of {', '.join(ENDED)}")
        number = deliveries.replay_range(self.owner, _endpoint(endpoint_id), wanted)
        return answer({"replayed": number}, status=202)


ENDED = (WebhookDelivery.Status.FAILED.value, WebhookDelivery.Status.DELIVERED.value)


class AccountSecretView(WebhookView):
    """What signs for the `webhook_url` of the caller's jobs."""

    scopes = {"GET": WRITE}

    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(_account_secret_view(endpoints.account_secret(self.owner)))


class RotateAccountSecretView(WebhookView):
    scopes = {"POST": WRITE}
    takes_nothing = True

    def post(self, request: HttpRequest) -> HttpResponse:
        return answer(_account_secret_view(endpoints.rotate_account_secret(self.owner)))


class DeliveriesView(WebhookView):
    scopes = {"GET": READ}
    queries = {"GET": pages.PAGE | DELIVERY_FILTERS}

    def get(self, request: HttpRequest) -> HttpResponse:
        page = pages.page_of(self.query, "webhook-deliveries")
        rows = deliveries.of(self.owner).filter(**_filters(self.query))
        if page.after:
            created_at, _, delivery_id = page.after.partition("/")
            rows = rows.extra(
                where=["(created_at, id) < (%s, %s)"],
                params=[datetime.fromisoformat(created_at), UUID(delivery_id)],
            )
        found = list(rows.order_by("-created_at", "-id")[: page.limit + 1])
        shown = found[: page.limit]
        cursor = _cursor(shown[-1]) if len(found) > page.limit else None
        return answer(page_view([delivery_view(one) for one in shown], cursor))


class DeliveryView(WebhookView):
    scopes = {"GET": READ}

    def get(self, request: HttpRequest, delivery_id: str) -> HttpResponse:
        delivery = deliveries.find(self.owner, _delivery(delivery_id))
        log = [_attempt_view(one) for one in deliveries.log_of(delivery)]
        return answer(delivery_view(delivery) | {"log": log})


class ReplayView(WebhookView):
    scopes = {"POST": WRITE}
    takes_nothing = True

    def post(self, request: HttpRequest, delivery_id: str) -> HttpResponse:
        return _sent(deliveries.replay(self.owner, _delivery(delivery_id)))


# What is shown


def endpoint_view(endpoint: WebhookEndpoint) -> dict[str, Any]:
    until = endpoints.both_until(endpoint.rotated_at)
    return {
        "id": str(endpoint.pk),
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "enabled": endpoint.disabled_at is None,
        "disabled_at": time_text(endpoint.disabled_at),
        "disabled_by": endpoint.disabled_by or None,
        "created_at": time_text(endpoint.created_at),
        "old_secret_until": time_text(until),
        "test": endpoint.test,
    }


def delivery_view(delivery: WebhookDelivery) -> dict[str, Any]:
    is_pending = delivery.status == WebhookDelivery.Status.PENDING
    return {
        "id": str(delivery.pk),
        "event_id": event_id(delivery.event_id),
        "type": delivery.type,
        "endpoint_id": _text(delivery.endpoint_id),
        "job_id": _text(delivery.job_id),
        "status": delivery.status,
        "attempts": delivery.attempts,
        "created_at": time_text(delivery.created_at),
        "next_at": time_text(delivery.next_at) if is_pending else None,
        "ended_at": time_text(delivery.ended_at),
    }


def _attempt_view(attempt: WebhookAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": time_text(attempt.at),
        "status": attempt.status,
        "error": attempt.error or None,
        "milliseconds": attempt.milliseconds,
        "answer": attempt.answer,
    }


def _with_secret(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return endpoint_view(endpoint) | {"secret": endpoints.secret_of(endpoint)}


def _secret_view(endpoint: WebhookEndpoint) -> dict[str, Any]:
    until = time_text(endpoints.both_until(endpoint.rotated_at))
    return {"secret": endpoints.secret_of(endpoint), "old_secret_until": until}


def _account_secret_view(account: AccountSecret) -> dict[str, Any]:
    until = time_text(account.both_until)
    return {"secret": account.secret, "old_secret_until": until}


def _sent(delivery: WebhookDelivery) -> HttpResponse:
    response = answer(delivery_view(delivery), status=202)
    response["Location"] = f"{_list_url('webhook-deliveries')}/{delivery.pk}"
    return response


def _url(endpoint: WebhookEndpoint) -> str:
    return f"{_list_url('webhook-endpoints')}/{endpoint.pk}"


def _list_url(name: str) -> str:
    return f"{settings.PUBLIC_URL}{API}/{name}"


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


# What is read


def _body(
    request: HttpRequest, types: Types, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The members of the JSON body. Raises BadFields."""
    body = parsing.json_object(request)
    if problems := list(_problems(body, types, required)):
        raise BadFields(*problems[:20])
    return body


def _problems(
    body: Mapping[str, Any], types: Types, required: tuple[str, ...]
) -> Iterator[FieldError]:
    for name in body:
        if name not in types:
            known = strict_json.printable(name)
            yield FieldError(known, "unknown", "is not a member here")
    for name in required:
        if name not in body:
            yield FieldError(name, "required", "is missing")
    for name, (kind, message) in types.items():
        if name in body and not isinstance(body[name], kind):
            yield FieldError(name, "type", message)
    yield from _length_problems(body)
    yield from _event_problems(body.get("events"))


def _length_problems(body: Mapping[str, Any]) -> Iterator[FieldError]:
    url, description = body.get("url"), body.get("description")
    if isinstance(url, str) and not 0 < len(url) <= LONGEST_URL:
        what = f"must have 1 to {LONGEST_URL} characters"
        yield FieldError("url", "length", what)
    if isinstance(description, str) and len(description) > LONGEST_DESCRIPTION:
        what = f"must have {LONGEST_DESCRIPTION} characters or fewer"
        yield FieldError("description", "length", what)


def _event_problems(wanted: Any) -> Iterator[FieldError]:
    if not isinstance(wanted, list):
        return
    if not 0 < len(wanted) <= len(events.TYPES):
        what = f"must have 1 to {len(events.TYPES)} items"
        yield FieldError("events", "length", what)
    for number, one in enumerate(wanted[: len(events.TYPES)]):
        if one not in events.TYPES:
            what = f"must be one of {', '.join(events.TYPES)}"
            yield FieldError(f"events.{number}", "choice", what)
        elif one in wanted[:number]:
            yield FieldError(f"events.{number}", "repeated", "is given twice")


def _filters(query: Mapping[str, str]) -> dict[str, Any]:
    """Raises BadFields; an id that cannot be finds nothing."""
    found: dict[str, Any] = {}
    for name, column in (("endpoint", "endpoint_id"), ("job", "job_id")):
        if name in query:
            wanted = job_id_of(query[name])
            if wanted is None:
                raise _bad(name, "format", "is not an id")
            found[column] = wanted
    if "status" in query:
        if query["status"] not in WebhookDelivery.Status.values:
            known = ", ".join(WebhookDelivery.Status.values)
            raise _bad("status", "choice", f"must be one of {known}")
        found["status"] = query["status"]
    if "type" in query:
        if query["type"] not in (*events.TYPES, events.PING):
            known = ", ".join((*events.TYPES, events.PING))
            raise _bad("type", "choice", f"must be one of {known}")
        found["type"] = query["type"]
    return found


def _cursor(delivery: WebhookDelivery) -> str:
    after = f"{delivery.created_at.isoformat()}/{delivery.pk}"
    return pages.cursor("webhook-deliveries", after)


def _endpoint(text: str) -> UUID:
    return _id(text, EndpointNotFound)


def _delivery(text: str) -> UUID:
    return _id(text, DeliveryNotFound)


def _id(text: str, missing: type[NotFound]) -> UUID:
    """One that cannot exist is like one that is not yours."""
    found = job_id_of(text)
    if found is None:
        raise missing
    return found


def _bad(field: str, code: str, message: str) -> BadFields:
    return BadFields(FieldError(field, code, message))
