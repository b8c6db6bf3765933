"""The browsers that somebody is signed in with: seen, listed and signed out."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import Session, User
from nijika import client_address

ORIGIN = "origin"
SEEN = "seen"
TOUCH_S = 600
"""So old the note of the last use becomes before it is written anew."""
SWEPT_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """`id` names a session without being its key, which is a secret."""

    id: str
    agent: str
    address: str
    by: str
    signed_in_at: datetime
    seen_at: datetime
    is_current: bool


def remember(request: HttpRequest, *, by: str) -> None:
    """Note where and how this session was signed in."""
    request.session[ORIGIN] = {
        "agent": request.META.get("HTTP_USER_AGENT", "")[:300],
        "address": client_address.client_address(
            request.META,
            proxies=settings.TRUSTED_PROXIES,
            headers=settings.CLIENT_ADDRESS_HEADERS,
        ),
        "by": by,
        "at": time.time(),
    }
    request.session[SEEN] = time.time()


def touch(session: SessionBase) -> None:
    """Note now and then that a signed-in session is used, which also prolongs it."""
    if SESSION_KEY in session and time.time() - session.get(SEEN, 0) > TOUCH_S:
        session[SEEN] = time.time()


def is_signed_in(session_key: str | None) -> bool:
    """Whether this session is there still, and its user may come in."""
    living = Session.objects.filter(
        pk=session_key or "",
        expire_date__gt=timezone.now(),
        user__suspended_at__isnull=True,
        user__deleted_at__isnull=True,
    )
    return living.exists()


def list_of(user: User, *, current: str | None) -> list[Browser]:
    """The user's browsers, the one with this session key first, then by last use."""
    rows = Session.objects.filter(user=user, expire_date__gt=timezone.now())
    browsers = [_browser(row, current) for row in rows]
    order = sorted(browsers, key=lambda one: one.seen_at, reverse=True)
    return sorted(order, key=lambda one: not one.is_current)


def end(user: User, browser_id: str) -> bool:
    """Sign one of the user's browsers out; whether there was such a one."""
    keys = Session.objects.filter(user=user).values_list("session_key", flat=True)
    found = [key for key in keys if _id(key) == browser_id]
    return bool(Session.objects.filter(user=user, pk__in=found).delete()[0])


def end_others(user: User, *, current: str | None) -> int:
    """Sign all the user's browsers out but this one."""
    return Session.objects.filter(user=user).exclude(pk=current or "").delete()[0]


def forget_ended() -> None:
    """Remove some sessions whose time is over; each sign-in does, so none pile up."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [timezone.now(), SWEPT_AT_ONCE])


def _browser(row: Session, current: str | None) -> Browser:
    data: dict[str, Any] = row.get_decoded()
    origin = data.get(ORIGIN, {})
    return Browser(
        id=_id(row.session_key),
        agent=agent_in_words(origin.get("agent", "")),
        address=origin.get("address", ""),
        by=origin.get("by", "password"),
        signed_in_at=_moment(origin.get("at") or data.get(SEEN) or 0),
        seen_at=_moment(data.get(SEEN) or origin.get("at") or 0),
        is_current=row.session_key == current,
    )


def agent_in_words(agent: str) -> str:
    """Browser and system, as far as a User-Agent tells them."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or agent[:60] or "Unknown browser"


BROWSERS = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
]
SYSTEMS = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
]


def _id(session_key: str) -> str:
    return hashlib.sha256(f"browser/{session_key}".encode()).hexdigest()[:20]


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


# Rows that somebody is writing are left for the next time.
_FORGET = """
DELETE FROM accounts_session WHERE session_key IN (
    SELECT session_key FROM accounts_session WHERE expire_date < %s
    ORDER BY expire_date LIMIT %s FOR UPDATE SKIP LOCKED
)
"""
