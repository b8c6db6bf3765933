"""Webhooks: whom customers let hear of their jobs, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator

from accounts.models import User
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.webhooks import deliveries, endpoints
from jobs.webhooks.endpoints import Owner
from nijika.staff import audit, finding
from nijika.staff.acts import Act, Deed
from nijika.staff.base import Mode, StaffAdmin, choice, labelled, narrow, short
from nijika.staff.keyset import Walk
from nijika.staff.work import by_id, of_user


@transaction.atomic
def replay(deed: Deed) -> str:
    for delivery in deed.rows:
        owner = Owner(user_id=delivery.user_id, test=delivery.test)
        deliveries.replay(owner, delivery.pk)
        _record(deed, "delivery replayed", delivery)
    return f"{len(deed.rows)} sent again."


@transaction.atomic
def switch_off(deed: Deed) -> str:
    for endpoint in deed.rows:
        endpoints.disable(endpoint.pk, endpoints.BY_STAFF)
        _record(deed, "endpoint switched off", endpoint)
    return f"{len(deed.rows)} switched off."


def _record(deed: Deed, what: str, row: WebhookDelivery | WebhookEndpoint) -> None:
    audit.record(
        deed.request,
        what,
        row,
        user_id=row.user_id,
        reason=deed.reason,
        once=deed.once(row),
    )


class WebhookEndpointAdmin(StaffAdmin):
    list_display = ("address", "user", "mode", "state", "events_text", "created_at")
    list_filter = (Mode, narrow("user"))
    list_select_related = ("user",)
    search_fields = ("id",)
    search_help_text = "An endpoint's id, or an e-mail"
    fields = (
        ("url", "description"),
        ("user", "test", "events"),
        ("created_at", "rotated_at", "disabled_at", "disabled_by"),
    )
    panels = "staff/endpoint.html"
    acts = (
        Act(
            name="off",
            title="Switch off",
            says="Nothing more is sent to it, not even what waits. "
            "Its owner may switch it on again.",
            permission="jobs.change_webhookendpoint",
            icon="power_settings_new",
            do=switch_off,
            on=lambda endpoint: endpoint.disabled_at is None,
            is_dangerous=True,
        ),
    )

    def walk(self, asked: Mapping[str, str]) -> Walk:
        if found := by_id(asked):
            return found
        found = of_user(asked, by="")
        if found is None:
            return Walk()
        if "test" in asked:
            return found
        # They are few: both modes at once.
        where = {"user_id": found.where["user_id"], "test__in": [False, True]}
        return Walk(where=where, answers=found.answers)

    def more_about(self, request: HttpRequest, row: WebhookEndpoint) -> dict[str, Any]:
        sent = WebhookDelivery.objects.filter(endpoint_id=row.pk)
        return {"deliveries": sent.order_by("-created_at", "-id")[:20]}

    @admin.display(description="address")
    def address(self, endpoint: WebhookEndpoint) -> str:
        return shortened(endpoint.url)

    @admin.display(description="mode")
    def mode(self, endpoint: WebhookEndpoint) -> str:
        return "test" if endpoint.test else "live"

    @labelled("state", {"on": "success", "off": "danger"})
    def state(self, endpoint: WebhookEndpoint) -> str:
        return "on" if endpoint.disabled_at is None else "off"

    @admin.display(description="events")
    def events_text(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.events)


class WebhookDeliveryAdmin(StaffAdmin):
    list_display = (
        "short_id",
        "type",
        "status_label",
        "whose",
        "attempts",
        "receiver",
        "created_at",
        "ended_at",
    )
    list_filter = (
        choice("status", WebhookDelivery.Status.values),
        Mode,
        narrow("user"),
        narrow("endpoint"),
    )
    search_fields = ("id",)
    search_help_text = "A delivery's id, or an e-mail"
    fields = (
        ("type", "status", "attempts"),
        ("created_at", "next_at", "give_up_at", "ended_at"),
        ("event_id", "job_id", "endpoint_id"),
        ("url",),
    )
    panels = "staff/delivery.html"
    acts = (
        Act(
            name="replay",
            title="Send again",
            says="With all its tries anew, under the same event id.",
            permission="jobs.change_webhookdelivery",
            icon="replay",
            do=replay,
        ),
    )

    def walk(self, asked: Mapping[str, str]) -> Walk:
        if endpoint_id := finding.id_of(asked.get("endpoint", "")):
            where = {"endpoint_id": endpoint_id}
            return Walk(where=where, by="created_at", answers=frozenset({"endpoint"}))
        return by_id(asked) or of_user(asked) or Walk()

    def more_about(self, request: HttpRequest, row: WebhookDelivery) -> dict[str, Any]:
        owner = User.objects.filter(pk=row.user_id).first()
        return {"tries": deliveries.log_of(row), "owner": owner, "delivery": row}

    @labelled("status", {"pending": "info", "delivered": "success", "failed": "danger"})
    def status_label(self, delivery: WebhookDelivery) -> str:
        return delivery.status

    @admin.display(description="delivery")
    def short_id(self, delivery: WebhookDelivery) -> str:
        return short(delivery.pk)

    @admin.display(description="user")
    def whose(self, delivery: WebhookDelivery) -> str:
        link = reverse("admin:accounts_user_change", args=[delivery.user_id])
        return format_html('<a href="{}">{}</a>', link, delivery.user_id)

    @admin.display(description="receiver")
    def receiver(self, delivery: WebhookDelivery) -> str:
        if delivery.endpoint_id is None:
            return shortened(delivery.url)
        link = reverse("admin:jobs_webhookendpoint_change", args=[delivery.endpoint_id])
        return format_html('<a href="{}">{}</a>', link, short(delivery.endpoint_id))


def shortened(url: str) -> str:
    """An address by its beginning; the whole one is its title."""
    return format_html('<span title="{}">{}</span>', url, Truncator(url).chars(48))


admin.site.register(WebhookEndpoint, WebhookEndpointAdmin)
admin.site.register(WebhookDelivery, WebhookDeliveryAdmin)
