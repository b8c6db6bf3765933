"""How an exchange with a provider failed: whether the request can have arrived, and how
long the provider wants to be left alone.

The SDKs use httpx, or its fork httpx2, whichever they find: so their errors are known
by name here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gpu_worker.engines.hosted.errors import (
    HostedError,
    ProviderTimeout,
    ProviderUnavailable,
)

MODULES = {"httpx", "httpx2", "httpcore", "httpcore2"}
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
NOT_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}


def error_of(error: BaseException) -> HostedError | None:
    """The meaning of a failed exchange; None for an error that is none."""
    names = _names(error)
    if names & NOT_SENT:
        return ProviderUnavailable(unpaid=True)
    if "TimeoutException" in names:
        return ProviderTimeout()
    if "TransportError" in names:
        return ProviderUnavailable(unpaid=False)
    return None


def retry_after_s(headers: Mapping[str, str] | None) -> float:
    """The seconds of `Retry-After` (RFC 9110, 10.2.3: a number, or a date) or of
    `retry-after-ms`, as OpenAI and its likes say it; 0 where nothing is said."""
    said = {name.lower(): text.strip() for name, text in (headers or {}).items()}
    if (thousands := _number(said.get("retry-after-ms", ""))) > 0:
        return thousands / 1000
    text = said.get("retry-after", "")
    return _number(text) or _from_now_s(text)


def _number(text: str) -> float:
    """0 for what is none, or has no end."""
    return float(text) if NUMBER.fullmatch(text) else 0.0


def _from_now_s(text: str) -> float:
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


def _names(error: BaseException) -> set[str]:
    kinds = type(error).__mro__
    return {kind.__name__ for kind in kinds if kind.__module__.split(".")[0] in MODULES}
