"""The link's own door: `/internal/link`, for workers and who asks for its health.

Plain WSGI, since a job passes here twice and nothing of Django's request and middleware
serves a worker: half a millisecond less for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.db import close_old_connections
from django.http import HttpResponse

from jobs import link_view
from nijika import continuation, problems, request_ids

PATH = "/internal/link"


def application(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answers like the rest of the platform: problems as problem responses."""
    environ[continuation.ROUTE] = PATH[1:]
    request_id = environ.get(request_ids.KEY) or request_ids.choose(None)
    close_old_connections()
    try:
        response = link_view.answer(environ)
    except Exception as error:
        response = problems.from_exception(error, request_id)
    finally:
        close_old_connections()
    response[request_ids.HEADER] = request_id
    response["X-Content-Type-Options"] = "nosniff"
    return _sent(response, start_response)


def _sent(response: HttpResponse, start_response: Callable[..., Any]) -> list[bytes]:
    status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
    start_response(status, list(response.items()))
    return [response.content]
