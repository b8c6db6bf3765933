"""The results of many jobs as one ZIP, made while it is read.

Nothing is compressed (pictures are) and nothing is kept: a piece is made when the one
before it has been taken (`nijika.pieces`).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobs.errors import FileMissing
from jobs.models import Job
from jobs.results import EXTENSIONS
from jobs.storage import store
from nijika.pieces import PiecesFeed

CONTENT_TYPE = "application/zip"
PIECE_BYTES = 256_000
LIST_NAME = "batch.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of an archive, and where it lies in the store."""

    name: str
    key: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What goes into an archive: files, and a list that says what they are. `told` is
    the list's content; under `items` each has the names of its `files`."""

    entries: Sequence[Entry]
    told: dict[str, Any] = field(default_factory=dict)


def content_of(jobs: Iterable[Job], told: Mapping[str, Any]) -> Content:
    """The results that these jobs have now, and their list."""
    entries: list[Entry] = []
    items: list[dict[str, Any]] = []
    for job in jobs:
        mine = [] if job.erased_at else _entries(job)
        entries += mine
        items.append(
            {
                "index": job.batch_index,
                "job": str(job.pk),
                "status": job.status,
                "charged": f"{job.charged:.4f}",
                "error": job.error,
                "files": [one.name for one in mine],
            }
        )
    return Content(entries=entries, told={**told, "items": items})


def pieces(content: Content) -> Generator[bytes, None, None]:
    """The archive. Raises StorageUnavailable, and then it is cut.

    A file that has gone meanwhile is left out, and so from the list, which comes last.
    """
    out = _Out()
    missing: set[str] = set()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for entry in content.entries:
            try:
                source = store().open(entry.key)
            except FileMissing:
                missing.add(entry.name)
                continue
            with closing(source), archive.open(_info(entry), "w") as target:
                while chunk := source.read(PIECE_BYTES):
                    target.write(chunk)
                    if out.size_bytes >= PIECE_BYTES:
                        yield out.taken()
        archive.writestr(LIST_NAME, _list(content, missing))
    yield out.taken()


class ArchiveFeed(PiecesFeed):
    """An archive for `nijika.continuation.stream`."""

    def __init__(self, content: Content) -> None:
        super().__init__(pieces(content))


class _Out(io.RawIOBase):
    """What the archive has written and nobody has taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    @property
    def size_bytes(self) -> int:
        return len(self._held)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        piece = bytes(self._held)
        self._held.clear()
        return piece


def _entries(job: Job) -> list[Entry]:
    at = job.ended_at or job.created_at
    return [
        Entry(name=_name(job, result), key=result["key"], at=at)
        for result in job.results
    ]


def _name(job: Job, result: Mapping[str, Any]) -> str:
    """Names sort in the order of the items: 0007-removebg.png."""
    number = f"-{result['index']}" if len(job.results) > 1 else ""
    extension = EXTENSIONS.get(result["content_type"], "bin")
    return f"{job.batch_index or 0:04}-{job.operation}{number}.{extension}"


def _info(entry: Entry) -> zipfile.ZipInfo:
    at = entry.at.astimezone(UTC)
    return zipfile.ZipInfo(entry.name, at.timetuple()[:6])


def _list(content: Content, missing: set[str]) -> str:
    told = dict(content.told)
    told["items"] = [
        item | {"files": [name for name in item["files"] if name not in missing]}
        for item in told.get("items", [])
    ]
    return json.dumps(told, ensure_ascii=False, indent=1)
