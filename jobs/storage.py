"""Files: inputs and results, in a local folder or in S3, behind one interface.

A key is a relative path of plain names (`inputs/<job>/0`); it never leaves the store's
root. A write is whole or not there: nobody reads half a file. Everything is private;
who may read is decided by whoever hands out a location or a link.

A *location* is what a worker gets instead of credentials: `file:///path` for a local
store, a presigned URL for S3 (GET to read, PUT to write).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import quote, unquote, urlsplit

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from jobs.errors import FileMissing, StorageUnavailable

# A message may lie in the broker and a run may take its time; a presigned location is
# made anew with every dispatch and every grant.
LOCATION_LIFETIME = timedelta(hours=6)
# A redirect is followed at once.
DOWNLOAD_LIFETIME = timedelta(minutes=5)
CHUNK_BYTES = 1 << 16  # larger ones would come fresh from the kernel each time
DELETE_AT_ONCE = 1000  # S3's own limit

_NAME = r"(?!\.{1,2}(?:/|\Z))[\w.\-]+"  # neither . nor ..
_KEY = re.compile(rf"{_NAME}(?:/{_NAME})*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    key: str
    size_bytes: int
    modified_at: datetime


class Store(Protocol):
    """Every method raises StorageUnavailable when the store does not answer or is full,
    and ValueError for a key that is none."""

    def write(
        self, key: str, content: bytes | BinaryIO, *, durable: bool = True
    ) -> None:
        """Store a file, whole and durable on return; replaces one of that name.

        Without `durable` a crash of the machine may leave less of it, or nothing.
        """

    def open(self, key: str) -> BinaryIO:
        """Raises FileMissing."""

    def copy(self, source: str, target: str) -> None:
        """Give a stored file a second name, durable on return. Neither is ever written
        again. Raises FileMissing."""

    def path(self, key: str) -> Path | None:
        """Where the file lies on this machine, there or not; None if it never does."""

    def delete(self, key: str) -> None:
        """Remove a file. A repeat does nothing."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove all files below a folder. A repeat does nothing."""

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """All files below a folder, unfinished writes included."""

    def read_location(self, key: str) -> str:
        """How a worker reads the file."""

    def write_location(self, key: str) -> str:
        """How a worker writes the file."""

    def download_url(
        self,
        key: str,
        *,
        filename: str,
        content_type: str,
        disposition: str = "attachment",
        cache_control: str = "private",
    ) -> str | None:
        """A presigned URL for a browser, or None where we have to send the file."""

    def upload_url(
        self, key: str, *, content_type: str, size_bytes: int, lifetime: timedelta
    ) -> str | None:
        """A presigned URL to which a client may PUT a file of exactly this type and
        size, or None where we have to receive it."""

    def healthy(self) -> bool:
        """Whether the store can be written to now. Never raises."""


def store() -> Store:
    """The store that the settings name."""
    return _made(
        settings.STORAGE_URL,
        settings.S3_ENDPOINT_URL,
        settings.S3_PUBLIC_ENDPOINT_URL,
        settings.S3_REGION,
    )


@cache
def _made(url: str, endpoint: str, public_endpoint: str, region: str) -> Store:
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc:
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Store(
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=endpoint,
            public_endpoint=public_endpoint or endpoint,
            region=region,
        )
    raise ValueError("NIJIKA_STORAGE_URL is neither file:///folder nor s3://bucket")


class LocalStore:
    """A folder. Files appear by rename, after fsync of the file, then of its folder."""

    def __init__(self, root: Path) -> None:
        # A disk that is away now is no reason to know no locations on it.
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
        self._root = root.resolve()

    def write(
        self, key: str, content: bytes | BinaryIO, *, durable: bool = True
    ) -> None:
        path = self.path(key)
        with _os_errors():
            try:
                self._write(path, content, durable=durable)
            except FileNotFoundError:  # a sweep took the empty folder; once more
                _rewind(content)
                self._write(path, content, durable=durable)

    def _write(self, path: Path, content: bytes | BinaryIO, *, durable: bool) -> None:
        if durable:
            self._make_folder(path.parent)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        try:
            with unfinished.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                _copy(content, file)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(path.parent)

    def _make_folder(self, folder: Path) -> None:
        """A new folder is durable only once its parent is."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def open(self, key: str) -> BinaryIO:
        with _os_errors():
            try:
                return self.path(key).open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise FileMissing from None

    def copy(self, source: str, target: str) -> None:
        path = self.path(target)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        with _os_errors():
            self._make_folder(path.parent)
            try:
                _link(self.path(source), unfinished)
                unfinished.replace(path)
            except FileNotFoundError:
                raise FileMissing from None
            finally:
                unfinished.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def path(self, key: str) -> Path:
        return self._root / _checked(key)

    def delete(self, key: str) -> None:
        with _os_errors():
            self.path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        folder = self._root / _checked(prefix.removesuffix("/"))
        with _os_errors():
            try:
                shutil.rmtree(folder)
            except (FileNotFoundError, NotADirectoryError):
                return

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        folder = self._root
        if prefix:
            folder /= _checked(prefix.removesuffix("/"))
        with _os_errors():
            yield from self._walk(folder)

    def _walk(self, folder: Path) -> Iterator[StoredFile]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
            elif found := self._stored(entry):
                yield found

    def _stored(self, entry: os.DirEntry[str]) -> StoredFile | None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # renamed or removed while we looked
            return None
        return StoredFile(
            key=Path(entry.path).relative_to(self._root).as_posix(),
            size_bytes=status.st_size,
            modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
        )

    def read_location(self, key: str) -> str:
        return f"file://{quote(str(self.path(key)))}"

    write_location = read_location

    def download_url(
        self,
        key: str,
        *,
        filename: str,
        content_type: str,
        disposition: str = "attachment",
        cache_control: str = "private",
    ) -> str | None:
        return None

    def upload_url(
        self, key: str, *, content_type: str, size_bytes: int, lifetime: timedelta
    ) -> str | None:
        return None

    def healthy(self) -> bool:
        probe = self._root / f".health.{secrets.token_hex(6)}.part"
        try:
            probe.write_bytes(b"ok")
            probe.unlink()
        except OSError:
            return False
        return True


class S3Store:
    """A bucket, or a folder of one. Credentials are the usual AWS_* variables."""

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        endpoint: str,
        public_endpoint: str,
        region: str,
    ) -> None:
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""
        self._client = _s3_client(endpoint, region)
        # A signature covers the host, so links for browsers are signed for theirs.
        self._public_client = (
            self._client
            if public_endpoint == endpoint
            else _s3_client(public_endpoint, region)
        )

    def write(
        self, key: str, content: bytes | BinaryIO, *, durable: bool = True
    ) -> None:
        with _s3_errors():
            self._client.put_object(**self._object(key), Body=content)

    def open(self, key: str) -> BinaryIO:
        with _s3_errors():
            body = self._client.get_object(**self._object(key))["Body"]
        return cast(BinaryIO, body)

    def copy(self, source: str, target: str) -> None:
        with _s3_errors():
            self._client.copy_object(
                **self._object(target), CopySource=self._object(source)
            )

    def path(self, key: str) -> Path | None:
        _checked(key)
        return None

    def delete(self, key: str) -> None:
        self._delete([_checked(key)])

    def delete_prefix(self, prefix: str) -> None:
        folder = _checked(prefix.removesuffix("/"))
        batch: list[str] = []
        for file in self.list(folder):
            batch.append(file.key)
            if len(batch) == DELETE_AT_ONCE:
                self._delete(batch)
                batch = []
        if batch:
            self._delete(batch)

    def _delete(self, keys: list[str]) -> None:
        objects = [{"Key": self._root + key} for key in keys]
        with _s3_errors():
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
            )
        if answer.get("Errors"):
            raise StorageUnavailable

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        folder = f"{_checked(prefix.removesuffix('/'))}/" if prefix else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._root + folder
        )
        with _s3_errors():
            for page in pages:
                for found in page.get("Contents", ()):
                    yield StoredFile(
                        key=found["Key"].removeprefix(self._root),
                        size_bytes=found["Size"],
                        modified_at=found["LastModified"],
                    )

    def read_location(self, key: str) -> str:
        return self._presigned("get_object", self._object(key))

    def write_location(self, key: str) -> str:
        return self._presigned("put_object", self._object(key))

    def download_url(
        self,
        key: str,
        *,
        filename: str,
        content_type: str,
        disposition: str = "attachment",
        cache_control: str = "private",
    ) -> str | None:
        wanted = self._object(key) | {
            "ResponseContentDisposition": f'{disposition}; filename="{filename}"',
            "ResponseContentType": content_type,
            "ResponseCacheControl": cache_control,
        }
        with _s3_errors():
            url: str = self._public_client.generate_presigned_url(
                "get_object",
                Params=wanted,
                ExpiresIn=int(DOWNLOAD_LIFETIME.total_seconds()),
            )
        return url

    def upload_url(
        self, key: str, *, content_type: str, size_bytes: int, lifetime: timedelta
    ) -> str | None:
        # What is given here is signed, so the store refuses anything else.
        wanted = {"ContentType": content_type, "ContentLength": size_bytes}
        with _s3_errors():
            url: str = self._public_client.generate_presigned_url(
                "put_object",
                Params=self._object(key) | wanted,
                ExpiresIn=int(lifetime.total_seconds()),
            )
        return url

    def healthy(self) -> bool:
        try:
            with _s3_errors():
                self._client.head_bucket(Bucket=self._bucket)
        except (StorageUnavailable, FileMissing):
            return False
        return True

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._root + _checked(key)}

    def _presigned(self, method: str, wanted: dict[str, str]) -> str:
        with _s3_errors():
            url: str = self._client.generate_presigned_url(
                method,
                Params=wanted,
                ExpiresIn=int(LOCATION_LIFETIME.total_seconds()),
            )
        return url


def _s3_client(endpoint: str, region: str) -> Any:
    config = Config(
        signature_version="s3v4",
        connect_timeout=3,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=32,
        # Not every store that speaks S3 knows the newer trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint or None, region_name=region, config=config
    )


@contextmanager
def _s3_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404", "NotFound"}:
            raise FileMissing from None
        raise StorageUnavailable from error
    except BotoCoreError as error:
        raise StorageUnavailable from error


@contextmanager
def _os_errors() -> Iterator[None]:
    """The disk is full, gone or not ours."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable from error


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key) or len(key) > 500:
        raise ValueError(f"not a key: {key[:100]!r}")
    return key


def _copy(content: bytes | BinaryIO, file: BinaryIO) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        shutil.copyfileobj(content, file, CHUNK_BYTES)


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the disk has no such links."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _rewind(content: bytes | BinaryIO) -> None:
    if not isinstance(content, bytes):
        content.seek(0)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
