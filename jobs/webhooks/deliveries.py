"""What was sent, and what came of it: the log, replays and pings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from jobs import news
from jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from jobs.webhooks import endpoints, events, recording
from jobs.webhooks.endpoints import Owner
from jobs.webhooks.errors import DeliveryNotFound, EndpointOff

MOST_REPLAYED = 10_000
CLEANED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Deliveries of an endpoint by their events' times, `until` not included."""

    since: datetime
    until: datetime
    status: str = WebhookDelivery.Status.FAILED


def of(owner: Owner) -> QuerySet[WebhookDelivery]:
    """All deliveries of this owner."""
    return WebhookDelivery.objects.filter(user_id=owner.user_id, test=owner.test)


def find(owner: Owner, delivery_id: UUID) -> WebhookDelivery:
    """Raises DeliveryNotFound, also for what is somebody else's."""
    delivery = of(owner).filter(pk=delivery_id).first()
    if delivery is None:
        raise DeliveryNotFound
    return delivery


def log_of(delivery: WebhookDelivery) -> Sequence[WebhookAttempt]:
    """Its tries, in order."""
    return list(WebhookAttempt.objects.filter(delivery=delivery).order_by("number"))


def ping(owner: Owner, endpoint_id: UUID) -> WebhookDelivery:
    """Send an event that says only that it is one. Raises EndpointNotFound and
    EndpointOff."""
    endpoint = endpoints.find(owner, endpoint_id)
    _check_on(endpoint)
    data = {"endpoint_id": str(endpoint.pk)}
    made = recording.record(
        events.PING,
        user_id=owner.user_id,
        test=owner.test,
        data=data,
        endpoint_id=endpoint.pk,
    )
    if not made:
        raise EndpointOff
    news.announce(made, to=[news.ENDS])
    return find(owner, made[0])


def replay(owner: Owner, delivery_id: UUID) -> WebhookDelivery:
    """Send it again, with all its tries anew and under the same event id.

    One that waits is due at once; one on its way stays as it is. Raises
    DeliveryNotFound and EndpointOff.
    """
    delivery = find(owner, delivery_id)
    if delivery.endpoint_id is not None:
        _check_on(endpoints.find(owner, delivery.endpoint_id))
    _again([delivery.pk])
    return find(owner, delivery_id)


def replay_range(owner: Owner, endpoint_id: UUID, wanted: Range) -> int:
    """Send an endpoint's deliveries of this range again, the oldest first; gives their
    number, at most `MOST_REPLAYED`. Raises EndpointNotFound and EndpointOff."""
    endpoint = endpoints.find(owner, endpoint_id)
    _check_on(endpoint)
    rows = of(owner).filter(
        endpoint_id=endpoint.pk,
        created_at__gte=wanted.since,
        created_at__lt=wanted.until,
        status=wanted.status,
    )
    ids = rows.order_by("created_at", "id").values_list("pk", flat=True)
    return _again(list(ids[:MOST_REPLAYED]))


def clean() -> None:
    """Forget deliveries, and how receivers answered, when the log's time is over."""
    while _deleted() == CLEANED_AT_ONCE:
        pass
    with connection.cursor() as cursor:
        cursor.execute(_OLD_LANES, [settings.WEBHOOK_LOG_S])


@transaction.atomic
def _deleted() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [settings.WEBHOOK_LOG_S, CLEANED_AT_ONCE])
        ids = [row[0] for row in cursor.fetchall()]
        cursor.execute(_DELETE_LOG, [ids])
        cursor.execute(_DELETE, [ids])
    return len(ids)


def _check_on(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise EndpointOff


def _again(ids: list[UUID]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_AGAIN, [settings.WEBHOOK_GIVE_UP_S, ids])
        again = [row[0] for row in cursor.fetchall()]
    news.announce(again[:1], to=[news.ENDS])
    return len(again)


_AGAIN = """
UPDATE jobs_webhookdelivery SET status = 'pending', ended_at = NULL, tries = 0,
  next_at = clock_timestamp(),
  give_up_at = clock_timestamp() + make_interval(secs => %s),
  claim = NULL, lease_until = NULL
WHERE id = ANY(%s::uuid[])
  AND (lease_until IS NULL OR lease_until <= clock_timestamp())
RETURNING id
"""

_OLD = """
SELECT id FROM jobs_webhookdelivery
WHERE ended_at < statement_timestamp() - make_interval(secs => %s)
ORDER BY ended_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
_DELETE_LOG = "DELETE FROM jobs_webhookattempt WHERE delivery_id = ANY(%s::uuid[])"
_DELETE = "DELETE FROM jobs_webhookdelivery WHERE id = ANY(%s::uuid[])"

_OLD_LANES = """
DELETE FROM jobs_webhooklane WHERE changed_at < statement_timestamp()
  - make_interval(secs => %s)
"""
