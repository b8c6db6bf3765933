"""Webhooks in the admin: deliveries with their attempts, replay, switching off."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from jobs.webhooks import deliveries, endpoints
from jobs.webhooks.endpoints import Owner
from nijika.staff.models import Action
from tests.staff.conftest import act

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(owner: User) -> WebhookEndpoint:
    hook = Owner(user_id=owner.pk, test=False)
    return endpoints.create(hook, url="https://example.com/hook", events=["*"])


@pytest.fixture
def failed(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """A delivery that was given up after one answer."""
    owner = Owner(user_id=endpoint.user_id, test=False)
    made = deliveries.ping(owner, endpoint.pk)
    WebhookDelivery.objects.filter(pk=made.pk).update(
        status="failed", ended_at="2026-01-01T00:00Z", attempts=1
    )
    WebhookAttempt.objects.create(
        delivery=made, number=1, status=500, milliseconds=12, answer="oh no"
    )
    return made


def test_delivery_page_shows_each_attempt(
    helper: Client, failed: WebhookDelivery
) -> None:
    page = reverse("admin:jobs_webhookdelivery_change", args=[failed.pk])
    text = helper.get(page).content.decode()
    assert "500" in text and "oh no" in text and "owner@example.com" in text


def test_delivery_is_sent_again(
    staff: Client, owner: User, failed: WebhookDelivery
) -> None:
    assert act(staff, "jobs_webhookdelivery", "replay", failed.pk) == 302
    failed.refresh_from_db()
    assert (failed.status, failed.ended_at, failed.tries) == ("pending", None, 0)
    assert Action.objects.get(action="delivery replayed").user == owner


def test_delivery_to_an_endpoint_that_is_off_is_not_sent(
    staff: Client, endpoint: WebhookEndpoint, failed: WebhookDelivery
) -> None:
    endpoints.disable(endpoint.pk, endpoints.BY_OWNER)
    assert act(staff, "jobs_webhookdelivery", "replay", failed.pk) == 200
    failed.refresh_from_db()
    assert failed.status == "failed"
    assert not Action.objects.filter(action="delivery replayed").exists()


def test_endpoint_is_switched_off_with_what_waits(
    staff: Client, endpoint: WebhookEndpoint
) -> None:
    owner = Owner(user_id=endpoint.user_id, test=False)
    waiting = deliveries.ping(owner, endpoint.pk)
    assert act(staff, "jobs_webhookendpoint", "off", endpoint.pk) == 302
    endpoint.refresh_from_db()
    waiting.refresh_from_db()
    assert endpoint.disabled_at is not None and endpoint.disabled_by == "staff"
    assert waiting.status == "failed"


def test_moderator_sends_nothing_and_switches_nothing_off(
    helper: Client, endpoint: WebhookEndpoint, failed: WebhookDelivery
) -> None:
    assert act(helper, "jobs_webhookdelivery", "replay", failed.pk) == 403
    assert act(helper, "jobs_webhookendpoint", "off", endpoint.pk) == 403
    failed.refresh_from_db()
    endpoint.refresh_from_db()
    assert failed.status == "failed" and endpoint.disabled_at is None


@pytest.mark.parametrize(
    ("page", "found"),
    [("webhookdelivery/?user={user}", 1), ("webhookdelivery/?endpoint={endpoint}", 1),
     ("webhookdelivery/?q={id}", 1), ("webhookdelivery/?status=pending", 0),
     ("webhookendpoint/?q=owner@example.com", 1), ("webhookendpoint/?user=0", 0)],
)  # fmt: skip
def test_lists_are_narrowed(
    helper: Client,
    endpoint: WebhookEndpoint,
    failed: WebhookDelivery,
    page: str,
    found: int,
) -> None:
    names = {"user": failed.user_id, "endpoint": endpoint.pk, "id": failed.pk}
    answer = helper.get("/admin/jobs/" + page.format(**names))
    assert answer.context["cl"].result_count == found
