"""What a page may load and whom it may call: Content-Security-Policy.

Everything comes from here, nothing is inline. Two exceptions: pictures and uploads may
live in the object store, and the sign-in's forms end at a provider, which browsers ask
of `form-action` too. The admin's theme evaluates expressions and writes styles, so its
paths, and only they, allow that.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

HEADER = "Content-Security-Policy"
ADMIN = "/admin/"


def mark(answer: HttpResponseBase, request: HttpRequest) -> None:
    """Put the policy of a page on its answer, unless the view has set one itself.

    Django's own pages about bugs, for developers, write their styles in line.
    """
    if settings.DEBUG and answer.status_code >= 400:
        return
    if HEADER not in answer:
        answer[HEADER] = policy(admin=request.path_info.startswith(ADMIN))


def policy(*, admin: bool = False) -> str:
    files = _stores()
    providers = _origins(
        settings.GITHUB_URL, settings.GITLAB_URL, settings.DEVELOPMENT_SIGN_IN
    )
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *(["'unsafe-eval'"] if admin else [])],
        "style-src": ["'self'", *(["'unsafe-inline'"] if admin else [])],
        "img-src": ["'self'", "data:", "blob:", *files],
        "font-src": ["'self'"],
        "connect-src": ["'self'", *files],
        "manifest-src": ["'self'"],
        "form-action": ["'self'", *([] if admin else providers)],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
    return "; ".join(" ".join([name, *sources]) for name, sources in rules.items())


def _stores() -> list[str]:
    """Where links to stored files lead; Amazon's own hosts if no other is named."""
    if not settings.STORAGE_URL.startswith("s3:"):
        return []
    endpoint = settings.S3_PUBLIC_ENDPOINT_URL or settings.S3_ENDPOINT_URL
    return _origins(endpoint or "https://*.amazonaws.com")


def _origins(*urls: str) -> list[str]:
    parts = [urlsplit(url) for url in urls if url]
    return sorted({f"{part.scheme}://{part.netloc}" for part in parts})
