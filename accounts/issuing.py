"""Making, replacing and ending API keys. Nothing is ever un-revoked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Least, Now

from accounts import keys
from accounts.errors import KeyNotActive
from accounts.models import ApiKey, User

DEFAULT_OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A stored key with its secret, which is to be shown now or never."""

    key: ApiKey
    secret: str = field(repr=False)


def issue(
    user: User,
    *,
    name: str = "default",
    test: bool = False,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
    public_id: UUID | None = None,
) -> Issued:
    """Make a key for the user. No scopes means all of them."""
    new = keys.make(test=test)
    key = ApiKey.objects.create(
        user=user,
        name=name,
        digest=new.digest,
        prefix=new.prefix,
        test=test,
        scopes=list(scopes),
        expires_at=expires_at,
        meant_until=expires_at,
        public_id=public_id or uuid4(),
    )
    return Issued(key=key, secret=new.secret)


@transaction.atomic
def rotate(
    key: ApiKey,
    *,
    overlap: timedelta = DEFAULT_OVERLAP,
    latest: datetime | None = None,
    public_id: UUID | None = None,
) -> Issued:
    """Replace a key by one like it; the old one works on for `overlap`.

    The successor has the lifetime that the key was made with, however often that is
    replaced, and ends at `latest` all the same. Raises KeyNotActive for a key that is
    revoked or expired.
    """
    active = ApiKey.objects.filter(pk=key.pk).filter(ACTIVE)
    ends_at = Now() + overlap
    if not active.update(expires_at=Least(Coalesce("expires_at", ends_at), ends_at)):
        raise KeyNotActive
    issued = issue(
        key.user, name=key.name, test=key.test, scopes=key.scopes, public_id=public_id
    )
    _lasts_like(issued.key, key, latest)
    return issued


def _lasts_like(successor: ApiKey, key: ApiKey, latest: datetime | None) -> None:
    if key.meant_until is not None:
        lifetime = key.meant_until - key.created_at
        successor.meant_until = successor.created_at + lifetime
    ends = [at for at in (successor.meant_until, latest) if at is not None]
    successor.expires_at = min(ends, default=None)
    successor.save(update_fields=["expires_at", "meant_until"])


def revoke(key: ApiKey) -> None:
    """End a key, everywhere within a second. A repeat keeps the first time."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=Now())


ACTIVE = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=Now()))
