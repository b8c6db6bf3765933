"""What was sent is forgotten together with the log of its tries."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import QuerySet

from jobs.models import WebhookDelivery


@transaction.atomic
def forget(chosen: QuerySet[WebhookDelivery]) -> int:
    """Delete these deliveries and their log; how many.

    They are locked first: a try of one that ends meanwhile waits, and then finds
    nothing to write of. Unlocked, it would log itself to a delivery that is going.
    """
    ids = list(chosen.select_for_update().order_by("pk").values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(_LOG, [ids])
        cursor.execute(_DELIVERIES, [ids])
    return len(ids)


_LOG = "DELETE FROM jobs_webhookattempt WHERE delivery_id = ANY(%s::uuid[])"
_DELIVERIES = "DELETE FROM jobs_webhookdelivery WHERE id = ANY(%s::uuid[])"
