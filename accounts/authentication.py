"""Who is calling, from the headers of a request.

- A key that is missing, malformed, unknown or not alone is refused with one text, so
  that nobody learns which. Malformed ones (checksum) cost no query.
- Keys are cached by digest, never by secret. All cached keys are read again in one
  query at most each half second: a revoked key, an expired one and a suspended user's
  stop within a second in every process.
- `last_used_at` is written by the statement that reads the keys: when a process first
  meets one, then for all each ten seconds; it is at most that much too old.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from django.db import connection

from accounts import keys
from accounts.errors import AccountSuspended, KeyExpired, KeyRevoked, ScopeMissing
from nijika.errors import NijikaError, Unauthenticated

Scope = Literal[
    "jobs:read",
    "jobs:write",
    "account:read",
    "webhooks:read",
    "webhooks:write",
    "keys:read",
    "keys:write",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)

REFRESH_S = 0.5
"""The age at which one caller reads the keys again while others go on."""
TOO_OLD_S = 0.8
"""The age at which everybody waits for that."""
WRITE_USES_S = 10.0
FORGET_S = 600.0
MAX_KEYS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user, by one of their keys. A key sees only its own mode's jobs."""

    user_id: int
    email: str
    key_id: int
    test: bool
    scopes: frozenset[str]


def authenticate(meta: Mapping[str, str]) -> Caller:
    """The caller of a request with this WSGI environment.

    Raises Unauthenticated, KeyExpired, KeyRevoked or AccountSuspended.
    """
    return _caller(digest_of(meta))


def credentials_look_valid(x_api_key: str | None, authorization: str | None) -> bool:
    """Whether `authenticate` would ask the database about these headers."""
    return _secret(x_api_key, authorization) is not None


def digest_of(meta: Mapping[str, str]) -> str | None:
    """The digest of the well-formed key that a request carries. Costs no query."""
    secret = _secret(meta.get("HTTP_X_API_KEY"), meta.get("HTTP_AUTHORIZATION"))
    return None if secret is None else keys.digest(secret)


def is_met(digest: str) -> bool:
    """Whether this process has met this key, so that it is no guess."""
    return _cache.has(digest)


def later(meta: Mapping[str, str]) -> Callable[[], Caller]:
    """`authenticate`, to be asked again whenever one likes. Keeps no more of the
    request than its key's digest."""
    return partial(_caller, digest_of(meta))


def watch(meta: Mapping[str, str]) -> Callable[[], bool]:
    """Tells, whenever it is asked, whether `authenticate` would still let this caller
    in."""
    caller = later(meta)

    def is_let_in() -> bool:
        try:
            caller()
        except NijikaError:
            return False
        return True

    return is_let_in


def require_scope(caller: Caller, scope: Scope) -> None:
    """Raises ScopeMissing unless the key has the scope; one without scopes has all."""
    if caller.scopes and scope not in caller.scopes:
        raise ScopeMissing(scope)


def _caller(digest: str | None) -> Caller:
    known = None if digest is None else _cache.find(digest)
    if known is None:
        raise Unauthenticated
    if known.refusal is not None:
        raise known.refusal()
    return known.caller


def _secret(x_api_key: str | None, authorization: str | None) -> str | None:
    """The one well-formed key of these headers, else nothing."""
    given = {(x_api_key or "").strip(), _bearer(authorization or "")} - {""}
    if len(given) != 1:
        return None
    [secret] = given
    return secret if keys.is_well_formed(secret) else None


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


Refusal = type[KeyRevoked] | type[KeyExpired] | type[AccountSuspended]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    caller: Caller
    refusal: Refusal | None


class _Cache:
    def __init__(self) -> None:
        self._refreshing = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._used_at: dict[str, float] = {}
        self._read_at = 0.0
        self._unwritten: set[str] = set()
        self._written_at = 0.0

    def find(self, digest: str) -> _Known | None:
        """The key as it was at most a second ago."""
        self._refresh()
        known = self._known.get(digest)
        if known is None:
            known = self._meet(digest)
        elif known.refusal is None:
            self._unwritten.add(digest)
        if known is not None:
            self._used_at[digest] = time.monotonic()
        return known

    def has(self, digest: str) -> bool:
        return digest in self._known

    def _meet(self, digest: str) -> _Known | None:
        known = _read([digest], used=[digest]).get(digest)
        if known is None:
            return None
        if len(self._known) >= MAX_KEYS:
            self._forget()
        self._known[digest] = known
        return known

    def _refresh(self) -> None:
        age = time.monotonic() - self._read_at
        if age < REFRESH_S:
            return
        if not self._refreshing.acquire(blocking=age >= TOO_OLD_S):
            return
        try:
            if time.monotonic() - self._read_at >= REFRESH_S:
                self._read_all()
        finally:
            self._refreshing.release()

    def _read_all(self) -> None:
        now = time.monotonic()
        self._drop(
            d for d, used in list(self._used_at.items()) if used < now - FORGET_S
        )
        asked = list(self._known)
        found = _read(asked, used=self._uses_to_write(now)) if asked else {}
        self._known.update(found)
        self._drop(digest for digest in asked if digest not in found)
        self._read_at = now

    def _uses_to_write(self, now: float) -> set[str]:
        if now - self._written_at < WRITE_USES_S:
            return set()
        used, self._unwritten, self._written_at = self._unwritten, set(), now
        return used

    def _drop(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._known.pop(digest, None)
            self._used_at.pop(digest, None)

    def _forget(self) -> None:
        oldest = sorted(self._used_at, key=self._used_at.__getitem__)
        self._drop(oldest[: MAX_KEYS // 10])


def _read(digests: Iterable[str], *, used: Iterable[str]) -> dict[str, _Known]:
    """The keys with these digests; notes the use of some in the same statement."""
    with connection.cursor() as cursor:
        cursor.execute(_READ, [list(used), list(digests)])
        rows = cursor.fetchall()
    return {
        digest: _Known(
            caller=Caller(
                user_id=user_id,
                email=email,
                key_id=key_id,
                test=test,
                scopes=frozenset(json.loads(scopes)),
            ),
            refusal=_refusal(revoked=revoked, expired=expired, suspended=suspended),
        )
        for (
            digest,
            revoked,
            expired,
            suspended,
            user_id,
            email,
            key_id,
            test,
            scopes,
        ) in rows
    }


def _refusal(*, revoked: bool, expired: bool, suspended: bool) -> Refusal | None:
    if revoked:
        return KeyRevoked
    if expired:
        return KeyExpired
    return AccountSuspended if suspended else None


# The database's clock decides, as everywhere. The row of a key that somebody edits is
# left out of the uses: a late time harms nobody, a wait would.
_READ = """
WITH used AS (
    UPDATE accounts_apikey SET last_used_at = clock_timestamp() WHERE id IN (
        SELECT id FROM accounts_apikey
        WHERE digest = ANY(%s::text[]) AND revoked_at IS NULL
            AND (expires_at IS NULL OR expires_at > statement_timestamp())
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
)
SELECT digest, revoked_at IS NOT NULL,
    coalesce(expires_at <= statement_timestamp(), false), suspended_at IS NOT NULL,
    user_id, email, key.id, test, scopes::text
FROM accounts_apikey AS key JOIN accounts_user AS owner ON owner.id = key.user_id
WHERE digest = ANY(%s::text[])
"""

_cache = _Cache()
