"""What can go wrong with jobs, for their owners."""

from collections.abc import Sequence
from typing import NamedTuple

from nijika.errors import (
    Conflict,
    Invalid,
    NijikaError,
    NotFound,
    RateLimited,
    Unavailable,
    UnsupportedMedia,
)

# What a job can fail with; more may come. `gpu_worker.errors` has those of a run.
JOB_CODES = (
    "invalid_image",
    "invalid_parameters",
    "fetch_failed",
    "url_not_allowed",
    "engine_unavailable",
    "engine_failed",
    "out_of_memory",
    "limit_exceeded",
    "content_blocked",
    "invalid_request",
    "model_gone",
    "no_image",
    "provider_account",
    "provider_error",
    "provider_rate_limited",
    "provider_timeout",
    "provider_unavailable",
    "worker_lost",
    "storage_unavailable",
    "expired",
)


class FieldError(NamedTuple):
    """What is wrong with one field: where, a code for programs, a text for people."""

    field: str
    code: str
    message: str


class BadFields(Invalid):
    """Some fields of the request are not right."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{one.field} {one.message}" for one in errors[:3]))
        self.errors = [one._asdict() for one in errors]


def within(path: str, error: NijikaError) -> NijikaError:
    """The error of a part of a request, its fields named as they stand in the whole."""
    errors = [
        one | {"field": f"{path}.{one['field']}"}
        for one in getattr(error, "errors", [])
    ]
    if isinstance(error, BadFields):
        return BadFields(*[FieldError(**one) for one in errors])
    if errors:
        error.errors = errors  # type: ignore[attr-defined]
    return error


class InvalidImage(Invalid):
    """This file begins like an image, but its header is broken."""

    code = "invalid_image"


class ImageTooLarge(Invalid):
    """This image is larger than what is taken here."""

    code = "image_too_large"


class UnsupportedImage(UnsupportedMedia):
    """This is not an image in a format that is read here."""


class UrlRefused(Invalid):
    """This address is not allowed."""

    code = "url_not_allowed"

    def __init__(self, field: str) -> None:
        super().__init__()
        self.errors = [FieldError(field, self.code, "is not allowed")._asdict()]


class EngineUnavailable(Unavailable):
    """No engine for this is there at the moment."""

    code = "engine_unavailable"
    headers = {"Retry-After": "10"}


class EngineUnseen(EngineUnavailable):
    """No worker has brought this engine yet, so nobody knows its parameters."""

    headers = {"Retry-After": "60"}

    def __init__(self, engine: str, alternatives: Sequence[str]) -> None:
        text = f"No worker has brought the engine {engine} yet."
        super().__init__(text + _instead(alternatives))
        self.engine, self.reason = engine, "no_worker"
        self.alternatives = [*alternatives]


class EngineOutOfReach(EngineUnavailable):
    """This engine is not to be had here, and waiting does not change that."""

    headers = {}

    def __init__(self, engine: str, reason: str, alternatives: Sequence[str]) -> None:
        text = f"The engine {engine} is not to be had ({reason})."
        super().__init__(text + _instead(alternatives))
        self.engine, self.reason = engine, reason
        self.alternatives = [*alternatives]


def _instead(alternatives: Sequence[str]) -> str:
    return f" Instead: {', '.join(alternatives)}." if alternatives else ""


class SandboxFull(RateLimited):
    """There are too many unfinished jobs of this account's test keys."""

    headers = {"Retry-After": "5"}


class TooManyUnfinished(RateLimited):
    """This account has as many unfinished jobs as it may; try again as they end."""

    headers = {"Retry-After": "5"}


class StorageFull(RateLimited):
    """This account's files take all the room that it has; they go as jobs expire."""

    headers = {"Retry-After": "600"}


class JobNotSucceeded(Conflict):
    """This job has not succeeded, so it has no result."""

    code = "job_not_succeeded"

    def __init__(self, status_now: str) -> None:
        super().__init__()
        self.status_now = status_now


class ResultErased(NotFound):
    """The files of this job have been erased."""

    code = "result_erased"


class StorageUnavailable(Unavailable):
    """The file store does not answer at the moment."""

    code = "storage_unavailable"
    headers = {"Retry-After": "5"}


class FileMissing(NotFound):
    """This file is not there."""


class IdempotencyKeyReused(Invalid):
    """This Idempotency-Key already stands for another request."""

    code = "idempotency_key_reused"


class SourceGone(BadFields):
    """The job whose image was to be used is unknown, not yours, or erased by now."""

    def __init__(self) -> None:
        what = "names a job that is not there"
        super().__init__(FieldError("image", "not_found", what))


class BatchNotFound(NotFound):
    """There is no such batch, or it is not yours."""


class BatchNotCompleted(Conflict):
    """Some jobs of this batch have not ended yet; wait, or cancel the rest."""

    code = "batch_not_completed"

    def __init__(self, unfinished: int) -> None:
        super().__init__()
        self.unfinished = unfinished


class UploadNotFound(NotFound):
    """There is no such upload, it is not yours, or its time is over."""


class UploadDone(Conflict):
    """Another file was sent for this upload already."""

    code = "upload_done"


class UploadsFull(RateLimited):
    """There are too many uploads of this account; use or delete some."""

    headers = {"Retry-After": "60"}


class JobNotFound(NotFound):
    """There is no such job, or it is not yours."""


class JobNotCancellable(Conflict):
    """This job has ended, so it cannot be cancelled."""

    code = "job_not_cancellable"

    def __init__(self, status_now: str) -> None:
        super().__init__()
        self.status_now = status_now


class JobNotEnded(Conflict):
    """This job has not ended yet; cancel it first."""

    code = "job_not_ended"


class OwnKeyNeeded(Conflict):
    """This job's provider was paid with its owner's key; send it anew, with it."""

    code = "own_key_needed"
