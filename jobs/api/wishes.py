"""What a request wishes beside its content: to wait, to count once, to pay a provider
by a key of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from accounts.authentication import Caller
from jobs.accepting.idempotency import Wish, digest_of
from jobs.errors import BadFields, FieldError
from jobs.requests import sealing

LONGEST_WAIT_S = 300
SPARE_S = 10.0
"""How much longer than the waiting its answer may take."""
MOST_KEY_LENGTH = 255

_PREFERENCE = re.compile(r"\s*wait\s*=\s*\"?([1-9][0-9]{0,2})\"?\s*", re.IGNORECASE)


def preferred_wait_s(request: HttpRequest) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240).

    A preference that cannot be had is as good as none: that is what the header means.
    """
    for preference in request.META.get("HTTP_PREFER", "").split(","):
        found = _PREFERENCE.fullmatch(preference.partition(";")[0])
        if found and int(found[1]) <= LONGEST_WAIT_S:
            return int(found[1])
    return None


def asked_wait_s(query: Mapping[str, str]) -> int | None:
    """The seconds of `?wait=N`. Raises BadFields."""
    if "wait" not in query:
        return None
    text = query["wait"]
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text) or int(text) > LONGEST_WAIT_S:
        message = f"must be a number from 1 to {LONGEST_WAIT_S}"
        raise BadFields(FieldError("wait", "range", message))
    return int(text)


def idempotency_key(request: HttpRequest) -> str | None:
    """The client's `Idempotency-Key`. Raises BadFields."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not (0 < len(key) <= MOST_KEY_LENGTH and key.isascii() and key.isprintable()):
        message = f"must be 1 to {MOST_KEY_LENGTH} visible ASCII characters"
        raise BadFields(FieldError("Idempotency-Key", "format", message))
    return str(key)


def once(request: HttpRequest, caller: Caller, kind: str, what: Any) -> Wish:
    """To make one thing of this kind, whatever is repeated. Raises BadFields."""
    return Wish(
        user_id=caller.user_id,
        test=caller.test,
        key=idempotency_key(request),
        digest=digest_of(kind, what),
    )


def provider_keys(request: HttpRequest) -> dict[str, str]:
    """The client's own keys, by provider. Raises BadFields."""
    return sealing.keys_of(request.META)
