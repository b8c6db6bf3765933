"""What all views of the API share: the caller, their scope, strict queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from accounts.authentication import Caller, Scope, authenticate, require_scope
from jobs.api import parsing
from jobs.errors import BadFields, FieldError, JobNotFound
from jobs.parsing.strict_json import printable
from jobs.requests.inputs import job_id_of
from nijika import request_ids


class ApiView(View):
    """A view for whoever has a key with the scope that `scopes` names for the method.

    `queries` are the query parameters of each method; any other is refused by name, and
    so is any member of a body that is sent to a POST which `takes_nothing`.
    """

    scopes: ClassVar[dict[str, Scope]] = {}
    queries: ClassVar[dict[str, frozenset[str]]] = {}
    takes_nothing: ClassVar[bool] = False
    caller: Caller
    query: dict[str, str]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        return csrf_exempt(super().as_view(**initkwargs))  # no cookie is looked at

    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else request.method or ""
        if self._answers(method) and method != "OPTIONS":
            self.caller = authenticate(request.META)
            if scope := self.scopes.get(method):
                require_scope(self.caller, scope)
            self.query = query_of(request, self.queries.get(method, frozenset()))
            if method == "POST" and self.takes_nothing:
                parsing.no_members(request)
        return super().dispatch(request, *args, **kwargs)

    def _answers(self, method: str) -> bool:
        """Not by what a view has from its parent and does not offer itself."""
        name = method.lower()
        return name in self.http_method_names and hasattr(self, name)

    def http_method_not_allowed(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """405 with Allow; the middleware makes the problem of it, nothing is logged."""
        response = HttpResponse(status=405)
        response["Allow"] = self.options(request).headers["Allow"]
        return response

    @property
    def request_id(self) -> str:
        return str(self.request.META.get(request_ids.KEY, ""))


def query_of(request: HttpRequest, known: frozenset[str]) -> dict[str, str]:
    """The query, each known name at most once. Raises BadFields for anything else."""
    if not request.META.get("QUERY_STRING"):
        return {}
    query, problems = {}, []
    for name, values in request.GET.lists():
        if name not in known:
            problems.append(FieldError(printable(name), "unknown", "is unknown here"))
        elif len(values) > 1:
            problems.append(FieldError(name, "repeated", "is given more than once"))
        else:
            query[name] = values[0]
    if problems:
        raise BadFields(*problems[:20])
    return query


def id_of(text: str) -> UUID:
    """The id in a path. One that cannot exist is like one that is not yours."""
    job_id = job_id_of(text)
    if job_id is None:
        raise JobNotFound
    return job_id
