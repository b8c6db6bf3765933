"""An account's receivers. Everything here is the owner's: a user in a mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from gpu_worker import fetch
from jobs.errors import UrlRefused
from jobs.models import WebhookDelivery, WebhookEndpoint, WebhookSecret
from jobs.webhooks import forgetting, signing
from jobs.webhooks.errors import EndpointNotFound, TooManyEndpoints

LONGEST_URL = 2048
BY_OWNER, BY_STAFF, GONE = "owner", "staff", "gone"
"""Why an endpoint is off: its owner wished it, or staff, or it answered 410."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    user_id: int
    test: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an endpoint is to be; None leaves it as it is."""

    url: str | None = None
    description: str | None = None
    events: Sequence[str] | None = None
    enabled: bool | None = None


def check_url(field: str, url: str) -> None:
    """Refuse what the text alone shows to be no public place. Raises UrlRefused."""
    try:
        fetch.check_text(url, settings.WEBHOOK_ALLOWED_HOSTS)
    except fetch.UrlNotAllowed:
        raise UrlRefused(field) from None


@transaction.atomic
def create(
    owner: Owner,
    *,
    url: str,
    events: Sequence[str],
    description: str = "",
    endpoint_id: UUID | None = None,
) -> WebhookEndpoint:
    """Raises UrlRefused and TooManyEndpoints."""
    check_url("url", url)
    # Of two that come at once, the second must count the first.
    with connection.cursor() as cursor:
        cursor.execute(_ALONE, [f"webhook endpoints of {owner.user_id}"])
    if _of(owner).count() >= settings.WEBHOOK_ENDPOINTS:
        raise TooManyEndpoints
    identity = {"pk": endpoint_id} if endpoint_id else {}
    endpoint = WebhookEndpoint.objects.create(
        user_id=owner.user_id,
        test=owner.test,
        url=url,
        events=list(events),
        description=description,
        **identity,
    )
    endpoint.refresh_from_db()
    return endpoint


def find(owner: Owner, endpoint_id: UUID) -> WebhookEndpoint:
    """Raises EndpointNotFound, also for what is somebody else's."""
    endpoint = _of(owner).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise EndpointNotFound
    return endpoint


def listed(
    owner: Owner, *, after: UUID | None = None, limit: int = 100
) -> list[WebhookEndpoint]:
    """The newest first; `after` is the last one seen."""
    endpoints = _of(owner).order_by("-id")
    if after is not None:
        endpoints = endpoints.filter(pk__lt=after)
    return list(endpoints[:limit])


@transaction.atomic
def change(owner: Owner, endpoint_id: UUID, wanted: Change) -> WebhookEndpoint:
    """Raises EndpointNotFound and UrlRefused. What is switched off gets nothing more,
    not even what was waiting for it; its failures are forgotten when it is on again."""
    endpoint = _locked(owner, endpoint_id)
    if wanted.url is not None:
        check_url("url", wanted.url)
        endpoint.url = wanted.url
    if wanted.description is not None:
        endpoint.description = wanted.description
    if wanted.events is not None:
        endpoint.events = list(wanted.events)
    endpoint.save(update_fields=["url", "description", "events"])
    if wanted.enabled is False and endpoint.disabled_at is None:
        disable(endpoint.pk, BY_OWNER)
    if wanted.enabled and endpoint.disabled_at is not None:
        _rows(endpoint).update(disabled_at=None, disabled_by="")
    if wanted.enabled or wanted.url is not None:
        _forget_failures(endpoint.pk)
    return find(owner, endpoint_id)


def disable(endpoint_id: UUID, why: str) -> None:
    """Switch it off and give up what waits for it; runs in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_DISABLE, [why, endpoint_id])
        cursor.execute(_GIVE_UP, [endpoint_id])


@transaction.atomic
def remove(owner: Owner, endpoint_id: UUID) -> None:
    """With its log. Raises EndpointNotFound."""
    endpoint = _locked(owner, endpoint_id)
    forgetting.forget(WebhookDelivery.objects.filter(endpoint_id=endpoint.pk))
    _forget_failures(endpoint.pk)
    endpoint.delete()


@transaction.atomic
def rotate(owner: Owner, endpoint_id: UUID) -> WebhookEndpoint:
    """Another secret; the one before signs too for a day. Raises EndpointNotFound."""
    endpoint = _locked(owner, endpoint_id)
    _rows(endpoint).update(generation=F("generation") + 1, rotated_at=Now())
    return find(owner, endpoint_id)


def secret_of(endpoint: WebhookEndpoint) -> str:
    return signing.secret(signing.of_endpoint(endpoint.pk), endpoint.generation)


# The secret for the addresses of single jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSecret:
    """What signs for a job's own `webhook_url`. `rotated_at`: None before the first."""

    secret: str
    rotated_at: datetime | None

    @property
    def both_until(self) -> datetime | None:
        return both_until(self.rotated_at)


def both_until(rotated_at: datetime | None) -> datetime | None:
    """Until when the secret before the last rotation signs too."""
    if rotated_at is None:
        return None
    return rotated_at + timedelta(seconds=signing.BOTH_FOR_S)


def account_secret(owner: Owner) -> AccountSecret:
    row = WebhookSecret.objects.filter(user_id=owner.user_id, test=owner.test).first()
    holder = signing.of_account(owner.user_id, test=owner.test)
    generation = row.generation if row else 1
    return AccountSecret(
        secret=signing.secret(holder, generation),
        rotated_at=row.rotated_at if row else None,
    )


@transaction.atomic
def rotate_account_secret(owner: Owner) -> AccountSecret:
    """Another one; the one before signs too for a day."""
    WebhookSecret.objects.get_or_create(user_id=owner.user_id, test=owner.test)
    rows = WebhookSecret.objects.filter(user_id=owner.user_id, test=owner.test)
    rows.update(generation=F("generation") + 1, rotated_at=Now())
    return account_secret(owner)


def _of(owner: Owner) -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.filter(user_id=owner.user_id, test=owner.test)


def _rows(endpoint: WebhookEndpoint) -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.filter(pk=endpoint.pk)


def _locked(owner: Owner, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = _of(owner).filter(pk=endpoint_id).select_for_update(no_key=True).first()
    if endpoint is None:
        raise EndpointNotFound
    return endpoint


def lane_of(endpoint_id: UUID) -> str:
    return f"endpoint {endpoint_id}"


def _forget_failures(endpoint_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM jobs_webhooklane WHERE lane = %s", [lane_of(endpoint_id)]
        )


_ALONE = "SELECT pg_advisory_xact_lock(hashtext(%s))"

_DISABLE = """
UPDATE jobs_webhookendpoint SET disabled_at = clock_timestamp(), disabled_by = %s
WHERE id = %s AND disabled_at IS NULL
"""

# One that is on its way comes to its own end.
_GIVE_UP = """
UPDATE jobs_webhookdelivery SET status = 'failed', ended_at = clock_timestamp(),
    claim = NULL, lease_until = NULL
WHERE endpoint_id = %s AND status = 'pending'
    AND (lease_until IS NULL OR lease_until <= clock_timestamp())
"""
