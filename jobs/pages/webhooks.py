"""Webhooks for people: endpoints with their secrets, and what was delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone

from jobs.api import pages
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.pages.base import PersonPage
from jobs.requests.inputs import job_id_of
from jobs.webhooks import deliveries, endpoints, events
from jobs.webhooks.endpoints import LONGEST_URL, Change, Owner
from jobs.webhooks.errors import DeliveryNotFound, EndpointNotFound
from nijika.errors import NijikaError, NotFound

PER_PAGE = 25
LONGEST_DESCRIPTION = 200
EVENTS = {
    events.STARTED: "A job has started",
    events.SUCCEEDED: "A job is done",
    events.FAILED: "A job has failed",
    events.CANCELLED: "A job was cancelled",
    events.BATCH_COMPLETED: "The last job of a batch has ended",
    events.CREDITS_LOW: "Credits run out",
}


class WebhookPage(PersonPage):
    @property
    def owner(self) -> Owner:
        return Owner(user_id=self.user_id, test=self.test)

    def to(self, path: str) -> HttpResponse:
        """To one of these pages, in the same mode."""
        mode = "?mode=test" if self.test else ""
        return redirect(f"/webhooks{path}{mode}")


class EndpointsPage(WebhookPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page()

    def post(self, request: HttpRequest) -> HttpResponse:
        form = _form(request)
        if problem := _problem(form):
            return self._page(form=form, problem=problem)
        try:
            made = endpoints.create(self.owner, **form)
        except NijikaError as error:
            return self._page(form=form, problem=_said(error))
        messages.success(request, "The endpoint is there. Send it a test event.")
        return self.to(f"/{made.pk}")

    def _page(self, **form: Any) -> HttpResponse:
        response = self.show(
            "jobs/webhooks.html",
            endpoints=endpoints.listed(self.owner),
            events=EVENTS,
            chosen=form.get("form", {}).get("events", [*events.JOB_ENDS]),
            recent=list(deliveries.of(self.owner).order_by("-created_at", "-id")[:10]),
            **form,
        )
        response.status_code = 422 if form else 200
        return response


class EndpointPage(WebhookPage):
    def get(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        return self._page(_id(endpoint_id, EndpointNotFound))

    def post(self, request: HttpRequest, endpoint_id: str) -> HttpResponse:
        found, form = _id(endpoint_id, EndpointNotFound), _form(request)
        if problem := _problem(form):
            return self._page(found, problem=problem)
        try:
            endpoints.change(self.owner, found, Change(**form))
        except NijikaError as error:
            return self._page(found, problem=_said(error))
        messages.success(request, "Saved.")
        return self.to(f"/{found}")

    def _page(self, endpoint_id: UUID, problem: str = "") -> HttpResponse:
        endpoint = endpoints.find(self.owner, endpoint_id)
        rows, older = _deliveries(self, endpoint)
        response = self.show(
            "jobs/webhook.html",
            endpoint=endpoint,
            secret=endpoints.secret_of(endpoint),
            old_until=endpoints.both_until(endpoint.rotated_at),
            events=EVENTS,
            chosen=endpoint.events,
            deliveries=rows,
            older=older,
            statuses=WebhookDelivery.Status.values,
            status=self.request.GET.get("status", ""),
            problem=problem,
        )
        response.status_code = 422 if problem else 200
        return response


class EndpointAction(WebhookPage):
    """One button of an endpoint's page."""

    http_method_names = ["post"]
    done: ClassVar[str] = ""

    def post(self, request: HttpRequest, endpoint_id: str) -> HttpResponseBase:
        found = _id(endpoint_id, EndpointNotFound)
        try:
            self.act(found)
        except NotFound:
            raise
        except NijikaError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, self.done)
        return self.to(self.after(found))

    def act(self, endpoint_id: UUID) -> object:
        raise NotImplementedError

    def after(self, endpoint_id: UUID) -> str:
        return f"/{endpoint_id}"


class Ping(EndpointAction):
    done = "A test event is on its way; it is first in the list below."

    def act(self, endpoint_id: UUID) -> object:
        return deliveries.ping(self.owner, endpoint_id)


class Rotate(EndpointAction):
    done = "There is a new secret. For a day the old one signs too."

    def act(self, endpoint_id: UUID) -> object:
        return endpoints.rotate(self.owner, endpoint_id)


class SwitchOn(EndpointAction):
    done = "The endpoint is on."

    def act(self, endpoint_id: UUID) -> object:
        return endpoints.change(self.owner, endpoint_id, Change(enabled=True))


class SwitchOff(EndpointAction):
    done = "The endpoint is off; nothing is sent to it."

    def act(self, endpoint_id: UUID) -> object:
        return endpoints.change(self.owner, endpoint_id, Change(enabled=False))


class Remove(EndpointAction):
    done = "The endpoint and its deliveries are gone."

    def act(self, endpoint_id: UUID) -> object:
        return endpoints.remove(self.owner, endpoint_id)

    def after(self, endpoint_id: UUID) -> str:
        return ""


class DeliveryPage(WebhookPage):
    def get(self, request: HttpRequest, delivery_id: str) -> HttpResponse:
        delivery = deliveries.find(self.owner, _id(delivery_id, DeliveryNotFound))
        endpoint = _endpoint_of(self.owner, delivery)
        return self.show(
            "jobs/delivery.html",
            delivery=delivery,
            endpoint=endpoint,
            log=deliveries.log_of(delivery),
            is_pending=delivery.status == WebhookDelivery.Status.PENDING,
            is_due=delivery.next_at <= timezone.now(),
        )


class Replay(WebhookPage):
    http_method_names = ["post"]

    def post(self, request: HttpRequest, delivery_id: str) -> HttpResponse:
        found = _id(delivery_id, DeliveryNotFound)
        try:
            deliveries.replay(self.owner, found)
        except NotFound:
            raise
        except NijikaError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, "It is sent again, under the same event id.")
        return self.to(f"/deliveries/{found}")


class SecretPage(WebhookPage):
    """What signs for the `webhook_url` of single jobs."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show(
            "jobs/webhook_secret.html", account=endpoints.account_secret(self.owner)
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        endpoints.rotate_account_secret(self.owner)
        messages.success(request, Rotate.done)
        return self.to("/secret")


def _form(request: HttpRequest) -> dict[str, Any]:
    return {
        "url": request.POST.get("url", "").strip(),
        "description": request.POST.get("description", "").strip(),
        "events": [one for one in EVENTS if one in request.POST.getlist("events")],
    }


def _problem(form: dict[str, Any]) -> str:
    """What a person has to change; empty if nothing."""
    if not 0 < len(form["url"]) <= LONGEST_URL:
        return "Give the address that events are sent to."
    if "\0" in form["url"] + form["description"]:
        return "The address or the description has a character that no text has."
    if len(form["description"]) > LONGEST_DESCRIPTION:
        return f"A description has {LONGEST_DESCRIPTION} characters at most."
    return "" if form["events"] else "Choose at least one event."


def _said(error: NijikaError) -> str:
    if error.code == "url_not_allowed":
        return (
            "This address is not allowed: it must be a public https or http address,"
            " without a user name, on a usual port."
        )
    return str(error)


def _deliveries(
    page: WebhookPage, endpoint: WebhookEndpoint
) -> tuple[list[WebhookDelivery], str]:
    """A page of them, the newest first, and the address of the next one."""
    query = page.request.GET
    rows = deliveries.of(page.owner).filter(endpoint_id=endpoint.pk)
    status = query.get("status", "")
    if status in WebhookDelivery.Status.values:
        rows = rows.filter(status=status)
    given = {"cursor": query["cursor"]} if query.get("cursor") else {}
    after = pages.page_of(given, "webhook-deliveries").after
    rows = pages.later(rows, after)
    found = list(rows.order_by("-created_at", "-id")[: PER_PAGE + 1])
    if len(found) <= PER_PAGE:
        return found, ""
    cursor = pages.cursor("webhook-deliveries", pages.place(found[PER_PAGE - 1]))
    more = {"cursor": cursor} | ({"status": status} if status else {})
    if page.test:
        more["mode"] = "test"
    return found[:PER_PAGE], f"?{urlencode(more)}"


def _endpoint_of(owner: Owner, delivery: WebhookDelivery) -> WebhookEndpoint | None:
    if delivery.endpoint_id is None:
        return None
    try:
        return endpoints.find(owner, delivery.endpoint_id)
    except EndpointNotFound:
        return None


def _id(text: str, missing: Callable[[], NotFound]) -> UUID:
    found = job_id_of(text)
    if found is None:
        raise missing()
    return found
