"""Links to results that need no key: whoever has one may read that file for an hour.

A link names the job, the result and when it ends, under a signature of all three. It
says nothing about the job's state: an erased result is gone whatever links are around.
"""

from __future__ import annotations

import base64
import hmac
import time
from functools import cache
from hashlib import sha256

from django.conf import settings
from django.utils.crypto import salted_hmac

from nijika.errors import NotAllowed

SIGNATURE_BYTES = 18


class LinkRefused(NotAllowed):
    """This link has ended, or somebody has changed it."""


def result_url(job_id: object, index: int) -> str:
    """An absolute link to a result, signed anew."""
    expires = int(time.time() + settings.LINK_LIFETIME.total_seconds())
    signature = _signature(str(job_id), index, expires)
    path = f"{settings.PUBLIC_URL}/files/{job_id}/{index}"
    return f"{path}?expires={expires}&signature={signature}"


def check(job_id: str, index: int, *, expires: str, signature: str) -> None:
    """Raises LinkRefused unless the link was signed by us and has not ended."""
    if not (expires.isascii() and expires.isdecimal() and len(expires) < 12):
        raise LinkRefused
    expected = _signature(job_id, index, int(expires))
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise LinkRefused
    if int(expires) < time.time():
        raise LinkRefused


def _signature(job_id: str, index: int, expires: int) -> str:
    text = f"{job_id}/{index}/{expires}"
    whole = hmac.digest(_key(settings.SECRET_KEY), text.encode(), sha256)
    return base64.urlsafe_b64encode(whole[:SIGNATURE_BYTES]).decode()


@cache
def _key(secret: str) -> bytes:
    """A key for links alone, so that no other signature of ours can be one."""
    return salted_hmac("jobs.links", "key", secret=secret, algorithm="sha256").digest()
