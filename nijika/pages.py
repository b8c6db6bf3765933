"""Middleware that only pages for browsers need: sessions, CSRF, messages, static files.

An API call looks at no cookie, so it goes past all of them; together they cost it as
much as the view itself (60 of 150 µs). Subclasses, because the admin looks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.core import context as allauth_context
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from accounts import browsers
from nijika.problems import is_page

_GetResponse = Callable[[HttpRequest], HttpResponseBase]


class _ForPages:
    def __init__(self, get_response: _GetResponse) -> None:
        super().__init__(get_response)  # type: ignore[call-arg]
        # Django wraps each middleware for the next one outwards.
        following = getattr(get_response, "__wrapped__", None)
        self.past: _GetResponse = (
            following.past if isinstance(following, _ForPages) else get_response
        )
        """What comes after all of these, for a request that is for none of them."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_page(request):
            return self.past(request)
        response: HttpResponseBase = super().__call__(request)  # type: ignore[misc]
        return response


class StaticFiles(_ForPages, WhiteNoiseMiddleware):  # type: ignore[misc]
    pass


class Sessions(_ForPages, SessionMiddleware):
    """Which also notes now and then that a session is used."""

    def process_response(
        self, request: HttpRequest, response: HttpResponse
    ) -> HttpResponse:
        if request.session.accessed:
            browsers.touch(request.session)
        return super().process_response(request, response)


class Csrf(_ForPages, CsrfViewMiddleware):
    def process_view(self, request: HttpRequest, *view: Any) -> Any:
        return super().process_view(request, *view) if is_page(request) else None


class Users(_ForPages, AuthenticationMiddleware):
    """With the context that allauth's views look for."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_page(request):
            return self.past(request)
        with allauth_context.request_context(request):
            return super().__call__(request)


class Messages(_ForPages, MessageMiddleware):
    pass
