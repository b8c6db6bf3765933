"""The link's address, `/internal/link`: for workers and who asks for its health."""

from __future__ import annotations

import hmac
import json
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from gpu_worker.contract import VERSION, Call, ContractError, from_json, to_json
from jobs import link
from nijika.errors import Conflict, Malformed, Unauthenticated


class ContractVersion(Conflict):
    """This worker speaks another version of the contract."""

    code = "contract_version"


@method_decorator(csrf_exempt, name="dispatch")
class LinkView(View):
    """POST: a worker's call. GET: would calls be handled? Both need the token."""

    def dispatch(
        self, request: HttpRequest, *args: Any, **options: Any
    ) -> HttpResponse:
        _check_token(request.headers.get("Authorization", ""))
        answer = super().dispatch(request, *args, **options)
        assert isinstance(answer, HttpResponse)
        return answer

    def get(self, request: HttpRequest) -> HttpResponse:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return JsonResponse({"status": "ok"})

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            answer = link.handle(_call(request.body))
        except ContractError as error:
            raise Malformed(str(error)) from error
        return JsonResponse(to_json(answer))


def _check_token(authorization: str) -> None:
    """Compared in constant time. Raises Unauthenticated."""
    expected = f"Bearer {settings.LINK_TOKEN}".encode()
    if not hmac.compare_digest(authorization.encode(errors="replace"), expected):
        raise Unauthenticated


def _call(body: bytes) -> Call:
    try:
        call = from_json(Call, json.loads(body))
    except (ValueError, RecursionError) as error:
        raise ContractError(str(error)) from error
    if call.version != VERSION:
        raise ContractVersion
    return call
