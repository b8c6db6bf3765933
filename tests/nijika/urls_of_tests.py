"""Views that fail in every way; `tests.nijika.test_problems` looks at the answers."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import (
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET

from nijika import continuation, problems
from nijika.errors import Conflict, PaymentRequired, Unavailable


class Short(PaymentRequired):
    """Credits are short."""

    def __init__(self) -> None:
        super().__init__("a job costs more than you have")
        self.needed = Decimal("0.5")
        self._secret = "not for anyone"


class Busy(Unavailable):
    """Try later."""

    headers = {"Retry-After": "7"}


RAISED: dict[str, Exception] = {
    "short": Short(),
    "busy": Busy(),
    "conflict": Conflict(),
    "http404": Http404("no such thing"),
    "permission": PermissionDenied(),
    "toobig": RequestDataTooBig(),
    "suspicious": SuspiciousOperation("hm"),
    "host": DisallowedHost("hm"),
    "database": OperationalError("server closed the connection"),
    "interface": InterfaceError("connection already closed"),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "bug": ValueError("a secret prompt"),
}


def fail(request: HttpRequest, how: str) -> HttpResponse:
    raise RAISED[how]


def host(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.get_host())


def form(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.POST.dict())


def select(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return JsonResponse({"backend": cursor.fetchone()[0]})


def whoami(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"front": continuation.FRONT in request.META})


@require_GET
def only_get(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


urlpatterns: list[Any] = [
    path("api/fail/<str:how>", fail),
    path("admin/fail/<str:how>", fail),
    path("api/host", host),
    path("api/form", form),
    path("admin/form", form),
    path("api/get", only_get),
    path("api/select", select),
    path("api/whoami", whoami),
]
handler400 = problems.handler400
handler403 = problems.handler403
handler404 = problems.handler404
handler500 = problems.handler500
