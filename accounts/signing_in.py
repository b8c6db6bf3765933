"""From a provider's answer to a session, or to a page that says why not."""

from __future__ import annotations

import logging
from enum import Enum
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import browsers, linking, shown_once
from accounts.errors import AccountSuspended, SignInRefused
from accounts.linking import Arrival, Identity
from accounts.models import User

BACKEND = "django.contrib.auth.backends.ModelBackend"
WELCOME = "/welcome"
ACCOUNT = "/account"
NAMES = {"github": "GitHub", "gitlab": "GitLab"}

logger = logging.getLogger(__name__)


class Failure(Enum):
    """Why a provider's answer says nothing about who this is; with its status."""

    CANCELLED = 200
    STATE = 400
    PROVIDER = 502


class SeeOther(HttpResponseRedirect):
    """303: the next request is a GET, whatever this one was."""

    status_code = 303


def complete(
    request: HttpRequest, identity: Identity, *, next_url: str
) -> HttpResponse:
    """Link the account to who is signed in, or sign in whose it is."""
    user = request.user
    try:
        if isinstance(user, User):
            return _linked(request, linking.link(user, identity), identity, next_url)
        arrival = linking.arrive(identity)
    except (SignInRefused, AccountSuspended) as error:
        return refused(request, error, identity)
    return _enter(request, arrival, identity, next_url)


def refused(
    request: HttpRequest, error: SignInRefused | AccountSuspended, identity: Identity
) -> HttpResponse:
    """A page with the rule that was broken, and what to do about it."""
    context = {
        "error": error,
        "provider": NAMES[identity.provider],
        "name": identity.name,
        "months": settings.PROVIDER_ACCOUNT_MONTHS,
    }
    page = render(request, "accounts/refused.html", context, status=error.status)
    page._has_been_logged = True  # type: ignore[attr-defined]
    return page


def failed(
    request: HttpRequest,
    provider_name: str,
    failure: Failure,
    exception: Exception | None,
) -> HttpResponse:
    """A page about a sign-in that did not come to its end; it may be tried again.

    What the provider said goes to the log, never to the page.
    """
    if failure is Failure.PROVIDER:
        logger.warning("signing in with %s failed: %r", provider_name, exception)
    context = {"provider": provider_name, "failure": failure.name.lower()}
    page = render(request, "accounts/failed.html", context, status=failure.value)
    page._has_been_logged = True  # type: ignore[attr-defined]
    return page


def safe_next(url: object) -> str:
    """The address if it is a path of ours, else nothing. Sign-in pages are no goal."""
    if not isinstance(url, str) or not url.startswith("/"):
        return ""
    if not url_has_allowed_host_and_scheme(url, allowed_hosts=None):
        return ""
    return "" if url.startswith(("/sign-in", "/sign-out", "/auth/")) else url


def _linked(
    request: HttpRequest, is_new: bool, identity: Identity, next_url: str
) -> SeeOther:
    words = "is now linked" if is_new else "was linked already"
    messages.success(request, f"Your {NAMES[identity.provider]} account {words}.")
    return SeeOther(safe_next(next_url) or ACCOUNT)


def _enter(
    request: HttpRequest, arrival: Arrival, identity: Identity, next_url: str
) -> SeeOther:
    browsers.forget_ended()
    login(request, arrival.user, backend=BACKEND)
    browsers.remember(request, by=NAMES[identity.provider])
    goal = safe_next(next_url)
    if arrival.is_new:
        request.session["is_gifted"] = arrival.is_gifted
        query = f"?{urlencode({'next': goal})}" if goal else ""
        answer = SeeOther(WELCOME + query)
        shown_once.hand_over(answer, arrival.secret, user=arrival.user)
        return answer
    if arrival.is_linked:
        name = NAMES[identity.provider]
        messages.success(
            request,
            f"Your {name} account is now linked: it has verified {arrival.user.email}.",
        )
    return SeeOther(goal or settings.LOGIN_REDIRECT_URL)
