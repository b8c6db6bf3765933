"""Errors as RFC 9457 problem responses: the one place that renders them.

Whatever goes wrong below our own addresses is answered here: our errors, Django's own
refusals, a database that is away, and the unexpected, which is logged with its
traceback and answered without it. Only pages for browsers keep Django's HTML.
"""

import json
import logging
import sys
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.shortcuts import render
from django.views import defaults

from nijika import errors, request_ids
from nijika.errors import NijikaError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
PAGES = frozenset(
    {
        "",
        "account",
        "accounts",
        "admin",
        "auth",
        "credits",
        "credits.csv",
        "dashboard",
        "jobs",
        "keys",
        "playground",
        "prices",
        "sign-in",
        "sign-out",
        "static",
        "webhooks",
        "welcome",
    }
)
"""The first words of the paths that are for people in browsers."""

MEANINGS: list[tuple[type[BaseException], type[NijikaError]]] = [
    (Http404, errors.NotFound),
    (PermissionDenied, errors.NotAllowed),
    (RequestDataTooBig, errors.TooLarge),
    (SuspiciousOperation, errors.Malformed),
    (BadRequest, errors.Malformed),
    (MultiPartParserError, errors.Malformed),
    (UnreadablePostError, errors.Malformed),
    (UnicodeDecodeError, errors.Malformed),
    # A lost connection, a refused one, a lock or a statement that took too long.
    (OperationalError, errors.Unavailable),
    (InterfaceError, errors.Unavailable),
    (psycopg.OperationalError, errors.Unavailable),
    (psycopg.InterfaceError, errors.Unavailable),
]
BY_STATUS = {
    kind.status: kind
    for kind in (
        errors.Malformed,
        errors.NotAllowed,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.TooLarge,
        errors.UnsupportedMedia,
        errors.Unavailable,
    )
}


class Unexpected(NijikaError):
    """Something went wrong on our side; it has been recorded under the request id."""

    code = "internal_error"
    status = 500


def response(error: NijikaError, request_id: str) -> HttpResponse:
    """The error as its problem response."""
    answer = HttpResponse(
        body(error, request_id), status=error.status, content_type=CONTENT_TYPE
    )
    answer["Cache-Control"] = "no-store"
    for name, value in error.headers.items():
        answer[name] = value
    # What is worth a line has one already; Django would add one per refusal.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


def body(error: NijikaError, request_id: str) -> bytes:
    """The problem as JSON; the standard members win over the error's own fields.

    `error` and `error_type` say the same once more, by the names that clients of older
    systems look at; an old system's own word for it may replace the latter.
    """
    title = (type(error).__doc__ or HTTPStatus(error.status).phrase).splitlines()[0]
    members = {
        "error": str(error),
        "error_type": error.code,
        **{k: v for k, v in error.fields().items() if k != "headers"},
        "type": f"urn:nijika:problem:{error.code}",
        "title": title,
        "status": error.status,
        "detail": str(error),
        "code": error.code,
        "request_id": request_id,
    }
    return json.dumps(members, default=_as_text).encode()


def from_exception(exception: BaseException, request_id: str) -> HttpResponse:
    """The answer to any exception. The unexpected and our own outages are logged."""
    error = meaning(exception)
    if error is None:
        logger.error("request %s failed", request_id, exc_info=exception)
        error = Unexpected()
    elif error.status >= 500 and error is not exception:
        logger.warning("request %s: %s", request_id, exception)
    return response(error, request_id)


def meaning(exception: BaseException) -> NijikaError | None:
    """What an exception tells the caller, if it is not a bug of ours."""
    if isinstance(exception, NijikaError):
        return exception
    for kind, means in MEANINGS:
        if isinstance(exception, kind):
            return means()
    return None


def is_page(request: HttpRequest) -> bool:
    return request.path_info.removeprefix("/").partition("/")[0] in PAGES


def is_lost(request: HttpRequest) -> bool:
    """Whether this is a person's browser at an address that leads nowhere. Below /api
    there are only programs, whatever they say that they accept."""
    return (
        request.method in ("GET", "HEAD")
        and request.resolver_match is None
        and "text/html" in request.META.get("HTTP_ACCEPT", "")
        and not request.path_info.startswith("/api")
    )


def page(request: HttpRequest, error: NijikaError) -> HttpResponse:
    """The error as a page, or as its problem for a script of ours that asks so."""
    request_id = request.META.get(request_ids.KEY, "")
    if "application/json" in request.META.get("HTTP_ACCEPT", ""):
        return response(error, request_id)
    title = (type(error).__doc__ or HTTPStatus(error.status).phrase).splitlines()[0]
    context = {"error": error, "title": title, "request_id": request_id}
    answer = render(request, "error.html", context, status=error.status)
    for name, value in error.headers.items():
        answer[name] = value
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


def instead_of(answer: HttpResponseBase, request_id: str) -> HttpResponseBase:
    """A problem for an error answer of Django's own; any other answer unchanged."""
    if answer.status_code < 400 or answer.get("Content-Type") == CONTENT_TYPE:
        return answer
    error = BY_STATUS.get(answer.status_code, Unexpected)()
    if answer.status_code not in BY_STATUS:
        error.status, error.code = answer.status_code, "error"
        logger.warning("request %s: bare status %s", request_id, error.status)
    problem = response(error, request_id)
    for name in ("Allow", "Retry-After"):
        if name in answer.headers:
            problem[name] = answer.headers[name]
    return problem


def without_routes(answer: HttpResponseBase, request: HttpRequest) -> HttpResponseBase:
    """While debugging, Django tells whoever is lost all routes; they get our page."""
    is_lost = answer.status_code == 404 and request.resolver_match is None
    if settings.DEBUG and is_lost:
        return defaults.page_not_found(request, Http404())
    return answer


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _handled(request, exception) or defaults.bad_request(request, exception)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _handled(request, exception) or defaults.permission_denied(
        request, exception
    )


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _handled(request, exception) or defaults.page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponseBase:
    exception = sys.exc_info()[1]
    if exception is None:
        return defaults.server_error(request)
    return _handled(request, exception) or defaults.server_error(request)


def _handled(request: HttpRequest, exception: BaseException) -> HttpResponse | None:
    if is_page(request) or is_lost(request):
        return None
    return from_exception(exception, request.META.get(request_ids.KEY, ""))


def _as_text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, Decimal) else str(value)
