"""Which pages' browsers may call the API, on every answer, the front's own included.

The API looks at no cookie: a key in a header is the only credential, so the origin of a
page says nothing about who calls. Listed origins may send credentials all the same, as
clients that set `withCredentials` insist on it; any other may call without.
"""

import re
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

LINKS = ("/files/", "/img/", "/uploads/")
"""Signed links, which caches keep: their answers are the same for all pages."""
PREFIXES = ("/api/", *LINKS, "/removebg", "/upscale", "/health")

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, "
    "Prefer, X-API-Key, X-Fal-Key, X-Gemini-Api-Key, X-Google-Api-Key, "
    "X-OpenAI-Api-Key, X-Request-Id, X-Stability-Api-Key"
)
RESPONSE_HEADERS = (
    "Content-Disposition, ETag, Idempotency-Replayed, Location, Preference-Applied, "
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, "
    "X-Credits-Charged, X-Credits-Remaining, X-Job-Id, X-Request-Id, X-Sandbox"
)
REQUESTED = "Access-Control-Request-Headers"
NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:\s*,\s*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)


def applies_to(path: str) -> bool:
    return path.startswith(PREFIXES)


def is_preflight(request: HttpRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META
        and applies_to(request.path_info)
    )


def preflight(request: HttpRequest) -> dict[str, str]:
    """What a browser asks before it calls. Any header may be sent: those that we look
    at, and what pages' libraries add to every call."""
    asked = request.headers.get(REQUESTED, "")
    more = f", {asked}" if NAMES.fullmatch(asked) else ""
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": REQUEST_HEADERS + more,
        "Access-Control-Max-Age": "3600",
        "Vary": REQUESTED,
    }


def headers_for(path: str, origin: str | None) -> dict[str, str]:
    """What an answer says to a page of this origin; `Vary` may be among it."""
    if not applies_to(path):
        return {}
    anyone = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": RESPONSE_HEADERS,
    }
    if path.startswith(LINKS):
        return anyone
    if origin is not None and origin in _listed():
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": RESPONSE_HEADERS,
            "Vary": "Origin",
        }
    return {"Vary": "Origin"} | (anyone if settings.CORS_ANY_ORIGIN else {})


def mark(answer: HttpResponseBase, request: HttpRequest) -> None:
    """Put the headers on an answer, beside what it varies by already."""
    origin = request.META.get("HTTP_ORIGIN")
    for name, value in headers_for(request.path_info, origin).items():
        if name == "Vary" and name in answer:
            patch_vary_headers(answer, [value])
        else:
            answer[name] = value


@cache
def _listed() -> frozenset[str]:
    return frozenset(origin.rstrip("/") for origin in settings.CORS_ORIGINS)
