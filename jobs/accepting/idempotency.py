"""One `Idempotency-Key` makes one thing, whatever kind of thing it is.

Jobs take their keys many at once (`jobs.accepting.intake`); everything else that a POST
creates (batches, uploads, and what comes later) takes its one here. All share a table
and its rules: a key belongs to a user and a mode; the same key with the same request is
the thing that it made, as it is now; with another request, of another kind too, it is
refused. A request that is refused does not use up its key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import OperationalError

from jobs.database import sql
from jobs.errors import IdempotencyKeyReused
from jobs.models import IdempotencyKey
from nijika.errors import Unavailable
from nijika.postgres import prepared

KEY_LOCK = "hashtextextended(user_id || ':' || test || ':' || key, 0)"
"""What a transaction locks while it makes what a key stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Whose key it is, and the digest of what it is to stand for."""

    user_id: int
    test: bool
    key: str | None
    digest: str


def digest_of(kind: str, content: Any) -> str:
    """What makes two requests for a `kind` of thing the same: their JSON content."""
    text = json.dumps([kind, content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def claim(wish: Wish, made: UUID) -> UUID:
    """The id of what the key stands for: `made` if the caller is to make it now.

    Belongs into the transaction that makes it: if that is undone, the key is free. A
    twin in flight is waited for. Raises IdempotencyKeyReused, and Unavailable for a
    twin that takes too long.
    """
    if wish.key is None:
        return made
    owner = {"user_id": wish.user_id, "test": wish.test, "key": wish.key}
    try:
        prepared.rows(_WAIT, owner)
    except OperationalError as error:
        if sql.lock_refused(error):
            raise Unavailable from None
        raise
    # A statement of its own: it sees what was committed while the one above waited.
    found = prepared.rows(_TAKE, owner | {"digest": wish.digest, "made": made})
    if not found:
        return made
    [(known, digest)] = found
    if digest != wish.digest:
        raise IdempotencyKeyReused
    return UUID(str(known))


def stands(*, user_id: int, test: bool, key: str | None) -> bool:
    """Whether the key has made something: a look, not a promise."""
    if key is None:
        return False
    mine = IdempotencyKey.objects.filter(user_id=user_id, test=test, key=key)
    return mine.exists()


_OWNER = """(
    SELECT %(user_id)s::bigint AS user_id, %(test)s::bool AS test, %(key)s::text AS key
) AS wanted"""

_WAIT = f"SELECT pg_advisory_xact_lock({KEY_LOCK})::text FROM {_OWNER}"

# Shows what was there before: a key that is taken now is in no row that it gives.
_TAKE = f"""
WITH taken AS (
    INSERT INTO jobs_idempotencykey (user_id, test, key, digest, made)
    SELECT user_id, test, key, %(digest)s::text, %(made)s::uuid FROM {_OWNER}
    ON CONFLICT (user_id, test, key) DO NOTHING
)
SELECT made, digest FROM jobs_idempotencykey JOIN {_OWNER} USING (user_id, test, key)
"""
