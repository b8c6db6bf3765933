"""Files: inputs and results, in a local folder or in S3, behind one interface.

A key is a relative path of plain names (`inputs/<job>/0`); it never leaves the store's
root. A write is whole or not there: nobody reads half a file. Everything is private;
who may read is decided by whoever hands out a location or a link.

A *location* is what a worker gets instead of credentials: `file:///path` for a local
store, a presigned URL for S3 (GET to read, PUT to write).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings

from jobs.stores.base import Store, StoredFile
from jobs.stores.folder import LocalStore
from jobs.stores.s3 import S3Store

__all__ = ["LocalStore", "S3Store", "Store", "StoredFile", "store"]


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
