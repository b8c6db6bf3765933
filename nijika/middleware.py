"""The first and last word on every request: its id, its errors, its CORS headers."""

from __future__ import annotations

from collections.abc import Callable

from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from nijika import continuation, cors, csp, problems, request_ids


class RequestMiddleware:
    """Stands outermost, so no answer leaves without an id or with an HTML error."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = _request_id(request)
        if cors.is_preflight(request):
            answer: HttpResponseBase = HttpResponse(
                status=204, headers=cors.preflight(request)
            )
        else:
            answer = self.get_response(request)
            if request.resolver_match is not None:
                request.META[continuation.ROUTE] = request.resolver_match.route
        if problems.is_page(request) or problems.is_lost(request):
            answer = problems.without_routes(answer, request)
            csp.mark(answer, request)
        else:
            answer = problems.instead_of(answer, request_id)
        answer[request_ids.HEADER] = request_id
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        cors.mark(answer, request)
        return answer

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponse | None:
        error = problems.meaning(exception)
        if problems.is_page(request):
            return None if error is None else problems.page(request, error)
        if error is None:
            # What Django tells of an exception that nobody turned into an answer.
            got_request_exception.send(sender=None, request=request)
        return problems.from_exception(exception, _request_id(request))


def _request_id(request: HttpRequest) -> str:
    """The id that the front gave, or one made here under any other server."""
    meta = request.META
    if request_ids.KEY not in meta:
        meta[request_ids.KEY] = request_ids.choose(meta.get("HTTP_X_REQUEST_ID"))
    request_id: str = meta[request_ids.KEY]
    return request_id
