"""What an API key looks like: `nj_live_` or `nj_test_`, 24 random characters, checksum.

The random part is base62 and holds 142 bits, of which the visible prefix shows 23; so a
plain SHA-256 of the key is safe to store. The checksum (CRC-32, six characters) tells a
mistyped key from a wrong one without a query. Nothing here knows the database.
"""

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTH = 24
CHECKSUM_LENGTH = 6
VISIBLE_LENGTH = len("nj_live_") + 4
_FORM = re.compile(
    rf"nj_(?:live|test)_[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that nobody has yet. The secret is shown once and never stored."""

    secret: str = field(repr=False)
    prefix: str
    digest: str


def make(*, test: bool) -> NewKey:
    """A fresh random key."""
    body = "nj_test_" if test else "nj_live_"
    body += "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    secret = body + _checksum(body)
    return NewKey(secret=secret, prefix=secret[:VISIBLE_LENGTH], digest=digest(secret))


def is_well_formed(secret: str) -> bool:
    """Whether this can be a key: form and checksum."""
    if _FORM.fullmatch(secret) is None:
        return False
    return secret[-CHECKSUM_LENGTH:] == _checksum(secret[:-CHECKSUM_LENGTH])


def digest(secret: str) -> str:
    """What is stored of a key, as 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
