"""Browsers may call the API from any page: a key in a header is the only credential,
and no cookie is looked at, so the origin of a page says nothing."""

from django.http import HttpRequest

PREFIXES = ("/api/", "/files/", "/img/")

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, "
    "Prefer, X-API-Key, X-Request-Id"
)
RESPONSE_HEADERS = (
    "Content-Disposition, ETag, Idempotency-Replayed, Location, RateLimit, "
    "RateLimit-Limit, RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, "
    "Retry-After, X-Credits-Charged, X-Credits-Remaining, X-Request-Id"
)
HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", RESPONSE_HEADERS),
)
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": REQUEST_HEADERS,
    "Access-Control-Max-Age": "86400",
}


def applies_to(path: str) -> bool:
    return path.startswith(PREFIXES)


def is_preflight(request: HttpRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META
        and applies_to(request.path_info)
    )
