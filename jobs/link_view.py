"""The link's address, `/internal/link`: for workers and who asks for its health."""

from __future__ import annotations

import hmac
import json
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpResponse, JsonResponse

from gpu_worker.contract import (
    VERSION,
    Answer,
    Call,
    ContractError,
    Report,
    from_json,
    to_json,
)
from jobs import link
from jobs.errors import JOB_CODES
from nijika import counters
from nijika.errors import Conflict, Malformed, MethodNotAllowed, Unauthenticated


class ContractVersion(Conflict):
    """This worker speaks another version of the contract."""

    code = "contract_version"


def answer(environ: dict[str, Any]) -> HttpResponse:
    """POST: a worker's call. GET: would calls be handled? Both need the token.

    Raises Unauthenticated, MethodNotAllowed, Malformed, ContractVersion and Django's
    database errors.
    """
    check_token(environ.get("HTTP_AUTHORIZATION", ""))
    match environ["REQUEST_METHOD"]:
        case "POST":
            return _handled(environ["wsgi.input"].read(_length(environ)))
        case "GET":
            return _health()
        case _:
            raise MethodNotAllowed()


def _handled(body: bytes) -> HttpResponse:
    try:
        call = _call(body)
        answer = link.handle(call)
    except ContractError as error:
        counters.LINK_CALLS.labels("refused").inc()
        raise Malformed(str(error)) from error
    counters.LINK_CALLS.labels(answer.status).inc()
    _count_reports(call, answer)
    return JsonResponse(to_json(answer))


def _count_reports(call: Call, answer: Answer) -> None:
    """Each end once: what is not acknowledged comes again."""
    acknowledged = set(answer.acknowledged)
    for report in call.reports:
        if report.run in acknowledged:
            counters.LINK_REPORTS.labels(_outcome(report)).inc()


def _outcome(report: Report) -> str:
    """A worker may report any code: those that nobody knows are one."""
    if report.failure is None:
        return "succeeded"
    return report.failure.code if report.failure.code in JOB_CODES else "other"


def _health() -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})


def _length(environ: dict[str, Any]) -> int:
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isdigit() else 0


def check_token(authorization: str) -> None:
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
