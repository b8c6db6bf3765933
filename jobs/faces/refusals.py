"""Errors in the statuses and words of the system that a face stands for.

The body stays our problem with its `code`; beside it every problem has `error` and
`error_type`, and here the latter is the old system's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse

from jobs.api.rendering import answer
from jobs.errors import BadFields, FieldError, UnsupportedImage
from jobs.models import Job
from nijika.errors import NijikaError, NotFound

# The sender's doing, whenever it is found out.
BAD_IMAGES = frozenset(
    {"invalid_image", "image_too_large", "url_not_allowed", "invalid_parameters"}
    | {"content_blocked"}
)
BAD_REQUESTS = frozenset({"validation_error", *BAD_IMAGES})
# No engine was there, or the one that was is lost.
UNREACHABLE = frozenset({"engine_unavailable", "worker_lost", "expired"})


# What only hosted engines fail with.
PROVIDERS_FAULTS = (
    "invalid_request",
    "model_gone",
    "no_image",
    "provider_account",
    "provider_rate_limited",
    "provider_timeout",
    "provider_unavailable",
)
ABOUT_THE_CALLER = frozenset({401, 402, 403, 429})


class JobFailed(NijikaError):
    """The job has failed; nothing was charged."""

    status = 502

    def __init__(self, job: Job) -> None:
        error = job.error or {}
        super().__init__(error.get("message", ""))
        self.code = error.get("code", "engine_failed")
        self.job_id = str(job.pk)
        self.retryable = bool(error.get("retryable"))


class JobCancelled(NijikaError):
    """The job was cancelled; nothing was charged."""

    code = "job_cancelled"
    status = 400

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job_id = str(job.pk)


class TimedOut(NijikaError):
    """The job did not end in time, so it was cancelled; nothing was charged."""

    code = "timeout"
    status = 408

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job_id = str(job.pk)


class StillRunning(TimedOut):
    """The job has not ended yet. Send the same request with the same Idempotency-Key to
    go on waiting."""


class NotDone(NijikaError):
    """The task has not ended yet."""

    code = "task_not_done"
    status = 400


class ProviderNotFound(NotFound):
    """There is no such provider."""

    code = "provider_not_found"

    def __init__(self, available: list[str]) -> None:
        known = f"known: {', '.join(available)}" if available else "none is here"
        super().__init__(f"There is no such provider; {known}.")
        self.available = available


class ImageExpired(NotFound):
    """There is no such image, or it has expired: send it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How an old system refuses: statuses for whole kinds of errors, `types` by code,
    and members that all its refusals have.

    `no_image` is for a file in no format that is read here, `beyond` for an image that
    would become too large, where nothing else has a limit. `says_200`: what concerns
    the image or the work, and not the caller, is said in a body with `success: false`.
    """

    bad_request: int
    bad_image: int
    no_image: int = 400
    unreachable: int
    failed: int
    beyond: int | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)
    says_200: bool = False

    def refuse(self, error: NijikaError, old_names: Mapping[str, str]) -> HttpResponse:
        """The refusal, where it is an answer of its own; else raises it."""
        said = self._put(error, old_names)
        if not self.says_200 or error.status in ABOUT_THE_CALLER:
            raise said from None
        return answer({**self.members, "mask": None, "error": str(error)})

    def _put(self, error: NijikaError, old_names: Mapping[str, str]) -> NijikaError:
        """The same error, as this system says it."""
        if isinstance(error, BadFields):
            error = _by_old_names(error, old_names)
        error.status = self._status(error)
        words = {"error_type": self.types.get(error.code, error.code), **self.members}
        for name, value in words.items():
            setattr(error, name, value)
        return error

    def _status(self, error: NijikaError) -> int:
        if error.code in BAD_IMAGES:
            return self.bad_image
        if isinstance(error, UnsupportedImage):
            return self.no_image
        if error.code == "limit_exceeded" and self.beyond is not None:
            return self.beyond
        if error.code in BAD_REQUESTS:
            return self.bad_request
        if error.code in UNREACHABLE:
            return self.unreachable
        return self.failed if isinstance(error, JobFailed) else error.status


def _by_old_names(error: BadFields, old_names: Mapping[str, str]) -> BadFields:
    """The error about the fields that the client has sent, or should have."""
    fields = [_old_field(one["field"], old_names) for one in error.errors]
    renamed = [
        FieldError(field, one["code"], one["message"])
        for field, one in zip(fields, error.errors, strict=True)
    ]
    return BadFields(*renamed)


def _old_field(name: str, old_names: Mapping[str, str]) -> str:
    first, dot, rest = name.removeprefix("parameters.").partition(".")
    return old_names.get(first, first) + dot + rest


SINGLES = Manner(
    bad_request=400,
    bad_image=400,
    no_image=415,
    unreachable=500,
    failed=502,
    beyond=400,
)
EDITING = Manner(
    bad_request=400,
    bad_image=400,
    unreachable=503,
    failed=500,
    types={
        "validation_error": "invalid_input",
        "malformed_body": "invalid_input",
        "unsupported_media_type": "invalid_input",
        "payload_too_large": "invalid_input",
        "invalid_image": "image_processing_error",
        "image_too_large": "image_processing_error",
        "invalid_parameters": "image_processing_error",
        "engine_unavailable": "provider_error",
        "engine_failed": "provider_error",
        "worker_lost": "provider_error",
        "out_of_memory": "provider_error",
        "limit_exceeded": "provider_error",
        **dict.fromkeys(PROVIDERS_FAULTS, "provider_error"),
    },
)


def gateway(
    service: str,
    *,
    bad_request: int = 422,
    beyond: int | None = None,
    says_200: bool = False,
) -> Manner:
    """The gateway before the old system's services."""
    return Manner(
        beyond=beyond,
        bad_request=bad_request,
        bad_image=400,
        unreachable=503,
        failed=500,
        types=dict.fromkeys(UNREACHABLE, "service_unavailable"),
        members={"service": service, "success": False},
        says_200=says_200,
    )


GENERATION = gateway("generation")
MASKS = gateway("segmentation", bad_request=400)
DETECTION = gateway("segmentation", bad_request=400, says_200=True)
UTILITIES = gateway("image-utils", beyond=400)
