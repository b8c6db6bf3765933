"""Who is told that credits run out: `credits.low`, once each time they do.

It looks at what wallets have now, so nothing is missed however credits went; an
endpoint is told again only after its account had enough in between.
"""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import connection, transaction

from jobs.webhooks import events, recording


def tell() -> None:
    """Tell every live endpoint that asks for it and was not told yet."""
    threshold = Decimal(settings.CREDITS_LOW)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FORGET, [events.CREDITS_LOW, threshold])
        cursor.execute(_LOW, [events.CREDITS_LOW, threshold])
        low = cursor.fetchall()
        for endpoint_id, user_id, available in low:
            recording.record(
                events.CREDITS_LOW,
                user_id=user_id,
                test=False,
                data={
                    "available": f"{available:.4f}",
                    "threshold": f"{threshold:.4f}",
                },
                endpoint_id=endpoint_id,
            )


_WITH_WALLET = """
FROM billing_wallet AS wallet
WHERE wallet.user_id = endpoint.user_id AND NOT endpoint.test
  AND endpoint.disabled_at IS NULL AND %s::text = ANY(endpoint.events)
"""

_FORGET = f"""
UPDATE jobs_webhookendpoint AS endpoint SET told_low_at = NULL
{_WITH_WALLET} AND told_low_at IS NOT NULL AND wallet.available >= %s
"""

_LOW = f"""
UPDATE jobs_webhookendpoint AS endpoint SET told_low_at = clock_timestamp()
{_WITH_WALLET} AND told_low_at IS NULL AND wallet.available < %s
RETURNING endpoint.id, endpoint.user_id, wallet.available
"""
