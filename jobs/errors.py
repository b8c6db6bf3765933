"""What can go wrong with jobs, for their owners."""

from nijika.errors import Invalid, NotFound, Unavailable


class StorageUnavailable(Unavailable):
    """The file store does not answer at the moment."""

    code = "storage_unavailable"
    headers = {"Retry-After": "5"}


class FileMissing(NotFound):
    """This file is not there."""


class IdempotencyKeyReused(Invalid):
    """This Idempotency-Key already stands for another request."""

    code = "idempotency_key_reused"


class SourceGone(Invalid):
    """The job whose image was to be used here has been erased."""
