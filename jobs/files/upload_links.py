"""Addresses to which a client sends a file, without a key: who has one may send it.

An address names the upload, when it ends, and the type and size that the file must
have, under a signature of all of it; so whoever reads the body knows without asking
anybody how much of it there may be.
"""

from __future__ import annotations

import base64
import hmac
import time
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.utils.crypto import salted_hmac

from nijika.errors import NotAllowed

PREFIX = "/uploads/"
SIGNATURE_BYTES = 18
MOST_DIGITS = 12


class UploadLinkRefused(NotAllowed):
    """This address has ended, or somebody has changed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a good address says."""

    upload_id: str
    content_type: str
    size_bytes: int


def url(upload_id: object, *, content_type: str, size_bytes: int, expires: int) -> str:
    """An absolute address; `expires` is in seconds since the epoch."""
    signature = _signature(str(upload_id), content_type, size_bytes, expires)
    query = {
        "type": content_type,
        "size": size_bytes,
        "expires": expires,
        "signature": signature,
    }
    return f"{settings.PUBLIC_URL}{PREFIX}{upload_id}?{urlencode(query)}"


def check(path: str, query: str) -> Signed:
    """Raises UploadLinkRefused unless we have signed this and its time is not over."""
    given = dict(parse_qsl(query, encoding="latin-1"))
    upload_id = path.removeprefix(PREFIX)
    size, expires = given.get("size", ""), given.get("expires", "")
    if not (_is_number(size) and _is_number(expires)):
        raise UploadLinkRefused
    content_type = given.get("type", "")
    expected = _signature(upload_id, content_type, int(size), int(expires))
    signature = given.get("signature", "").encode("utf-8", "replace")
    if not hmac.compare_digest(expected.encode(), signature):
        raise UploadLinkRefused
    if int(expires) < time.time():
        raise UploadLinkRefused
    return Signed(upload_id=upload_id, content_type=content_type, size_bytes=int(size))


def limit_of(method: str, path: str, query: str) -> int | None:
    """How many bytes a request may bring without a key; None: this is none of ours.

    Raises UploadLinkRefused.
    """
    if method != "PUT" or not path.startswith(PREFIX):
        return None
    return check(path, query).size_bytes


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < MOST_DIGITS


def _signature(upload_id: str, content_type: str, size_bytes: int, ends: int) -> str:
    text = f"{upload_id}/{content_type}/{size_bytes}/{ends}"
    whole = hmac.digest(_key(settings.SECRET_KEY), text.encode(), sha256)
    return base64.urlsafe_b64encode(whole[:SIGNATURE_BYTES]).decode()


@cache
def _key(secret: str) -> bytes:
    """A key for these addresses alone, so that no other signature of ours is one."""
    return salted_hmac(
        "jobs.upload_links", "key", secret=secret, algorithm="sha256"
    ).digest()
