"""The time zone that a browser has told in a cookie; pages count days by it."""

from __future__ import annotations

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest

COOKIE = "zone"
UTC = "UTC"


def zone_of(request: HttpRequest) -> ZoneInfo:
    """UTC where the cookie is missing or names no zone that is known here."""
    name = request.COOKIES.get(COOKIE, UTC)
    return ZoneInfo(name if name in _names() else UTC)


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones())
