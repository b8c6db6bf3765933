"""Secrets, and signatures by the Standard Webhooks specification.

Source: https://github.com/standard-webhooks/standard-webhooks (spec, version 1.0.0):
HMAC-SHA256 over `id.timestamp.body`, `v1,` and base64; several signatures are divided
by a blank, so that a receiver with either secret of a rotation can check.

A secret is derived from the server's own, its holder and a generation that counts the
rotations: nothing secret is stored. Changing NIJIKA_SECRET_KEY changes them all.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256

from django.conf import settings
from django.utils.crypto import salted_hmac

PREFIX = "whsec_"
BOTH_FOR_S = 24 * 3600
"""How long the secret before a rotation signs too."""


def of_endpoint(endpoint_id: object) -> str:
    """The holder's name of an endpoint's secrets."""
    return f"endpoint/{endpoint_id}"


def of_account(user_id: int, *, test: bool) -> str:
    """The holder's name of the secrets for the addresses of an account's jobs."""
    return f"account/{user_id}/{'test' if test else 'live'}"


def secret(holder: str, generation: int) -> str:
    """`whsec_…` with 32 bytes."""
    return PREFIX + base64.b64encode(_key(holder, generation)).decode()


def headers(
    event_id: str, timestamp: int, body: bytes, holder: str, generations: Sequence[int]
) -> dict[str, str]:
    """The headers of one try, signed with each of these generations' secrets."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = [_signature(_key(holder, number), signed) for number in generations]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode()


def _key(holder: str, generation: int) -> bytes:
    made = salted_hmac(
        "jobs.webhooks",
        f"{holder}/{generation}",
        secret=settings.SECRET_KEY,
        algorithm="sha256",
    )
    return made.digest()
