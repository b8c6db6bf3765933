"""What a key may do with the keys of its account: never more than it can do itself.

A key makes, replaces and ends only keys within its reach: of its own mode (a live one
reaches test keys, too), with no scope that it lacks, and that end no later than itself.
So whoever finds a narrow key, one for tests or one for a day, has found no more than
that. Keys in sight but out of reach are listed, without their secrets, which nobody
keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts import issuing
from accounts.authentication import Caller
from accounts.errors import (
    AccountSuspended,
    BeyondThisKey,
    KeyNotFound,
    KeyRevoked,
    TooManyKeys,
)
from accounts.issuing import Issued
from accounts.models import ApiKey, User


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A key to be made. None: as the key that makes it."""

    name: str
    test: bool | None = None
    scopes: Sequence[str] | None = None
    expires_at: datetime | None = None


def listed(by: Caller, *, before: int | None = None, limit: int) -> list[ApiKey]:
    """The keys in sight, the newest first; `before` is the number of the last seen."""
    keys = _in_sight(by).order_by("-pk")
    if before is not None:
        keys = keys.filter(pk__lt=before)
    return list(keys[:limit])


def find(by: Caller, key_id: UUID) -> ApiKey:
    """Raises KeyNotFound, also for what is somebody else's."""
    key = _in_sight(by).filter(public_id=key_id).first()
    if key is None:
        raise KeyNotFound
    return key


@transaction.atomic
def create(by: Caller, wanted: Wanted, *, key_id: UUID) -> Issued:
    """Raises BeyondThisKey and TooManyKeys; KeyRevoked and AccountSuspended where
    authentication had not heard of it yet."""
    mine = _acting(by)
    made = ApiKey(
        test=mine.test if wanted.test is None else wanted.test,
        scopes=mine.scopes if wanted.scopes is None else list(wanted.scopes),
        expires_at=wanted.expires_at or mine.expires_at,
    )
    _check_reach(mine, made)
    _check_room(mine.user)
    return issuing.issue(
        mine.user,
        name=wanted.name,
        test=made.test,
        scopes=made.scopes,
        expires_at=made.expires_at,
        public_id=key_id,
    )


@transaction.atomic
def rotate(by: Caller, replaced: UUID, *, key_id: UUID) -> Issued:
    """Raises KeyNotFound, BeyondThisKey, KeyNotActive, TooManyKeys and KeyRevoked."""
    mine = _acting(by)
    key = find(by, replaced)
    _check_reach(mine, key)
    _check_room(mine.user)
    return issuing.rotate(key, latest=mine.expires_at, public_id=key_id)


@transaction.atomic
def revoke(by: Caller, key_id: UUID) -> None:
    """Also itself; a repeat changes nothing. Raises KeyNotFound, BeyondThisKey."""
    mine = _acting(by)
    key = find(by, key_id)
    _check_reach(mine, key)
    issuing.revoke(key)


def _in_sight(by: Caller) -> QuerySet[ApiKey]:
    keys = ApiKey.objects.filter(user_id=by.user_id)
    return keys.filter(test=True) if by.test else keys


def _acting(by: Caller) -> ApiKey:
    """The key that asks, as it is now; one act of an account's keys at a time."""
    owner = User.objects.select_for_update(no_key=True).get(pk=by.user_id)
    if not owner.is_active:
        raise AccountSuspended
    active = ApiKey.objects.filter(issuing.ACTIVE, pk=by.key_id)
    mine = active.select_related("user").first()
    if mine is None:
        raise KeyRevoked
    return mine


def _check_reach(mine: ApiKey, other: ApiKey) -> None:
    in_mode = other.test or not mine.test
    in_scope = not mine.scopes or (
        bool(other.scopes) and set(other.scopes) <= set(mine.scopes)
    )
    in_time = mine.expires_at is None or (
        other.expires_at is not None and other.expires_at <= mine.expires_at
    )
    if not (in_mode and in_scope and in_time):
        raise BeyondThisKey


def _check_room(user: User) -> None:
    working = ApiKey.objects.filter(issuing.ACTIVE, user=user)
    if working.count() >= settings.KEYS_PER_USER:
        raise TooManyKeys
