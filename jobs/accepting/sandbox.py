"""What a test key may ask of the sandbox: errors, delays, and how many jobs at once.

A client tests its own code against what can happen by saying so, in the member
`sandbox` of the metadata or in a prompt:

    {"sandbox": "delay:5 fail:out_of_memory"}     __delay_5s__ __fail_out_of_memory__

    delay:N      the run takes N seconds longer, at most 60
    fail:CODE    the job fails with this code
    retry:N      the first N runs are lost; the next one goes on (1 or 2)
    refuse:CODE  the request is refused with this code, and there is no job

Of the metadata nothing but what these words mean reaches a worker. To a live key they
mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.errors import AccountSuspended
from billing.errors import InsufficientCredits
from gpu_worker.contract import SANDBOX
from jobs.errors import (
    JOB_CODES,
    BadFields,
    EngineUnavailable,
    FieldError,
    IdempotencyKeyReused,
    ImageTooLarge,
    InvalidImage,
    SandboxFull,
    StorageUnavailable,
    UnsupportedImage,
    UrlRefused,
)
from nijika.errors import NijikaError, RateLimited, TooLarge, Unavailable
from nijika.postgres import prepared

MOST_DELAY_S = 60.0
MOST_RETRIES = 2
ALIASES = {"content": "content_blocked", "safety": "content_blocked"}

REFUSALS: dict[str, Callable[[], NijikaError]] = {
    "account_suspended": AccountSuspended,
    "engine_unavailable": EngineUnavailable,
    "idempotency_key_reused": IdempotencyKeyReused,
    "image_too_large": ImageTooLarge,
    "insufficient_credits": lambda: InsufficientCredits(
        needed=Decimal("0.0100"), available=Decimal(0)
    ),
    "invalid_image": InvalidImage,
    "payload_too_large": TooLarge,
    "rate_limited": RateLimited,
    "storage_unavailable": StorageUnavailable,
    "unavailable": Unavailable,
    "unsupported_media_type": UnsupportedImage,
    "url_not_allowed": lambda: UrlRefused("image"),
    "validation_error": lambda: BadFields(
        FieldError(f"metadata.{SANDBOX}", "refused", "asks for this refusal")
    ),
}
"""What a create request can be refused with, beyond what everybody can bring about."""

_WORD = re.compile(r"(delay|fail|retry|refuse):([a-z0-9_.]{1,40})")
_MAGIC = re.compile(r"__(delay|fail|retry|refuse)_([a-z0-9_.]{1,40}?)__")
_NUMBER = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)s?")

Asked = dict[str, Any]
"""What is asked for: of `delay_s`, `fail`, `retries` and `refuse`, what was named."""


def check(parameters: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Refuse the request if it asks for that, or for something that there is not.

    Raises BadFields and whatever was asked for.
    """
    asked = _asked(_words(metadata.get(SANDBOX)), f"metadata.{SANDBOX}")
    asked |= _asked(_magic(parameters), "parameters.prompt")
    if "refuse" in asked:
        raise REFUSALS[asked["refuse"]]()


def directions(parameters: Mapping[str, Any], word: Any) -> Asked:
    """What goes to the worker. `word` is what the metadata said when it was checked."""
    try:
        asked = _asked(_words(word), "") | _asked(_magic(parameters), "")
    except BadFields:
        return {}  # words of an older version
    return {name: value for name, value in asked.items() if name != "refuse"}


def _words(text: Any) -> list[tuple[str, str]]:
    """(verb, value) of each word; a word that is none has no verb. Only a text counts:
    clients use their metadata for themselves, too."""
    if not isinstance(text, str):
        return []
    matches = [(word, _WORD.fullmatch(word)) for word in text.split()]
    return [(found[1], found[2]) if found else ("", word) for word, found in matches]


def _magic(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    return _MAGIC.findall(str(parameters.get("prompt", "")))


def _asked(words: Iterable[tuple[str, str]], field: str) -> Asked:
    """Raises BadFields for what cannot be asked for."""
    asked: Asked = {}
    for verb, value in words:
        value = ALIASES.get(value, value)
        if verb == "fail" and value in JOB_CODES:
            asked["fail"] = value
        elif verb == "refuse" and value in REFUSALS:
            asked["refuse"] = value
        elif verb == "delay" and _number(value) <= MOST_DELAY_S:
            asked["delay_s"] = _number(value)
        elif verb == "retry" and 1 <= _number(value) <= MOST_RETRIES:
            asked["retries"] = int(_number(value))
        else:
            what = "asks the sandbox for something that it cannot do"
            raise BadFields(FieldError(field, "choice", what))
    return asked


def _number(text: str) -> float:
    found = _NUMBER.fullmatch(text)
    return float(found[1]) if found else float("inf")


# How many


def glance(user_id: int, count: int = 1) -> None:
    """Raise SandboxFull if the user certainly may not have so many more test jobs.

    A look, not a promise: only the transaction that inserts them decides.
    """
    if _room(user_id, ()) < count:
        raise SandboxFull


def rooms(users: Iterable[int], ids: Sequence[UUID], *, wait: bool) -> dict[int, int]:
    """How many more test jobs each user may have, not counting those of `ids`.

    Whoever asks holds the users' answers until the transaction ends. A user whose
    answer another transaction holds is waited for, or without `wait` left out.
    """
    wanted = [sorted(set(users))]
    locked = prepared.rows(_WAIT if wait else _TRY, wanted)
    # Statements of their own: they see what was committed while the first one waited.
    return {user_id: _room(user_id, ids) for user_id, *_ in locked}


def _room(user_id: int, ids: Sequence[UUID]) -> int:
    [(unfinished,)] = prepared.rows(_UNFINISHED, [user_id, list(ids)])
    most: int = settings.SANDBOX_UNFINISHED
    return most - int(unfinished)


_LOCK = "hashtextextended('sandbox ' || user_id, 0)"

_TRY = f"""
SELECT user_id FROM unnest(%s::bigint[]) AS wanted (user_id)
WHERE pg_try_advisory_xact_lock({_LOCK})
"""

_WAIT = f"""
SELECT user_id, pg_advisory_xact_lock({_LOCK})::text
FROM unnest(%s::bigint[]) AS wanted (user_id)
"""

_UNFINISHED = """
SELECT count(*) FROM jobs_job
WHERE user_id = %s AND test AND status IN ('queued', 'running')
    AND id <> ALL(%s::uuid[])
"""
