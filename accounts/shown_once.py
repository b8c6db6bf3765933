"""A new key's way from the request that makes it to the page that shows it.

It travels in a cookie of its owner's browser, for minutes, signed for this user, and
goes when it is shown: so a reload neither shows it again nor makes another key, and it
lies in no table and no address.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from accounts.models import User

COOKIE = "new-key"
KEPT_S = 600


def hand_over(response: HttpResponseBase, secret: str, *, user: User) -> None:
    response.set_signed_cookie(
        COOKIE,
        secret,
        salt=_salt(user),
        max_age=KEPT_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def take(request: HttpRequest, *, user: User) -> str:
    """The secret that this page is to show, if any; then `forget` it."""
    secret = request.get_signed_cookie(
        COOKIE, default="", salt=_salt(user), max_age=KEPT_S
    )
    return secret or ""


def forget(response: HttpResponseBase) -> None:
    response.delete_cookie(COOKIE, samesite="Lax")
    response["Cache-Control"] = "no-store"


def _salt(user: User) -> str:
    return f"accounts.shown_once:{user.pk}"
