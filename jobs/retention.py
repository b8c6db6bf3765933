"""How long files stay, and which nobody needs any more.

- The files of an ended job go when it expires or its owner erases it. The row stays:
  first it says `erased_at` and names no results, then the files go. A process that dies
  in between leaves orphans, which the sweep finds.
- A file that another unfinished job reads is pinned: its job does not expire meanwhile,
  and if its owner erases it, the files go once no pin is left. Who pins locks the
  source's row FOR SHARE and needs it not erased; who erases locks the row, then looks.
- Whole folders go, never single files, so a name that a late worker wrote goes too;
  what it writes afterwards is an orphan.
- An orphan is an old folder that no row answers for: inputs without a job, results that
  no ended job's row names. All runs of an unfinished job are needed: any may succeed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from jobs import news
from jobs.errors import JobNotEnded, JobNotFound
from jobs.files import uploads
from jobs.models import Job
from jobs.onthefly import renditions
from jobs.storage import StoredFile, store

BATCH = 100
FOLDERS_AT_ONCE = 500
KEYS_AT_ONCE = 1000
# A worker's row fences its late calls, so it outlives the worker by far.
WORKERS_FORGOTTEN_AFTER = timedelta(days=2)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of the store that belongs to one job; `run` is set below results/."""

    prefix: str
    job_id: UUID
    run: str
    modified_at: datetime


def erase(job_id: UUID, *, user_id: int, test: bool) -> None:
    """Erase an ended job's files; a repeat changes nothing but tries the files again.

    Raises JobNotFound, JobNotEnded, and StorageUnavailable: then the row is erased
    already, and the files follow with a repeat or the sweep.
    """
    with transaction.atomic():
        mine = Job.objects.filter(pk=job_id, user_id=user_id, test=test)
        job = mine.only("ended_at").first()
        if job is None:
            raise JobNotFound
        if job.ended_at is None:
            raise JobNotEnded
        # This takes the row's lock, so whoever was pinning has committed.
        erased = _rows(_ERASE, [[job_id]])
        pinned = _rows(_PINNED, [job_id])
    if erased:
        news.announce([job_id])
    if not pinned:
        _remove_files(job_id)


def expire() -> int:
    """Erase the files of all jobs that have expired; gives the number of jobs."""
    total = 0
    while ids := _expire_batch():
        total += len(ids)
        news.announce(ids)
        for job_id in ids:
            _remove_files(job_id)
    return total


def sweep() -> list[str]:
    """Remove the orphans among the stored files; gives the folders removed.

    Lists the whole store, so it is for once in a while. Raises StorageUnavailable.
    """
    removed = []
    oldest_kept = datetime.now(UTC) - timedelta(seconds=settings.ORPHAN_AFTER_S)
    folders = (one for one in _folders() if one.modified_at < oldest_kept)
    while batch := list(islice(folders, FOLDERS_AT_ONCE)):
        for prefix in _orphans(batch):
            store().delete_prefix(prefix)
            removed.append(prefix)
    if removed:
        logger.info("removed %s orphaned folders", len(removed))
    renditions.sweep_orphans()
    return removed + uploads.sweep_orphans()


def clean() -> None:
    """Forget old idempotency keys, lost workers, the fetches and pins of ended jobs,
    uploads and pictures made on the fly whose time is over."""
    while _rows(_OLD_KEYS, [settings.IDEMPOTENCY_S, KEYS_AT_ONCE]):
        pass
    _rows(_OLD_WORKERS, [WORKERS_FORGOTTEN_AFTER])
    _rows(_IDLE_FETCHES, [])
    _rows(_IDLE_PINS, [])
    uploads.sweep()
    renditions.sweep()


def _expire_batch() -> list[UUID]:
    """Looks for pins twice: before, so that pinned jobs don't fill the batch, and once
    the rows are locked, because only then nobody can pin them any more."""
    with transaction.atomic():
        due = [row[0] for row in _rows(_EXPIRED, [BATCH])]
        return [row[0] for row in _rows(_ERASE_UNPINNED, [due])]


def _remove_files(job_id: UUID) -> None:
    store().delete_prefix(f"inputs/{job_id}")
    store().delete_prefix(f"results/{job_id}")
    renditions.forget_job(job_id)


def _folders() -> Iterator[Folder]:
    """The jobs' folders, with the time of the newest file in each."""
    for root, depth in (("inputs", 2), ("results", 3)):
        files = store().list(root)
        for prefix, group in groupby(files, key=lambda file: _parent(file.key, depth)):
            if folder := _folder(prefix, group):
                yield folder


def _parent(key: str, depth: int) -> str:
    return "/".join(key.split("/")[:-1][:depth])


def _folder(prefix: str, files: Iterable[StoredFile]) -> Folder | None:
    _, job_id, *rest = [*prefix.split("/"), ""]
    try:
        return Folder(
            prefix=prefix,
            job_id=UUID(job_id),
            run=rest[0],
            modified_at=max(file.modified_at for file in files),
        )
    except ValueError:  # not ours, so not ours to remove
        return None


def _orphans(folders: list[Folder]) -> list[str]:
    ids = list({folder.job_id for folder in folders})
    needed = {row[0]: row[1:] for row in _rows(_NEEDED, [ids])}
    return [one.prefix for one in folders if not _is_needed(one, needed)]


def _is_needed(folder: Folder, needed: dict[UUID, Any]) -> bool:
    if folder.job_id not in needed:
        return False
    keeps_all, keeps_result, result_prefix = needed[folder.job_id]
    if keeps_all or (keeps_result and folder.prefix.startswith("inputs/")):
        return True
    return bool(keeps_result) and folder.prefix == result_prefix.rstrip("/")


def _rows(query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


# OFFSET 0 and the inner SELECT have it asked row by row; joins would read all pins.
_PINNING = """
SELECT 1 FROM jobs_pin WHERE jobs_pin.source_id = {job}
AND (SELECT status FROM jobs_job AS reader WHERE reader.id = jobs_pin.job_id)
    IN ('queued', 'running')
OFFSET 0
"""

_PINNED = _PINNING.format(job="%s::uuid")

_UNPINNED = f"NOT EXISTS ({_PINNING.format(job='job.id')})"

# A time that may change while the statement runs, like clock_timestamp(), is no
# condition for an index.
_EXPIRED = f"""
SELECT id FROM jobs_job AS job
WHERE status IN ('succeeded', 'failed', 'cancelled') AND erased_at IS NULL
  AND expires_at <= statement_timestamp() AND {_UNPINNED}
ORDER BY expires_at LIMIT %s FOR NO KEY UPDATE OF job SKIP LOCKED
"""


def _erasing(condition: str) -> str:
    return f"""
WITH erased AS (
  UPDATE jobs_job AS job SET erased_at = clock_timestamp(), results = '[]'
  WHERE id = ANY(%s::uuid[]) AND ended_at IS NOT NULL AND erased_at IS NULL
    AND {condition}
  RETURNING id, attempt
)
INSERT INTO jobs_jobevent (job_id, type, attempt, reason)
SELECT id, 'erased', attempt, '' FROM erased RETURNING job_id
"""


_ERASE = _erasing("true")

_ERASE_UNPINNED = _erasing(_UNPINNED)

# Whether all of a job's files are needed; whether its inputs and its result are.
_NEEDED = f"""
SELECT id, status IN ('queued', 'running') OR NOT {_UNPINNED}, erased_at IS NULL,
       result_prefix
FROM jobs_job AS job WHERE id = ANY(%s::uuid[])
"""

# Rows that a submission has are left for the next time.
_OLD_KEYS = """
DELETE FROM jobs_idempotencykey WHERE id IN (
  SELECT id FROM jobs_idempotencykey
  WHERE created_at < statement_timestamp() - make_interval(secs => %s)
  ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id
"""

_OLD_WORKERS = """
DELETE FROM jobs_worker WHERE name IN (
  SELECT name FROM jobs_worker AS worker WHERE seen_at < clock_timestamp() - %s
    AND NOT EXISTS (SELECT 1 FROM jobs_job AS job
                    WHERE job.worker = worker.name AND job.status = 'running')
  FOR UPDATE SKIP LOCKED)
"""

_IDLE_FETCHES = """
DELETE FROM jobs_fetch WHERE id IN (
  SELECT jobs_fetch.id FROM jobs_fetch JOIN jobs_job ON jobs_job.id = job_id
  WHERE status <> 'queued' FOR UPDATE OF jobs_fetch SKIP LOCKED)
"""

_IDLE_PINS = """
DELETE FROM jobs_pin WHERE id IN (
  SELECT jobs_pin.id FROM jobs_pin JOIN jobs_job ON jobs_job.id = job_id
  WHERE status NOT IN ('queued', 'running') FOR UPDATE OF jobs_pin SKIP LOCKED)
"""
