"""Reading inputs from and writing results to *locations*: `file:` paths, or presigned
`https:` URLs. The worker holds no credentials of a store.

A file appears whole or not at all: it is written beside its place, then renamed. Every
trouble with a store is `storage_unavailable`, which is worth a retry.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import urllib3

from gpu_worker.errors import EngineFailed, StorageUnavailable

if TYPE_CHECKING:
    from gpu_worker.engines.base import Result

INPUT_LIMIT_BYTES = 200 * 10**6
DETAILS_LIMIT_BYTES = 16_000
CHUNK_BYTES = 1 << 20


class Remote:
    """Presigned locations, over connections that are kept."""

    def __init__(self, timeout_s: float, connections: int) -> None:
        timeout = urllib3.Timeout(connect=min(3, timeout_s), read=timeout_s)
        self._pool = urllib3.PoolManager(
            maxsize=connections, timeout=timeout, retries=False
        )

    def read(self, location: str, path: Path) -> None:
        """Download into `path`. Raises StorageUnavailable."""
        with _as_unavailable():
            answer = self._pool.request("GET", location, preload_content=False)
            try:
                _expect_success(answer.status)
                _copy(answer, path)
            finally:
                answer.drain_conn()
                answer.release_conn()

    def write(self, path: Path, location: str, content_type: str) -> None:
        """Upload the file. Raises StorageUnavailable."""
        size = str(path.stat().st_size)
        headers = {"Content-Type": content_type, "Content-Length": size}
        with _as_unavailable(), path.open("rb") as file:
            answer = self._pool.request("PUT", location, body=file, headers=headers)
            _expect_success(answer.status)


def local_path(location: str) -> Path | None:
    """The path behind a `file:` location; None for the others."""
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def put(result: Result, target: str) -> dict[str, Any]:
    """In a child: write a result to its target, and say what was written.

    Raises StorageUnavailable, and EngineFailed for details that are not small JSON.
    """
    _check_details(result.details)
    with _as_unavailable():
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(result.data)
    return {
        "content_type": result.content_type,
        "width_px": int(result.width_px),
        "height_px": int(result.height_px),
        "size_bytes": len(result.data),
        "sha256": hashlib.sha256(result.data).hexdigest(),
        "details": result.details,
    }


def put_in_place(written: Path, place: Path) -> None:
    """Give a written file its name and make it durable. Raises StorageUnavailable.

    Nobody looks for it before it is reported, so the name may come first; the file
    systems of Linux that keep a journal write it down with the file (one fsync of 2 ms
    instead of two).
    """
    with _as_unavailable():
        os.rename(written, place)
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_details(details: dict[str, Any]) -> None:
    try:
        text = json.dumps(details, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EngineFailed("The engine's details are not JSON.") from error
    if len(text) > DETAILS_LIMIT_BYTES:
        raise EngineFailed("The engine's details are too long.")


def _copy(answer: Any, path: Path) -> None:
    size = 0
    with path.open("wb") as file:
        for chunk in answer.stream(CHUNK_BYTES, decode_content=False):
            size += len(chunk)
            if size > INPUT_LIMIT_BYTES:
                raise StorageUnavailable("The stored input is too large.")
            file.write(chunk)


def _expect_success(status: int) -> None:
    if not 200 <= status < 300:
        raise StorageUnavailable(f"The file store answered {status}.")


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """No addresses in the message: a presigned location is a permission."""
    try:
        yield
    except (OSError, urllib3.exceptions.HTTPError) as error:
        raise StorageUnavailable(
            f"The file store failed: {type(error).__name__}."
        ) from error
