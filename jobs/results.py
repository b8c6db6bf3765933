"""Whose result may be read, and how its bytes are sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from jobs.errors import JobNotFound, JobNotSucceeded, ResultErased
from jobs.models import Job
from jobs.storage import store
from nijika.continuation import send_file
from nijika.errors import NotFound

logger = logging.getLogger(__name__)
EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/gif": "gif",
    "image/tiff": "tiff",
    "application/zip": "zip",
}
_OVER = ExpressionWrapper(
    Q(expires_at__isnull=False, expires_at__lte=Now()), output_field=BooleanField()
)


class NoSuchResult(NotFound):
    """This job has no result of that number."""


def find(job_id: UUID, **owner: Any) -> tuple[Job, bool]:
    """The job, and whether its files have reached their end. Raises JobNotFound.

    `owner` is what the job must have: `user_id` and `test`, or nothing for whoever
    has a signed link.
    """
    job = Job.objects.annotate(over=_OVER).filter(pk=job_id, **owner).first()
    if job is None:
        raise JobNotFound
    return job, bool(job.erased_at or job.over)


def result_of(job: Job, index: int, *, over: bool) -> Mapping[str, Any]:
    """Raises JobNotSucceeded, ResultErased and NoSuchResult."""
    if job.status != Job.Status.SUCCEEDED:
        raise JobNotSucceeded(job.status)
    if over:
        raise ResultErased
    for result in job.results:
        if result["index"] == index:
            found: Mapping[str, Any] = result
            return found
    raise NoSuchResult


def send(request: HttpRequest, job: Job, result: Mapping[str, Any]) -> HttpResponseBase:
    """The file itself, or the way to it where the store can be asked directly.

    Raises ResultErased if it is not there, and StorageUnavailable.
    """
    entity_tag = f'"{result["sha256"]}"'
    if matches(request, entity_tag):
        response: HttpResponseBase = HttpResponse(status=304)
    else:
        response = _sent(request, result, _filename(job, result))
    response["ETag"] = entity_tag
    response["Cache-Control"] = "private"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _sent(
    request: HttpRequest, result: Mapping[str, Any], filename: str
) -> HttpResponseBase:
    key, content_type = result["key"], result["content_type"]
    url = store().download_url(key, filename=filename, content_type=content_type)
    if url is not None:
        response: HttpResponseBase = HttpResponse(status=302)
        response["Location"] = url
        return response
    path = store().path(key)
    try:
        assert path is not None, "a store has a path or a URL"
        response = send_file(request, path, content_type=content_type)
    except FileNotFoundError:
        logger.error("the file of a result is missing: %s", key)
        raise ResultErased from None
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def _filename(job: Job, result: Mapping[str, Any]) -> str:
    number = f"-{result['index']}" if len(job.results) > 1 else ""
    extension = EXTENSIONS.get(result["content_type"], "bin")
    return f"{job.operation}-{str(job.pk)[-12:]}{number}.{extension}"


def matches(request: HttpRequest, entity_tag: str) -> bool:
    """Whether the client says that it has this version (If-None-Match, RFC 9110)."""
    header = request.META.get("HTTP_IF_NONE_MATCH", "").strip()
    wanted = entity_tag.removeprefix("W/")
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return header == "*" or wanted in tags
