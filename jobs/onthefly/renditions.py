"""What is kept of the pictures made: rows that say so, files in the store.

- The key is an HMAC of the account, the source and all options in one plain form: two
  wishes that differ never share one, and nobody can guess the key of another's.
- A row without `claim` and with `file` is ready until `expires_at`; a claim is a lease.
  Whoever wants what is neither ready nor claimed claims it, in one statement.
- A picture of a job's file, or with one as its watermark, ends when the job's files
  do, and is not shown from the moment on at which the job is erased.
- A file is never replaced: each making has one of its own. The sweep takes what no row
  names, and the oldest beyond the cache's limit.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection
from django.utils.crypto import salted_hmac

from jobs.storage import store

VERSION = 2
"""Part of every key: raised when equal options come to mean another picture."""

ROOT = "renditions"
FRESH_S = 0.8
MOST_KNOWN = 20_000
AT_ONCE = 500
LEASE_S = 6.0
"""How long a maker that has died keeps others waiting; living ones renew it."""

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/gif": "gif",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A picture that is ready. `until` is a time of `time.time()`."""

    key: str
    user_id: int
    file: str
    content_type: str
    size_bytes: int
    sha256: str
    until: float

    @property
    def name(self) -> str:
        """What it is called at /api/images/files/."""
        return f"{self.key}.{EXTENSIONS[self.content_type]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A picture to be claimed. `until`: when the files it is made of end, as Unix time,
    or None. The jobs: whose files those and its watermark are."""

    key: str
    user_id: int
    source_job: UUID | None
    until: float | None
    mark_job: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A picture that its claim's holder has stored."""

    key: str
    claim: UUID
    file: str
    content_type: str
    size_bytes: int
    sha256: str
    until: float | None


def key_of(**wanted: Any) -> str:
    """64 hex digits for these JSON values, in whatever order they come."""
    text = json.dumps([VERSION, wanted], sort_keys=True, separators=(",", ":"))
    return hmac.digest(_secret(settings.SECRET_KEY), text.encode(), sha256).hex()


def find(key: str) -> Kept | None:
    """The picture, as things were at most a second ago."""
    known = _known.get(key)
    if known is not None and time.monotonic() - known[0] < FRESH_S:
        return known[1] if known[1].until > time.time() else None
    found = look([key]).get(key)
    if found is None:
        _known.pop(key, None)
        return None
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[key] = time.monotonic(), found
    return found


def look(keys: Sequence[str]) -> dict[str, Kept]:
    """Those of these pictures that are ready, from the rows themselves."""
    return {row[0]: _kept(*row) for row in _rows(_FIND, [list(keys)])}


def claimed(keys: Sequence[str]) -> set[str]:
    """Those that a living maker is at."""
    return {row[0] for row in _rows(_CLAIMED, [list(keys)])} if keys else set()


def lost(kept: Kept) -> None:
    """The file of a ready row is not there: forget the row."""
    _known.pop(kept.key, None)
    _rows(_LOST, [kept.key, kept.file])


def claim(draft: Draft) -> UUID | None:
    """The right to make a picture, or None: it is ready, or another is at it."""
    mine = uuid4()
    jobs = draft.source_job, draft.mark_job
    values = [draft.key, draft.user_id, *jobs, mine, LEASE_S]
    return mine if _rows(_CLAIM, values) else None


def renew(claims: Iterable[UUID]) -> None:
    """These are still at work."""
    _rows(_RENEW, [LEASE_S, list(claims)])


def keep(written: Written) -> bool:
    """Say that a picture is there. False: the claim, or the source, has gone."""
    values = [
        written.file,
        written.content_type,
        written.size_bytes,
        written.sha256,
        settings.ONTHEFLY_TTL_S,
        written.until,
        written.key,
        written.claim,
    ]
    return bool(_rows(_KEEP, values))


def give_up(claims: Iterable[UUID]) -> None:
    """These were not made after all: anybody may try anew, at once."""
    _rows(_GIVE_UP, [list(claims)])


def file_of(key: str, claim: UUID) -> str:
    """Where the holder of a claim stores the picture."""
    return f"{ROOT}/{key[:2]}/{key}-{claim.hex}"


def forget_job(job_id: UUID) -> None:
    """Remove all that was made of a job's files. Raises StorageUnavailable."""
    _remove(_rows(_FORGET_JOB, [job_id, job_id]))


def forget() -> None:
    """Read every row anew: for tests."""
    _known.clear()


def sweep() -> None:
    """Remove what has expired and what is beyond the cache's limit.

    Raises StorageUnavailable; the rest goes next time.
    """
    while rows := _rows(_EXPIRED, [AT_ONCE]):
        _remove(rows)
    limit = settings.ONTHEFLY_CACHE_LIMIT_BYTES
    while rows := _rows(_BEYOND, [limit, AT_ONCE]):
        _remove(rows)


def sweep_orphans() -> None:
    """Remove old files that no row names. Lists all of them: for once in a while."""
    oldest_kept = time.time() - settings.ORPHAN_AFTER_S
    files = store().list(ROOT)
    old = (one.key for one in files if one.modified_at.timestamp() < oldest_kept)
    while batch := list(islice(old, AT_ONCE)):
        named = {row[0] for row in _rows(_NAMED, [[_key_in(file) for file in batch]])}
        for file in batch:
            if file not in named:
                store().delete(file)


def _key_in(file: str) -> str:
    return file.rpartition("/")[2].removeprefix(".").partition("-")[0]


def _remove(rows: Iterable[tuple[Any, ...]]) -> None:
    """The files of rows that are gone: pairs of a key and a file."""
    for key, file in rows:
        _known.pop(key, None)
        if file:
            store().delete(file)


def _kept(
    key: str,
    user_id: int,
    file: str,
    content_type: str,
    size_bytes: int,
    digest: str,
    left_s: float,
) -> Kept:
    return Kept(
        key=key,
        user_id=user_id,
        file=file,
        content_type=content_type,
        size_bytes=size_bytes,
        sha256=digest,
        until=time.time() + left_s,
    )


def _rows(query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


@lru_cache(maxsize=4)
def _secret(secret: str) -> bytes:
    """A key for keys alone, so that no other signature of ours can be one."""
    made = salted_hmac("jobs.onthefly", "key", secret=secret, algorithm="sha256")
    return made.digest()


_known: dict[str, tuple[float, Kept]] = {}

_LIVES = """
({job} IS NULL OR EXISTS (
  SELECT 1 FROM jobs_job WHERE jobs_job.id = {job} AND erased_at IS NULL
  AND (jobs_job.expires_at IS NULL OR jobs_job.expires_at > statement_timestamp())))
"""
_SOURCES_LIVE = f"{_LIVES.format(job='source_job')} AND {_LIVES.format(job='mark_job')}"

_FIND = f"""
SELECT key, user_id, file, content_type, size_bytes, sha256,
  extract(epoch FROM rendition.expires_at - statement_timestamp())::float8
FROM jobs_rendition AS rendition
WHERE key = ANY(%s::text[]) AND file <> ''
  AND rendition.expires_at > statement_timestamp() AND {_SOURCES_LIVE}
"""

_CLAIMED = """
SELECT key FROM jobs_rendition
WHERE key = ANY(%s::text[]) AND lease_until >= clock_timestamp()
"""

_LOST = "DELETE FROM jobs_rendition WHERE key = %s AND file = %s AND claim IS NULL"

_CLAIM = """
INSERT INTO jobs_rendition AS old (key, user_id, source_job, mark_job, claim,
  lease_until)
VALUES (%s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (key) DO UPDATE
SET claim = EXCLUDED.claim, lease_until = EXCLUDED.lease_until
WHERE (old.claim IS NULL OR old.lease_until < clock_timestamp())
  AND (old.file = '' OR old.expires_at <= clock_timestamp())
RETURNING key
"""

_RENEW = """
UPDATE jobs_rendition SET lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE claim = ANY(%s::uuid[])
"""

_KEEP = f"""
UPDATE jobs_rendition SET file = %s, content_type = %s, size_bytes = %s, sha256 = %s,
  claim = NULL, lease_until = NULL, made_at = clock_timestamp(),
  expires_at = least(
    clock_timestamp() + make_interval(secs => %s), to_timestamp(%s::float8))
WHERE key = %s AND claim = %s AND {_SOURCES_LIVE}
RETURNING key
"""

# A row that still names an older file stays for it.
_GIVE_UP = """
WITH given_up AS (SELECT %s::uuid[] AS claims),
freed AS (
  UPDATE jobs_rendition SET claim = NULL, lease_until = NULL
  FROM given_up WHERE claim = ANY(claims) AND file <> ''
)
DELETE FROM jobs_rendition USING given_up WHERE claim = ANY(claims) AND file = ''
"""

_FORGET_JOB = """
DELETE FROM jobs_rendition WHERE source_job = %s OR mark_job = %s
RETURNING key, file
"""

_UNCLAIMED = "(claim IS NULL OR lease_until < statement_timestamp())"

_EXPIRED = f"""
DELETE FROM jobs_rendition WHERE key IN (
  SELECT key FROM jobs_rendition
  WHERE expires_at <= statement_timestamp() AND {_UNCLAIMED}
  ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING key, file
"""

_BEYOND = f"""
DELETE FROM jobs_rendition WHERE key IN (
  SELECT key FROM (
    SELECT key, sum(size_bytes) OVER (ORDER BY made_at DESC) AS kept_bytes
    FROM jobs_rendition WHERE {_UNCLAIMED}
  ) AS by_age WHERE kept_bytes > %s LIMIT %s)
RETURNING key, file
"""

_NAMED = "SELECT file FROM jobs_rendition WHERE key = ANY(%s::text[]) AND file <> ''"
