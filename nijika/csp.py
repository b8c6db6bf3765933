"""What a page may load and whom it may call: Content-Security-Policy.

Everything comes from here, nothing is inline. Pictures and uploads may live in the
object store. Browsers ask `form-action` of every redirect that follows a form, and the
forms of the sign-in lead to a provider, which may send people on to their company's
sign-in: the two pages that have them allow any address by HTTPS. The admin's theme
evaluates expressions and writes styles, so its paths, and only they, allow that.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

HEADER = "Content-Security-Policy"
ADMIN = "/admin/"
WITH_PROVIDERS = ("/sign-in", "/account")


def mark(answer: HttpResponseBase, request: HttpRequest) -> None:
    """Put the policy of a page on its answer, unless the view has set one itself.

    Django's own pages about bugs, for developers, write their styles in line.
    """
    if settings.DEBUG and answer.status_code >= 500:
        return
    if HEADER not in answer:
        path = request.path_info
        answer[HEADER] = policy(
            admin=path.startswith(ADMIN), with_providers=path in WITH_PROVIDERS
        )


def policy(*, admin: bool, with_providers: bool) -> str:
    files = _stores()
    beyond = ["https:", *_plain_providers()] if with_providers else []
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *(["'unsafe-eval'"] if admin else [])],
        "style-src": ["'self'", *(["'unsafe-inline'"] if admin else [])],
        "img-src": ["'self'", "data:", "blob:", *files],
        "font-src": ["'self'"],
        "connect-src": ["'self'", *files],
        "manifest-src": ["'self'"],
        "form-action": ["'self'", *beyond],
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


def _plain_providers() -> list[str]:
    """Providers without HTTPS: a developer's own."""
    urls = settings.GITHUB_URL, settings.GITLAB_URL, settings.DEVELOPMENT_SIGN_IN
    return [one for one in _origins(*urls) if one.startswith("http:")]


def _origins(*urls: str) -> list[str]:
    parts = [urlsplit(url) for url in urls if url]
    return sorted({f"{part.scheme}://{part.netloc}" for part in parts})
