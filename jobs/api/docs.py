"""The schema, and a page that shows it: everything from our own static files."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from jobs.api.base import query_of
from jobs.api.openapi.document import document
from jobs.api.rendering import answer

# Swagger UI writes style attributes and draws its icons from data: URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class SchemaView(View):
    """The OpenAPI document. Needs no key: it says nothing about anybody."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        query_of(request, frozenset())
        return answer(document())


class DocsView(View):
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = render(request, "jobs/docs.html")
        response["Content-Security-Policy"] = POLICY
        return response
