"""What can go wrong for whoever asks for a picture."""

from nijika.errors import Invalid, Malformed, NijikaError, NotAllowed, Unavailable


class BadRequest(Malformed):
    """This address does not describe a picture."""

    code = "validation_error"


class SourceRefused(Malformed):
    """This source is not allowed."""

    code = "url_not_allowed"


class LimitReached(Malformed):
    """This picture, or its source, is larger than what is made here."""

    code = "limit_exceeded"


class SignatureWrong(NotAllowed):
    """This address was not signed with this account's key."""


class NotAnImage(Invalid):
    """The source is not an image that can be read."""

    code = "invalid_image"


class OriginFailed(NijikaError):
    """The source could not be fetched."""

    code = "fetch_failed"
    status = 502


class MakingFailed(NijikaError):
    """The picture could not be made."""

    code = "engine_failed"


class Saturated(Unavailable):
    """Too many pictures are being made; try again in a moment."""

    headers = {"Retry-After": "1"}


class SwitchedOff(Unavailable):
    """Pictures are not made on the fly here."""
