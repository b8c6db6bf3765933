"""What every store promises, and what a key is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

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


def checked(key: str) -> str:
    """The key, if it is one: it never leaves the root. Raises ValueError."""
    if not _KEY.fullmatch(key) or len(key) > 500:
        raise ValueError(f"not a key: {key[:100]!r}")
    return key
