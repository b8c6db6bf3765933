"""Who may ask how often: the rules, before any view is asked.

- With a good key, a request counts for that key, from wherever it comes; an edit by the
  older path counts once more, for the hour.
- Without one, and with a wrong one, it counts for its address; when that bucket is
  full the answer is 429, and no wrong key is looked up any more.
- Health has a rule of its own, and so has signing in: beginning it, coming back from
  the provider, and the admin's password.
- What a signed-in person sends from the pages (a picture, a job, a key, a webhook's
  test) counts for the person, in whatever browsers; to look, and to sign out, is free.
- Signed links (files, pictures) are not counted here: what they cost is bounded where
  they are made.

Every counted answer says how much is left (`RateLimit-Limit`, `-Remaining`, `-Reset`,
after the IETF's draft of these headers); a refusal also says `Retry-After`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts import authentication
from nijika import client_address, problems, rates, request_ids
from nijika.errors import RateLimited
from nijika.rates import Rate, Rates, Verdict

HEALTH = ("/health", "/api/health", "/api/system/health", "/api/v1/health")
COUNTED = ("/api/", "/removebg", "/upscale")
EDIT = "/api/edit"
SIGN_IN = ("/auth/", "/admin/login")
FREE = ("/sign-out", "/admin/")
"""Where people send forms that are not counted for them."""


class TooMany(RateLimited):
    """Too many requests; the headers say when the next is welcome."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"Try again in {verdict.retry_s} s.")
        self.headers = headers_of(verdict) | {"Retry-After": str(verdict.retry_s)}
        self.retry_after_seconds = verdict.retry_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    name: str
    rate: Rate


class RateLimits:
    """Middleware; does not exist where the settings switch the limits off."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        if not settings.RATE_LIMITS:
            raise MiddlewareNotUsed
        self._get_response = get_response
        self._rates = Rates(settings.REDIS_URL)
        self._per_key = _rate("RATE_PER_KEY")
        self._per_address = _rate("RATE_PER_ADDRESS")
        self._edits = _rate("RATE_EDITS")
        self._health = _rate("RATE_HEALTH")
        self._sign_in = _rate("RATE_SIGN_IN")
        self._per_person = _rate("RATE_PER_PERSON")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = authentication.digest_of(request.META)
        try:
            verdict = self._before(request, key)
        except TooMany as error:
            return _refusal(request, error)
        response = self._get_response(request)
        if key is not None and response.status_code == 401:
            verdict = self._count_wrong_key(request) or verdict
        if verdict is not None:
            for name, value in headers_of(verdict).items():
                response[name] = value
        return response

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        """Count what a person sends; before this, nobody knows who it is."""
        try:
            self._take(_of_person(request, self._per_person))
        except TooMany as error:
            return _refusal(request, error)
        return None

    def _before(self, request: HttpRequest, key: str | None) -> Verdict | None:
        """Count the request, if it counts. Raises TooMany."""
        path = request.path_info
        if path.startswith(HEALTH):
            return self._take(_of_address(request, "health", self._health))
        if path.startswith(SIGN_IN) and _is_attempt(request):
            return self._take(_of_address(request, "sign-in", self._sign_in))
        if not path.startswith(COUNTED):
            return None
        by_address = _of_address(request, "address", self._per_address)
        if key is None:
            return self._take(by_address)
        if not authentication.is_met(key):
            # One of many guesses, perhaps: a full bucket asks the database no more.
            self._take(by_address, count=0)
        verdict = self._take(_of_key("key", key, self._per_key))
        if path == EDIT and request.method == "POST":
            return self._take(_of_key("edits", key, self._edits)) or verdict
        return verdict

    def _count_wrong_key(self, request: HttpRequest) -> Verdict | None:
        bucket = _of_address(request, "address", self._per_address)
        return self._rates.take(bucket.name, bucket.rate) if bucket else None

    def _take(self, bucket: Bucket | None, *, count: int = 1) -> Verdict | None:
        if bucket is None:
            return None
        verdict = self._rates.take(bucket.name, bucket.rate, count=count)
        if verdict is not None and not verdict.allowed:
            raise TooMany(verdict)
        return verdict


def _refusal(request: HttpRequest, error: TooMany) -> HttpResponse:
    if problems.is_page(request):
        return problems.page(request, error)
    return problems.response(error, request.META[request_ids.KEY])


def _is_attempt(request: HttpRequest) -> bool:
    """Whether this tries to get in, or only looks at a form."""
    return request.method == "POST" or request.path_info.endswith("/callback")


def _of_address(request: HttpRequest, name: str, rate: Rate | None) -> Bucket | None:
    if rate is None:
        return None
    address = client_address.client_address(
        request.META,
        proxies=settings.TRUSTED_PROXIES,
        headers=settings.CLIENT_ADDRESS_HEADERS,
    )
    return Bucket(name=f"{name}:{client_address.network(address)}", rate=rate)


def _rate(name: str) -> Rate | None:
    """A setting. Raises ImproperlyConfigured."""
    try:
        return rates.parse(getattr(settings, name))
    except ValueError as error:
        raise ImproperlyConfigured(f"NIJIKA_{name}={error}") from error


def _of_key(name: str, digest: str, rate: Rate | None) -> Bucket | None:
    return None if rate is None else Bucket(name=f"{name}:{digest[:32]}", rate=rate)


def _of_person(request: HttpRequest, rate: Rate | None) -> Bucket | None:
    is_counted = request.method == "POST" and problems.is_page(request)
    if rate is None or not is_counted or request.path_info.startswith(FREE):
        return None
    person_id = request.user.pk
    return None if person_id is None else Bucket(name=f"person:{person_id}", rate=rate)


def headers_of(verdict: Verdict) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(verdict.limit),
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(verdict.reset_s),
    }
