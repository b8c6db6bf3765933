"""How a connection to a provider failed: whether the request can have arrived.

The SDKs use httpx, or its fork httpx2, whichever they find: so their errors are known
by name here.
"""

from __future__ import annotations

from gpu_worker.engines.hosted.errors import (
    HostedError,
    ProviderTimeout,
    ProviderUnavailable,
)

MODULES = {"httpx", "httpx2", "httpcore", "httpcore2"}
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


def _names(error: BaseException) -> set[str]:
    kinds = type(error).__mro__
    return {kind.__name__ for kind in kinds if kind.__module__.split(".")[0] in MODULES}
