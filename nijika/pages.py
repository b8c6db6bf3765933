"""Middleware that only pages for browsers need: sessions, CSRF, messages, static files.

An API call looks at no cookie, so it goes past all of them; together they cost it as
much as the view itself (60 of 150 µs). Subclasses, because the admin looks for them.
"""

from __future__ import annotations

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


class _ForPages:
    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_page(request):
            response: HttpResponseBase = self.get_response(request)
        else:
            response = super().__call__(request)  # type: ignore[misc]
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
            response: HttpResponseBase = self.get_response(request)
            return response
        with allauth_context.request_context(request):
            return super().__call__(request)


class Messages(_ForPages, MessageMiddleware):
    pass
