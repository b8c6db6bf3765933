"""Files that clients send before the jobs that use them, past the API's own bodies.

- Somebody with a key announces a file's type and size and gets an address to PUT it
  to: the store's own, presigned, or ours, signed. The file must be as announced.
- The file is kept under a name that says its content, so nobody can change what a job
  was given. Where the store received it, it is read once, looked at and kept so when it
  is first asked for; what is sent later under the presigned address is never read.
- As an image (`upload:ID`) it may be used by its owner, in its mode, for a day. A job
  gets a copy under its own name: it may end after the upload.
- Whatever was not sent, or is over, is swept: files first, then the row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import BinaryIO, cast
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from jobs.accepting import idempotency
from jobs.accepting.idempotency import Wish
from jobs.errors import (
    BadFields,
    FieldError,
    FileMissing,
    StorageUnavailable,
    UploadDone,
    UploadNotFound,
    UploadsFull,
)
from jobs.files import stored, upload_links
from jobs.ids import new_id
from jobs.models import Upload
from jobs.parsing.images import Sniffed, sha256_of, sniff
from jobs.storage import store
from nijika.errors import NijikaError
from nijika.held import PIECE_BYTES

ROOT = "uploads"
TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/avif",
    "image/gif",
    "image/heif",
    "image/tiff",
    "image/bmp",
    "image/jp2",
    "image/vnd.microsoft.icon",
)
GRACE = timedelta(minutes=15)
"""What began in time may end later; and who has just found a file still reads it."""
SWEPT_AT_ONCE = 200
IN_MEMORY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A file that somebody wants to send; `replayed` by its idempotency key."""

    upload: Upload
    replayed: bool = False


def announce(
    *,
    user_id: int,
    test: bool,
    content_type: str,
    size_bytes: int,
    idempotency_key: str | None = None,
) -> Announced:
    """Promise to take a file.

    Raises BadFields, UploadsFull, StorageFull, IdempotencyKeyReused.
    """
    _check_announced(content_type, size_bytes)
    if not idempotency.stands(user_id=user_id, test=test, key=idempotency_key):
        stored.glance(user_id)
    digest = idempotency.digest_of("upload", [content_type, size_bytes])
    wish = Wish(user_id=user_id, test=test, key=idempotency_key, digest=digest)
    upload_id = new_id()
    with transaction.atomic():
        made = idempotency.claim(wish, upload_id)
        if made == upload_id:
            _insert(upload_id, user_id, test, content_type, size_bytes)
    return Announced(
        upload=find(made, user_id=user_id, test=test), replayed=made != upload_id
    )


def find(upload_id: UUID, *, user_id: int, test: bool) -> Upload:
    """The upload as it is now. Raises UploadNotFound, also when it is over.

    A file that the store has received meanwhile and that is not as announced is an
    upload that is not ready.
    """
    upload = _current().filter(pk=upload_id, user_id=user_id, test=test).first()
    if upload is None:
        raise UploadNotFound
    try:
        return _looked_at(upload)
    except StorageUnavailable:
        raise
    except NijikaError:
        return upload


def url(upload: Upload) -> str:
    """Where to PUT the file, made anew."""
    left = upload.send_by - datetime.now(UTC)
    presigned = store().upload_url(
        _sent_key(upload.pk),
        content_type=upload.content_type,
        size_bytes=upload.size_bytes,
        lifetime=max(left, timedelta(seconds=1)),
    )
    return presigned or upload_links.url(
        upload.pk,
        content_type=upload.content_type,
        size_bytes=upload.size_bytes,
        expires=int(upload.send_by.timestamp()),
    )


def receive(upload_id: UUID, file: BinaryIO, *, content_type: str) -> Upload:
    """Keep the file that was sent to our own address; the same once more is as good.

    Raises UploadNotFound, UploadDone for another file, what `sniff` raises, BadFields.
    """
    upload = Upload.objects.filter(pk=upload_id).first()
    if upload is None:
        raise UploadNotFound
    if content_type != upload.content_type:
        raise BadFields(FieldError("Content-Type", "type", "is not as announced"))
    return _kept(upload, file)


def files_of(
    ids: Collection[UUID], *, user_id: int, test: bool
) -> dict[UUID, Upload | NijikaError]:
    """The uploads of this user and mode that are there, by id; what is wrong with a
    file instead of it. An upload without a file is in it, not ready."""
    mine = _current().filter(pk__in=ids, user_id=user_id, test=test)
    found: dict[UUID, Upload | NijikaError] = {}
    for upload in mine:
        try:
            found[upload.pk] = _looked_at(upload)
        except NijikaError as error:
            found[upload.pk] = error
    return found


def discard(upload_id: UUID, *, user_id: int, test: bool) -> None:
    """Remove an upload and its file; jobs that use it have their own copy.

    Raises UploadNotFound.
    """
    mine = Upload.objects.filter(pk=upload_id, user_id=user_id, test=test)
    if not mine.exists():
        raise UploadNotFound
    store().delete_prefix(_folder(upload_id))
    mine.delete()


def sweep() -> int:
    """Remove what is over; gives the number. A repeat goes on where this was cut."""
    removed = 0
    over = Upload.objects.filter(expires_at__lt=Now() - GRACE).order_by("expires_at")
    while ids := list(over.values_list("pk", flat=True)[:SWEPT_AT_ONCE]):
        for upload_id in ids:
            store().delete_prefix(_folder(upload_id))
        removed += Upload.objects.filter(pk__in=ids).delete()[0]
    return removed


def sweep_orphans() -> list[str]:
    """Remove old files that no row answers for; gives their folders."""
    removed: list[str] = []
    oldest_kept = datetime.now(UTC) - timedelta(seconds=settings.ORPHAN_AFTER_S)
    ids = _stored_before(oldest_kept)
    while batch := list(islice(ids, SWEPT_AT_ONCE)):
        known = set(Upload.objects.filter(pk__in=batch).values_list("pk", flat=True))
        for upload_id in batch:
            if upload_id not in known:
                store().delete_prefix(_folder(upload_id))
                removed.append(_folder(upload_id))
    return removed


# Announcing


def _check_announced(content_type: str, size_bytes: int) -> None:
    problems = []
    if content_type not in TYPES:
        what = f"must be one of {', '.join(TYPES)}"
        problems.append(FieldError("content_type", "choice", what))
    if not 0 < size_bytes <= settings.UPLOAD_LIMIT_BYTES:
        what = f"must be 1 to {settings.UPLOAD_LIMIT_BYTES}"
        problems.append(FieldError("size_bytes", "range", what))
    if problems:
        raise BadFields(*problems)


def _insert(
    upload_id: UUID, user_id: int, test: bool, content_type: str, size_bytes: int
) -> None:
    """Raises UploadsFull. Whoever inserts holds the user's number until the commit."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_USER, [user_id])
    mine = Upload.objects.filter(user_id=user_id, expires_at__gt=Now())
    if mine.count() >= settings.UPLOADS_PER_USER:
        raise UploadsFull
    send_by = Now() + timedelta(seconds=settings.UPLOAD_SEND_S)
    Upload.objects.create(
        pk=upload_id,
        user_id=user_id,
        test=test,
        content_type=content_type,
        size_bytes=size_bytes,
        send_by=send_by,
        expires_at=send_by,
    )


_LOCK_USER = "SELECT pg_advisory_xact_lock(hashtextextended('uploads ' || %s, 0))"


# Keeping


def _current() -> QuerySet[Upload]:
    return Upload.objects.filter(expires_at__gt=Now())


def _looked_at(upload: Upload) -> Upload:
    """With what the store has received by now.

    Raises what is wrong with the file, and StorageUnavailable.
    """
    if upload.ready_at is not None or not _store_receives(upload):
        return upload
    sent = _sent_key(upload.pk)
    try:
        source = store().open(sent)
    except FileMissing:
        return upload
    with source, spooled(source, most_bytes=upload.size_bytes + 1) as file:
        kept = _kept(upload, file)
    store().delete(sent)
    return kept


def _store_receives(upload: Upload) -> bool:
    return store().path(_sent_key(upload.pk)) is None


@contextmanager
def spooled(source: BinaryIO, *, most_bytes: int) -> Iterator[BinaryIO]:
    """A copy that can be read twice, of so much of the file."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as spooled:
        left = most_bytes
        while left > 0 and (chunk := source.read(min(PIECE_BYTES, left))):
            spooled.write(chunk)
            left -= len(chunk)
        spooled.seek(0)
        yield cast(BinaryIO, spooled)


def _kept(upload: Upload, file: BinaryIO) -> Upload:
    """Store the file under its own name, then say that it is there: once."""
    found = _checked(upload, file)
    sha256 = sha256_of(file)
    key = f"{_folder(upload.pk)}/{sha256}"
    store().write(key, file)
    Upload.objects.filter(pk=upload.pk, ready_at__isnull=True).update(
        ready_at=Now(),
        expires_at=Now() + timedelta(seconds=settings.UPLOAD_KEPT_S),
        key=key,
        width_px=found.width_px,
        height_px=found.height_px,
        sha256=sha256,
    )
    now = Upload.objects.filter(pk=upload.pk).first()
    if now is not None and now.key == key:
        return now
    store().delete(key)
    raise UploadNotFound if now is None else UploadDone


def _checked(upload: Upload, file: BinaryIO) -> Sniffed:
    """Raises BadFields where the file is not as announced, and what `sniff` raises."""
    size_bytes = file.seek(0, 2)
    file.seek(0)
    if size_bytes != upload.size_bytes:
        what = f"is {size_bytes}, and {upload.size_bytes} was announced"
        raise BadFields(FieldError("size_bytes", "size", what))
    found = sniff(file)
    if found.content_type != upload.content_type:
        what = f"is {found.content_type}, and {upload.content_type} was announced"
        raise BadFields(FieldError("content_type", "type", what))
    return found


# Names


def _folder(upload_id: UUID) -> str:
    return f"{ROOT}/{upload_id}"


def _sent_key(upload_id: UUID) -> str:
    """Where the store receives the file. Nobody else reads it."""
    return f"{_folder(upload_id)}/sent"


def _stored_before(oldest_kept: datetime) -> Iterator[UUID]:
    files = store().list(ROOT)
    for name, group in groupby(files, key=lambda file: file.key.split("/")[1]):
        if max(file.modified_at for file in group) < oldest_kept:
            try:
                yield UUID(name)
            except ValueError:  # not ours, so not ours to remove
                continue
