"""The images of a request: files, data URLs, URLs, uploads, and files of earlier jobs.

What a file is decides its content (`jobs.parsing.images`). Files are stored before the
job exists; those of a request that is then refused are swept later. A URL is looked at
as text here and fetched by `jobs.sources`. An upload (`jobs.files.uploads`) is copied
under the job's own name; a file of another job is not: that job is pinned by the new
one.
"""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from gpu_worker import fetch
from jobs.errors import BadFields, FieldError, FileMissing, UrlRefused
from jobs.files import uploads
from jobs.models import Job, Upload
from jobs.parsing.images import sha256_of, sniff
from jobs.storage import store
from nijika.errors import NijikaError, TooLarge

UPLOAD = "upload:"
REFERENCES = ("job:", UPLOAD)
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*:", re.IGNORECASE)
_JOB = re.compile(r"job:([0-9a-f\-]{36})(/input)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An image as the request gives it: a file, or a text that stands for one.

    `field` is where it stands in the request, for errors.
    """

    role: str
    field: str
    file: BinaryIO | None = None
    text: str = ""

    def wrong(self, code: str, message: str) -> BadFields:
        return BadFields(FieldError(self.field, code, message))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Rows for `Job.inputs`, and the jobs that own files among them."""

    rows: list[dict[str, Any]]
    sources: tuple[UUID, ...]

    def pixels(self) -> int:
        """How many there are at most: a URL may turn out to be the largest allowed."""
        return sum(
            row["width_px"] * row["height_px"] or settings.IMAGE_LIMIT_PIXELS
            for row in self.rows
        )


def take(
    images: Sequence[Given],
    *,
    job_id: UUID,
    user_id: int,
    test: bool,
    known: Files | None = None,
) -> Taken:
    """Look at all images, then store what comes with them.

    `known` is what `referred` gave for these images, among others. Raises BadFields,
    UrlRefused, UnsupportedImage, InvalidImage, ImageTooLarge, TooLarge and
    StorageUnavailable.
    """
    files = referred(images, user_id=user_id, test=test) if known is None else known
    stored: list[tuple[Given, str, BinaryIO | str]] = []
    rows, sources = [], set()
    for number, given in enumerate(images):
        key = f"inputs/{job_id}/{number}"
        if given.text.startswith(UPLOAD):
            row = _referred(given, files)
            stored.append((given, key, row["key"]))
            rows.append(row | {"key": key})
        elif given.text.startswith(REFERENCES):
            rows.append(_referred(given, files))
            sources.add(owner_of(rows[-1]["key"]))
        elif file := _file(given):
            rows.append(_uploaded(given, file, key))
            stored.append((given, key, file))
        else:
            rows.append(_linked(given))
    for given, key, content in stored:
        _store(given, key, content)
    return Taken(rows=rows, sources=tuple(sorted(sources)))


def _store(given: Given, key: str, content: BinaryIO | str) -> None:
    """Write the file, or copy the stored file of that name."""
    if not isinstance(content, str):
        store().write(key, content)
        return
    try:
        store().copy(content, key)
    except FileMissing:
        raise given.wrong("not_found", UNKNOWN) from None


def check(images: Sequence[Given]) -> None:
    """What can be said of the images without reading, storing or asking anybody."""
    for given in images:
        if given.file is None and not given.text.startswith(REFERENCES):
            if _DATA_URL.match(given.text):
                continue
            _linked(given)


def pixels_of(images: Sequence[Given]) -> int:
    """The pixels of the first image, as far as it came with the request and can be
    read; else 0."""
    with suppress(NijikaError):
        for given in images:
            if given.role == "image" and (file := _file(given)) is not None:
                found = sniff(file)
                return found.width_px * found.height_px
    return 0


# Uploads


def _file(given: Given) -> BinaryIO | None:
    if given.file is not None:
        return given.file
    if given.text[:5].lower() != "data:":
        return None
    return io.BytesIO(_decoded(given))


def _decoded(given: Given) -> bytes:
    """The bytes of a data URL (RFC 2397), which must be in base64."""
    match = _DATA_URL.match(given.text)
    if match is None:
        raise given.wrong("format", "must be a data URL in base64")
    if (len(given.text) - match.end()) * 3 // 4 > settings.UPLOAD_LIMIT_BYTES + 2:
        raise TooLarge
    try:
        return binascii.a2b_base64(given.text[match.end() :], strict_mode=True)
    except ValueError:
        raise given.wrong("format", "is not sound base64") from None


def _uploaded(given: Given, file: BinaryIO, key: str) -> dict[str, Any]:
    size_bytes = file.seek(0, io.SEEK_END)
    if size_bytes > settings.UPLOAD_LIMIT_BYTES:
        raise TooLarge(f"At most {settings.UPLOAD_LIMIT_BYTES} bytes are taken here.")
    try:
        found = sniff(file)
    except NijikaError as error:
        raise _about(error, given) from error
    return _row(
        given,
        key=key,
        content_type=found.content_type,
        size_bytes=size_bytes,
        width_px=found.width_px,
        height_px=found.height_px,
        sha256=sha256_of(file),
    )


def _about(error: NijikaError, given: Given) -> NijikaError:
    """The error, with the field that it is about."""
    refusal = FieldError(given.field, error.code, str(error))
    error.errors = [refusal._asdict()]  # type: ignore[attr-defined]
    return error


# URLs


def _linked(given: Given) -> dict[str, Any]:
    if not _SCHEME.match(given.text):
        what = "must be a file, a data URL, a URL, job:ID or upload:ID"
        raise given.wrong("format", what)
    try:
        fetch.check_text(given.text, settings.FETCH_ALLOWED_HOSTS)
    except fetch.UrlNotAllowed:
        raise UrlRefused(given.field) from None
    return _row(given, url=given.text)


# Uploads and files of other jobs

Files = Mapping[str, dict[str, Any] | NijikaError]
UNKNOWN = "names nothing that is there"
NO_FILE = {
    "job:": ("no_result", "names a job that has no such file"),
    UPLOAD: ("no_file", "names an upload whose file was not sent yet"),
}


def referred(images: Collection[Given], *, user_id: int, test: bool) -> Files:
    """The file behind each text that names one; empty where there is none yet, absent
    where there is no such thing of this user and mode."""
    of_jobs = _files_of_jobs(images, user_id=user_id, test=test)
    return of_jobs | _files_of_uploads(images, user_id=user_id, test=test)


def _referred(given: Given, files: Files) -> dict[str, Any]:
    if given.text not in files:
        raise given.wrong("not_found", UNKNOWN)
    file = files[given.text]
    if isinstance(file, NijikaError):
        raise _about(file, given)
    if not file:
        raise given.wrong(*NO_FILE[UPLOAD if given.text.startswith(UPLOAD) else "job:"])
    if not file["content_type"].startswith("image/"):
        raise given.wrong("no_image", "names a file that is no image")
    kept = ("key", "content_type", "size_bytes", "width_px", "height_px", "sha256")
    return _row(given, **{name: file[name] for name in kept})


def _files_of_uploads(
    images: Collection[Given], *, user_id: int, test: bool
) -> dict[str, dict[str, Any] | NijikaError]:
    texts = {given.text for given in images if given.text.startswith(UPLOAD)}
    ids = {text: job_id_of(text.removeprefix(UPLOAD)) for text in texts}
    wanted = {upload_id for upload_id in ids.values() if upload_id}
    if not wanted:
        return {}
    found = uploads.files_of(wanted, user_id=user_id, test=test)
    return {
        text: _file_of_upload(found[upload_id])
        for text, upload_id in ids.items()
        if upload_id in found
    }


def _file_of_upload(upload: Upload | NijikaError) -> dict[str, Any] | NijikaError:
    if isinstance(upload, NijikaError):
        return upload
    if not upload.key:
        return {}
    names = ("key", "content_type", "size_bytes", "width_px", "height_px", "sha256")
    return {name: getattr(upload, name) for name in names}


def _files_of_jobs(
    images: Collection[Given], *, user_id: int, test: bool
) -> dict[str, dict[str, Any] | NijikaError]:
    texts = {given.text: _JOB.fullmatch(given.text) for given in images if given.text}
    wanted = {text: match for text, match in texts.items() if match}
    if not wanted:
        return {}
    ids = {parsed for match in wanted.values() if (parsed := job_id_of(match[1]))}
    rows = Job.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
        id__in=ids,
        user_id=user_id,
        test=test,
        erased_at__isnull=True,
    ).values("id", "status", "results", "inputs")
    jobs = {str(row["id"]): row for row in rows}
    return {
        text: _file_of(jobs[match[1]], input=bool(match[2]))
        for text, match in wanted.items()
        if match[1] in jobs
    }


def _file_of(job: Mapping[str, Any], *, input: bool) -> dict[str, Any]:
    if input:
        files = [file for file in job["inputs"] if file["key"]]
    else:
        files = job["results"] if job["status"] == Job.Status.SUCCEEDED else []
    return files[0] if files else {}


def owner_of(key: str) -> UUID:
    """The job whose files these are: not always the one that was named, whose input
    may itself be another job's result."""
    return UUID(key.split("/")[1])


def job_id_of(text: str) -> UUID | None:
    """The id, if it is one as we write it; an id has one spelling."""
    try:
        parsed = UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text else None


def _row(given: Given, **values: Any) -> dict[str, Any]:
    return {
        "role": given.role,
        "key": "",
        "url": "",
        "content_type": "",
        "size_bytes": 0,
        "width_px": 0,
        "height_px": 0,
        "sha256": "",
        **values,
    }
