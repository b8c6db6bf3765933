"""What pictures are made from: a URL, or a file of one of the account's own jobs.

https://…            through the guard, `gpu_worker.fetch`, like every URL input
job:ID, job:ID/N     the first or N-th result of a job
job:ID/input         its input
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import connection

from gpu_worker import fetch
from jobs.errors import FileMissing, ImageTooLarge, InvalidImage, UnsupportedImage
from jobs.onthefly.errors import (
    BadRequest,
    LimitReached,
    NotAnImage,
    OriginFailed,
    SourceRefused,
)
from jobs.parsing import images
from jobs.requests.inputs import job_id_of
from jobs.storage import store
from nijika.errors import NotFound

CHUNK_BYTES = 1 << 20
_JOB = re.compile(r"job:([0-9a-f-]{36})(?:/(0|[1-9][0-9]{0,3}|input))?", re.ASCII)


class SourceMissing(NotFound):
    """There is no such source, or it is not this account's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source by name; `text` is its one spelling. `part` is a result's number or
    `input`, for a job's file."""

    text: str
    job_id: UUID | None = None
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a source's bytes are: at `path`, or `load` brings them into a file.

    `until` is the end of its job's files as Unix time, None if they have none. Loading
    raises OriginFailed, SourceRefused, NotAnImage, LimitReached, SourceMissing and
    StorageUnavailable.
    """

    path: Path | None = None
    load: Callable[[Path], None] | None = None
    until: float | None = None


def read(text: str) -> Source:
    """What a text names. Raises BadRequest and SourceRefused; asks nobody."""
    if text.startswith("job:"):
        return _job(text)
    text = text.replace(" ", "%20")  # what `plain/` and queries have decoded
    try:
        fetch.check_text(text, settings.FETCH_ALLOWED_HOSTS)
    except fetch.UrlNotAllowed:
        raise SourceRefused from None
    if settings.ONTHEFLY_SOURCES and not _is_listed(text):
        raise SourceRefused
    return Source(text=text)


def locate(source: Source, *, user_id: int, test: bool) -> Located:
    """Where to read it. Raises SourceMissing for what is not this account's."""
    if source.job_id is None:
        return Located(load=partial(_fetch, source.text))
    inputs, results, until = _files(source.job_id, user_id=user_id, test=test)
    if source.part == "input":
        file = next((one for one in inputs if one["key"]), None)
    else:
        file = next((one for one in results if str(one["index"]) == source.part), None)
    if file is None:
        raise SourceMissing
    path = store().path(file["key"])
    if path is not None:
        return Located(path=path, until=until)
    return Located(load=partial(_copy, file["key"]), until=until)


def _job(text: str) -> Source:
    match = _JOB.fullmatch(text)
    job_id = job_id_of(match[1]) if match else None
    if match is None or job_id is None:
        raise BadRequest("A job's file is job:ID, job:ID/number or job:ID/input.")
    part = match[2] or "0"
    return Source(text=f"job:{job_id}/{part}", job_id=job_id, part=part)


def _is_listed(url: str) -> bool:
    """Whether the URL begins as a listed one, whose host is complete."""
    return any(
        url.startswith(prefix if urlsplit(prefix).path else f"{prefix}/")
        for prefix in settings.ONTHEFLY_SOURCES
    )


def _files(job_id: UUID, *, user_id: int, test: bool) -> tuple[Any, Any, float | None]:
    """A job's inputs, its results and their end. Raises SourceMissing."""
    with connection.cursor() as cursor:
        cursor.execute(_FILES, [job_id, user_id, test])
        row = cursor.fetchone()
    if row is None:
        raise SourceMissing
    inputs, results, until = row
    return json.loads(inputs), json.loads(results), until


def _fetch(url: str, path: Path) -> None:
    with path.open("w+b") as file:
        try:
            fetch.fetch(
                url,
                limit_bytes=settings.UPLOAD_LIMIT_BYTES,
                timeout_s=settings.FETCH_TIMEOUT_S,
                allowed_hosts=settings.FETCH_ALLOWED_HOSTS,
                sink=file.write,
            )
            images.sniff(file)
        except fetch.UrlNotAllowed:
            raise SourceRefused from None
        except fetch.FetchFailed as error:
            raise OriginFailed(str(error)) from error
        except ImageTooLarge as error:
            raise LimitReached(str(error)) from error
        except (InvalidImage, UnsupportedImage) as error:
            raise NotAnImage from error


def _copy(key: str, path: Path) -> None:
    try:
        with store().open(key) as stored, path.open("wb") as file:
            while chunk := stored.read(CHUNK_BYTES):
                file.write(chunk)
    except FileMissing:
        raise SourceMissing from None


# Plain SQL: the models' way takes ten times as long, and this is most of a view's work.
_FILES = """
SELECT inputs::text, CASE status WHEN 'succeeded' THEN results::text ELSE '[]' END,
  extract(epoch FROM expires_at)::float8
FROM jobs_job WHERE id = %s AND user_id = %s AND test = %s AND erased_at IS NULL
  AND (expires_at IS NULL OR expires_at > statement_timestamp())
"""
