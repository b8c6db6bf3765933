"""Keys with which an account signs addresses of pictures (/img/ACCOUNT/…).

The secrets are derived from the server's secret, the account and a generation that
counts its rotations: nothing secret is stored, and an old key ends when the counter
moves. A process notices that, and a suspension, within a second.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from accounts.models import ImageKey, User

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
ACCOUNT_LENGTH = 12
FRESH_S = 0.8
MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """What a URL builder needs: both as hex digits, as imgproxy takes them."""

    key: str = field(repr=False)
    salt: str = field(repr=False)

    def signature(self, message: bytes) -> bytes:
        """HMAC-SHA256 of salt and message, all 32 bytes."""
        whole = bytes.fromhex(self.salt) + message
        return hmac.digest(bytes.fromhex(self.key), whole, sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The account behind a name, and its present key. `active` is not suspended."""

    user_id: int
    active: bool
    pair: KeyPair


def of(user: User) -> ImageKey:
    """The user's row, made on first use."""
    account = "".join(secrets.choice(ALPHABET) for _ in range(ACCOUNT_LENGTH))
    return ImageKey.objects.get_or_create(user=user, defaults={"account": account})[0]


def rotate(user: User) -> ImageKey:
    """Another key under the same account; what the old one signed ends."""
    of(user)
    rows = ImageKey.objects.filter(user=user)
    rows.update(generation=F("generation") + 1, rotated_at=Now())
    return rows.get()


def pair_of(row: ImageKey) -> KeyPair:
    return _pair(settings.SECRET_KEY, row.account, row.generation)


def find(account: str) -> Holder | None:
    """Who signs under this name, as it was at most a second ago."""
    known = _known.get(account)
    if known is None or time.monotonic() - known[0] > FRESH_S:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        known = _known[account] = time.monotonic(), _read(account)
    return known[1]


def is_active(user_id: int) -> bool:
    """Whether the user is not suspended, as of now."""
    return User.objects.filter(pk=user_id, suspended_at=None).exists()


def forget() -> None:
    """Read every account anew: for tests."""
    _known.clear()


_known: dict[str, tuple[float, Holder | None]] = {}


def _read(account: str) -> Holder | None:
    if not account.isascii() or len(account) > ACCOUNT_LENGTH:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_READ, [account])
        row = cursor.fetchone()
    if row is None:
        return None
    user_id, generation, active = row
    pair = _pair(settings.SECRET_KEY, account, generation)
    return Holder(user_id=user_id, active=active, pair=pair)


@lru_cache(maxsize=MOST_KNOWN)
def _pair(secret: str, account: str, generation: int) -> KeyPair:
    def derived(what: str) -> str:
        value = f"{what}/{account}/{generation}"
        made = salted_hmac(
            "accounts.image_keys", value, secret=secret, algorithm="sha256"
        )
        return made.hexdigest()

    return KeyPair(key=derived("key"), salt=derived("salt"))


_READ = """
SELECT user_id, generation, suspended_at IS NULL
FROM accounts_imagekey AS key JOIN accounts_user AS owner ON owner.id = key.user_id
WHERE account = %s
"""
