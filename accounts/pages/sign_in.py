"""Signing in and out, and the page that greets a newcomer."""

from __future__ import annotations

import threading
from typing import Any

from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import add_never_cache_headers
from django.views import View

from accounts import adapters, browsers, shown_once
from accounts.models import User
from accounts.signing_in import SeeOther, safe_next
from nijika.errors import Unavailable


class SignInView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        goal = safe_next(request.GET.get("next"))
        if request.user.is_authenticated:
            return redirect(goal or settings.LOGIN_REDIRECT_URL)
        context = {
            "providers": adapters.apps(),
            "next": goal,
            "months": settings.PROVIDER_ACCOUNT_MONTHS,
            "credits": settings.WELCOME_CREDITS,
            "is_development": bool(settings.DEVELOPMENT_SIGN_IN),
        }
        page = render(request, "accounts/sign_in.html", context)
        add_never_cache_headers(page)
        return page


class StartView(View):
    """Begins at the provider. By POST only, so that no other site can begin it."""

    def post(self, request: HttpRequest, provider_id: str) -> HttpResponseBase:
        offered = _offered(request, provider_id)
        browsers.forget_ended()
        goal = safe_next(request.POST.get("next"))
        answer: HttpResponseBase = offered.redirect(
            request, process="login", next_url=goal
        )
        answer.status_code = 303
        return answer

    def get(self, request: HttpRequest, provider_id: str) -> HttpResponse:
        return redirect(settings.LOGIN_URL)


class Crowded(Unavailable):
    """Many people are signing in at this moment. Please reload this page."""


_callbacks = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))
"""Each asks the provider: one that hangs must not hold all threads of the server."""


class CallbackView(View):
    """Where the provider sends people back. Raises Crowded."""

    def get(self, request: HttpRequest, provider_id: str) -> HttpResponseBase:
        offered = _offered(request, provider_id)
        complete = OAuth2CallbackView.adapter_view(offered.oauth2_adapter_class)
        if not _callbacks.acquire(blocking=False):
            raise Crowded  # before the state is used up, so that a reload works
        try:
            answer: HttpResponseBase = complete(request)
        finally:
            _callbacks.release()
        add_never_cache_headers(answer)
        return answer


class SignOutView(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        logout(request)
        return SeeOther("/")


class WelcomeView(LoginRequiredMixin, View):
    """A newcomer's first page: the first key, this once, and what to do with it."""

    def get(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        assert isinstance(user, User)
        gifted = request.session.get("is_gifted", False)
        context = {
            "secret": shown_once.take(request, user=user),
            "gift": settings.WELCOME_CREDITS if gifted else 0,
            "url": settings.PUBLIC_URL,
            "next": safe_next(request.GET.get("next")) or settings.LOGIN_REDIRECT_URL,
        }
        page = render(request, "accounts/welcome.html", context)
        shown_once.forget(page)
        return page


def _offered(request: HttpRequest, provider_id: str) -> Any:
    """The provider, if this installation offers it."""
    if provider_id not in {app.provider for app in adapters.apps()}:
        raise Http404
    return get_adapter(request).get_provider(request, provider_id)
