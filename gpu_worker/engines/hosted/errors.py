"""What goes wrong at a provider, each with its own code.

What a provider says in its errors is never shown and never logged: it may echo the
request, its key included. `unpaid` is whether it surely has not worked for this
request; `again` whether a second try makes sense, and `retry_after_s` how long to wait
before it, where the provider said so.
"""

from __future__ import annotations

from gpu_worker.errors import ContentBlocked, WorkerError


class HostedError(WorkerError):
    """The provider failed."""

    code = "provider_error"
    unpaid = True
    again = False

    def __init__(
        self,
        message: str = "",
        *,
        unpaid: bool | None = None,
        again: bool | None = None,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        if unpaid is not None:
            self.unpaid = unpaid
        if again is not None:
            self.again = again


class ProviderError(HostedError):
    """The provider answered with something that is no picture."""

    unpaid = False
    again = True


class ProviderAccount(HostedError):
    """The provider does not accept the key, or its account has no credit left."""

    code = "provider_account"


class ProviderRateLimited(HostedError):
    """The provider takes no more requests for this key at the moment."""

    code = "provider_rate_limited"
    again = True


class InvalidRequest(HostedError):
    """The provider does not take this request."""

    code = "invalid_request"


class ModelGone(HostedError):
    """The provider has no such model any more."""

    code = "model_gone"


class ProviderUnavailable(HostedError):
    """The provider cannot be reached, or has a fault of its own."""

    code = "provider_unavailable"
    again = True


class ProviderTimeout(HostedError):
    """The provider did not answer in time."""

    code = "provider_timeout"
    unpaid = False
    again = True


class NoImage(HostedError):
    """The provider answered without a picture."""

    code = "no_image"
    unpaid = False
    again = True


class Blocked(HostedError, ContentBlocked):
    """The provider refused the content."""

    code = ContentBlocked.code


def of_status(status: int, retry_after_s: float = 0.0) -> HostedError:
    """What an HTTP status means where a provider says nothing more exact."""
    if status in (401, 402, 403):
        return ProviderAccount()
    if status in (404, 410):
        return ModelGone()
    if status == 429:
        return ProviderRateLimited(retry_after_s=retry_after_s)
    if status == 408 or status >= 500:
        return ProviderUnavailable(retry_after_s=retry_after_s)
    return InvalidRequest()
