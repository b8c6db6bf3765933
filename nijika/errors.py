"""What can go wrong for a caller: the root of every app's errors.

An error is a class, a code that never changes, and the HTTP status it answers with.
Public attributes become members of the problem response.
"""

from typing import Any


class NijikaError(Exception):
    """Something the caller has to know."""

    code = "error"
    status = 500
    headers: dict[str, str] = {}

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").splitlines()[0]

    def fields(self) -> dict[str, Any]:
        """The members that the problem response carries beside the standard ones."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}


class Malformed(NijikaError):
    """The request could not be read."""

    code = "malformed_body"
    status = 400


class Unauthenticated(NijikaError):
    """A valid API key is needed."""

    code = "unauthenticated"
    status = 401
    headers = {"WWW-Authenticate": "Bearer"}


class PaymentRequired(NijikaError):
    """Credits are short."""

    code = "insufficient_credits"
    status = 402


class NotAllowed(NijikaError):
    """This key may not do that."""

    code = "forbidden"
    status = 403


class NotFound(NijikaError):
    """There is nothing here, or it is not yours."""

    code = "not_found"
    status = 404


class MethodNotAllowed(NijikaError):
    """This address does not answer to that method."""

    code = "method_not_allowed"
    status = 405


class Conflict(NijikaError):
    """The state of the thing does not allow that."""

    code = "conflict"
    status = 409


class TooLarge(NijikaError):
    """The request is larger than this server reads."""

    code = "payload_too_large"
    status = 413


class AddressTooLong(NijikaError):
    """The request's address is too long."""

    code = "address_too_long"
    status = 414


class UnsupportedMedia(NijikaError):
    """This content type, or this file's format, is not read here."""

    code = "unsupported_media_type"
    status = 415


class Invalid(NijikaError):
    """The request is well formed but not valid."""

    code = "validation_error"
    status = 422


class RateLimited(NijikaError):
    """Too many requests."""

    code = "rate_limited"
    status = 429
    headers = {"Retry-After": "1"}


class HeadTooLarge(NijikaError):
    """The request's head is too long."""

    code = "head_too_large"
    status = 431


class Unavailable(NijikaError):
    """The service cannot take this request at the moment."""

    code = "unavailable"
    status = 503
    headers = {"Retry-After": "2"}
