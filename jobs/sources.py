"""URL inputs: fetched by a process of its own, stored, and only then the job can run.

- A row of `Fetch` is claimed with a lease, like everything else, so any number of
  fetchers may run and one that dies loses nothing. How many go at once to one host, or
  for one user, is counted from the rows, by one claimer at a time.
- Every byte comes through `gpu_worker.fetch`, the one guard, and is looked at by
  `jobs.parsing.images` before it is stored.
- What may pass is tried once more in the time that is left (the store's outages a few
  times), then the job fails: `url_not_allowed`, `fetch_failed`, `invalid_image`,
  `storage_unavailable`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Any, BinaryIO
from uuid import UUID, uuid4

from django.conf import settings
from django.db import close_old_connections, connection, transaction

from gpu_worker import fetch
from jobs import lifecycle, news
from jobs.database import turns
from jobs.errors import (
    ImageTooLarge,
    InvalidImage,
    StorageUnavailable,
    UnsupportedImage,
)
from jobs.lifecycle import Fault
from jobs.parsing import images
from jobs.storage import store

IN_MEMORY_BYTES = 1 << 20
# What a fetch may take after its last byte: looking at it, storing it, a slow commit.
LEASE_MARGIN_S = 30
RETRY_AFTER_S = 1.0
STORE_TRIES = 5
# A row that so many fetchers died with is given up.
LOST_TRIES = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A claimed row: one input of one job that this process is to fetch."""

    id: int
    claim: UUID
    job_id: UUID
    position: int
    url: str
    tries: int


class Refusal(Exception):
    """Why an input cannot be had, as its job's error; `tries` is how often to try, and
    `passing` what may be over in a moment."""

    def __init__(
        self, code: str, message: str, *, tries: int = 1, passing: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.tries = tries
        self.passing = passing


class Fetcher:
    """Fetches what waits, on a few threads. `turn` claims; `close` gives back."""

    def __init__(self) -> None:
        self._errands: queue.SimpleQueue[Errand | None] = queue.SimpleQueue()
        self._mine: dict[int, Errand] = {}
        self._threads: list[threading.Thread] = []

    def turn(self) -> int:
        """Claim as many rows as threads are free; gives their number."""
        errands = claim(settings.FETCHES - len(self._mine))
        for errand in errands:
            self._mine[errand.id] = errand
            self._errands.put(errand)
        while len(self._threads) < len(self._mine):
            self._threads.append(self._thread())
        return len(errands)

    def close(self) -> None:
        """Give back what is not done; another fetcher may have it at once."""
        for _ in self._threads:
            self._errands.put(None)
        give_back(list(self._mine.values()))

    def _thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name="fetch", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        while errand := self._errands.get():
            try:
                close_old_connections()
                run(errand)
            except Exception:
                # Its lease ends, and it is claimed anew.
                logger.exception("fetching for job %s stumbled", errand.job_id)
                connection.close()
            finally:
                self._mine.pop(errand.id, None)
        connection.close()


def claim(most: int) -> list[Errand]:
    """Claim up to `most` rows that are due, a few per user and per host at once."""
    if most <= 0:
        return []
    values = {
        "most": most,
        "claim": uuid4(),
        "per_user": settings.FETCH_PER_USER,
        "per_host": settings.FETCH_PER_HOST,
        "lease_s": settings.FETCH_TIMEOUT_S + LEASE_MARGIN_S,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ALONE)
        if cursor.fetchone() != (True,):
            return []
        cursor.execute(_CLAIM, values)
        names = [column.name for column in cursor.description or ()]
        return [
            Errand(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()
        ]


def give_back(errands: list[Errand]) -> None:
    """These were not tried after all: anybody may claim them now."""
    with connection.cursor() as cursor:
        for errand in errands:
            cursor.execute(_GIVE_BACK, [errand.id, errand.claim])


def run(errand: Errand) -> None:
    """Fetch, look, store and say so; or try later; or fail the job."""
    try:
        _finish(errand, _fetched(errand))
    except Refusal as refusal:
        if errand.tries < refusal.tries:
            _later(errand)
        else:
            _fail(errand, refusal)


def _fetched(errand: Errand) -> dict[str, Any]:
    """Store the file; gives what the job's row says of it. Raises Refusal."""
    if errand.tries > LOST_TRIES:
        raise Refusal("fetch_failed", "The file could not be fetched.")
    ends_at = time.monotonic() + settings.FETCH_TIMEOUT_S
    try:
        return _file_of(errand, ends_at)
    except Refusal as refusal:
        # One time for both tries: a server that was waited for has none left.
        if not refusal.passing or time.monotonic() + RETRY_AFTER_S >= ends_at:
            raise
    time.sleep(RETRY_AFTER_S)
    return _file_of(errand, ends_at)


def _file_of(errand: Errand, ends_at: float) -> dict[str, Any]:
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        digest = hashlib.sha256()

        def take(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        size_bytes = _read(errand.url, take, ends_at - time.monotonic())
        return _stored(errand, file) | {  # type: ignore[arg-type]
            "size_bytes": size_bytes,
            "sha256": digest.hexdigest(),
        }


def _read(url: str, take: Any, timeout_s: float) -> int:
    try:
        fetched = fetch.fetch(
            url,
            limit_bytes=settings.UPLOAD_LIMIT_BYTES,
            timeout_s=timeout_s,
            allowed_hosts=settings.FETCH_ALLOWED_HOSTS,
            sink=take,
        )
    except fetch.UrlNotAllowed as error:
        raise Refusal(error.code, str(error)) from error
    except fetch.FetchFailed as error:
        raise Refusal(error.code, str(error), passing=error.retryable) from error
    return fetched.size_bytes


def _stored(errand: Errand, file: BinaryIO) -> dict[str, Any]:
    key = f"inputs/{errand.job_id}/{errand.position}"
    try:
        sniffed = images.sniff(file)
        store().write(key, file)
    except (UnsupportedImage, InvalidImage, ImageTooLarge) as error:
        raise Refusal("invalid_image", str(error)) from error
    except StorageUnavailable as error:
        raise Refusal(error.code, str(error), tries=STORE_TRIES) from error
    return {
        "key": key,
        "content_type": sniffed.content_type,
        "width_px": sniffed.width_px,
        "height_px": sniffed.height_px,
    }


def _finish(errand: Errand, file: dict[str, Any]) -> None:
    megapixels = file["width_px"] * file["height_px"] / 1e6
    values = {
        "id": errand.id,
        "claim": errand.claim,
        "file": json.dumps(file),
        "megapixels": megapixels,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FINISH, values)
    news.announce([errand.job_id])


def _later(errand: Errand) -> None:
    pause_s = RETRY_AFTER_S * 2 ** (errand.tries - 1)
    with connection.cursor() as cursor:
        cursor.execute(_LATER, [pause_s, errand.id, errand.claim])


def _fail(errand: Errand, refusal: Refusal) -> None:
    """End the job; the rows of its other inputs go with it."""

    def end(job_ids: Any, *, wait: bool) -> set[str]:
        if not _is_mine(errand):
            return set()
        fault = Fault(job_id=errand.job_id, code=refusal.code, message=refusal.message)
        return lifecycle.fail_waiting_many([fault], wait=wait)

    turn = turns.take([str(errand.job_id)], end)
    if turn.held_up:
        return _later(errand)
    news.announce(turn.changed)
    with connection.cursor() as cursor:
        cursor.execute(_DROP, [errand.id, errand.claim, errand.job_id])


def _is_mine(errand: Errand) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM jobs_fetch WHERE id = %s AND claim = %s",
            [errand.id, errand.claim],
        )
        return cursor.fetchone() is not None


# Two claimers that count at the same time would go beyond the limits.
_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('nijika claims fetches'))"

_DUE = """
not_before <= clock_timestamp()
AND (lease_until IS NULL OR lease_until <= clock_timestamp())
"""

# From user to user, as in jobs.dispatch, and only the first few rows of each.
_CLAIM = f"""
WITH RECURSIVE users (user_id) AS (
  (SELECT user_id FROM jobs_fetch ORDER BY user_id LIMIT 1)
  UNION ALL
  SELECT (SELECT user_id FROM jobs_fetch WHERE user_id > users.user_id
          ORDER BY user_id LIMIT 1)
  FROM users WHERE users.user_id IS NOT NULL
),
busy AS MATERIALIZED (
  SELECT user_id, host FROM jobs_fetch WHERE lease_until > clock_timestamp()
),
by_user AS (
  SELECT due.*, row_number() OVER (PARTITION BY due.user_id ORDER BY due.id)
    + (SELECT count(*) FROM busy WHERE busy.user_id = due.user_id) AS user_place
  FROM users CROSS JOIN LATERAL (
    SELECT id, user_id, host FROM jobs_fetch
    WHERE user_id = users.user_id AND {_DUE} AND EXISTS (
      SELECT 1 FROM jobs_job WHERE jobs_job.id = job_id AND status = 'queued')
    ORDER BY id LIMIT %(per_user)s
  ) AS due
),
by_host AS (
  SELECT id, user_place, row_number() OVER (PARTITION BY host ORDER BY user_place, id)
    + (SELECT count(*) FROM busy WHERE busy.host = by_user.host) AS host_place
  FROM by_user WHERE user_place <= %(per_user)s
),
chosen AS (
  SELECT jobs_fetch.id FROM jobs_fetch JOIN (
    SELECT id FROM by_host WHERE host_place <= %(per_host)s
    ORDER BY user_place, id LIMIT %(most)s
  ) AS first_ones USING (id)
  FOR UPDATE OF jobs_fetch SKIP LOCKED
)
UPDATE jobs_fetch SET claim = %(claim)s, tries = tries + 1,
  lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM chosen WHERE jobs_fetch.id = chosen.id AND {_DUE}
RETURNING jobs_fetch.id, claim, job_id, position, url, tries
"""

_GIVE_BACK = """
UPDATE jobs_fetch SET claim = NULL, lease_until = NULL, tries = tries - 1
WHERE id = %s AND claim = %s
"""

_LATER = """
UPDATE jobs_fetch SET claim = NULL, lease_until = NULL,
  not_before = clock_timestamp() + make_interval(secs => %s)
WHERE id = %s AND claim = %s
"""

# Only the claim's holder, and only once; an ended job stays as it is. What a run may
# take grows with the picture, whose size nobody knew when the job was accepted.
_FINISH = """
WITH mine AS (
  DELETE FROM jobs_fetch WHERE id = %(id)s AND claim = %(claim)s
  RETURNING job_id, position
)
UPDATE jobs_job AS job SET
  inputs = jsonb_set(job.inputs, ARRAY[mine.position::text],
                     (job.inputs -> mine.position::int) || %(file)s::jsonb),
  waiting_fetches = waiting_fetches - 1,
  run_limit_s = run_limit_s + %(megapixels)s * coalesce((
    SELECT (spec->>'run_limit_s_per_mp')::float8 FROM jobs_engine
    WHERE jobs_engine.operation = job.operation AND jobs_engine.name = job.engine), 0)
FROM mine WHERE job.id = mine.job_id AND status = 'queued'
"""

_DROP = """
DELETE FROM jobs_fetch WHERE (id = %s AND claim = %s) OR (job_id = %s AND EXISTS (
  SELECT 1 FROM jobs_job WHERE jobs_job.id = job_id AND status <> 'queued'))
"""
