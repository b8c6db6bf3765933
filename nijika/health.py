"""Whether the platform can do its work: for balancers, for people, for scripts.

`/health/live` is the front's own. `/health/ready` asks the database alone, since with
it requests are accepted whatever else is down. `/api/health` looks at everything, at
most once a second however many ask, and says nothing that a stranger may not know.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.db import Error, connection
from django.db.models import Count
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from jobs import engines, storage
from jobs.models import Worker
from jobs.upkeep import control_signs
from nijika.errors import Unavailable

ASK_TIMEOUT_S = 2.0
KEEP_S = 1.0

Services = dict[str, dict[str, Any]]


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """200 while the database answers, else 503."""
    try:
        with _in_time(), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        raise Unavailable() from error
    return _uncached({"status": "ready"})


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """The state of each part: always 200, since the answer is the text."""
    return _uncached(_report.get())


@require_safe
def ok(request: HttpRequest) -> HttpResponse:
    """What an older system said while it answered at all."""
    return _uncached({"status": "ok"})


@require_safe
def system(request: HttpRequest) -> HttpResponse:
    """The same report under the names that an older system had for its services.

    They are beside ours, and the status is of ours alone: what was never installed is
    `unknown`, and no fault.
    """
    report = _report.get()
    services = report["services"]
    old = {
        "job_manager": services["control"],
        "generation": _of_operation("edit", services),
        "segmentation": _of_operation("smart-mask", services),
        "image_utils": _of_operation("resize", services),
    }
    content = report | {"service": "api_gateway", "services": services | old}
    return _uncached(content)


def _of_operation(operation: str, services: Services) -> dict[str, Any]:
    """The state of the queue that the operation's default engine works on."""
    try:
        specs = engines.known(operation, test=False)
    except Error:
        specs = []
    queue = f"queue:{specs[0].queue}" if specs else ""
    if queue in services:
        return services[queue]
    return {"status": "unknown", "error": "no engine for it has been announced"}


def look() -> dict[str, Any]:
    """What `/api/health` says, looked at afresh."""
    redis_up = _ask(lambda: _redis_answers(settings.REDIS_URL))
    broker_up = _ask(lambda: _redis_answers(settings.BROKER_URL))
    storage_up = _ask(lambda: storage.store().healthy())
    services = _in_database()
    end = time.monotonic() + ASK_TIMEOUT_S
    services["redis"] = _answer(redis_up, end)
    services["broker"] = _answer(broker_up, end)
    services["storage"] = _answer(storage_up, end)
    return {"status": _overall(services), "services": services}


def _overall(services: Services) -> str:
    if services["database"]["status"] != "healthy":
        return "unhealthy"
    every = all(service["status"] == "healthy" for service in services.values())
    return "healthy" if every else "degraded"


def _in_database() -> Services:
    """The database itself, and what it knows of control and workers."""
    try:
        with _in_time():
            loops = control_signs.living()
            workers = _workers_by_queue()
    except Error:
        loops, workers = set(), {}
        services = {"database": _service(is_up=False)}
    else:
        services = {"database": _service(is_up=True)}
    services["control"] = _of_loops(control_signs.TOGETHER, loops)
    for name in control_signs.APART:
        services[name] = _of_loops([name], loops)
    for queue in settings.QUEUES:
        count = workers.get(queue, 0)
        may_be_none = queue in settings.SCALE_TO_ZERO_QUEUES
        service = _service(is_up=count > 0 or may_be_none)
        services[f"queue:{queue}"] = service | {"workers": count}
    return services


@contextmanager
def _in_time() -> Iterator[None]:
    """Cut the connection of a database that does not answer in time: one that hangs
    keeps no limit of its own, and hears no cancelling. Raises Error."""
    if connection.connection is not None and connection.connection.closed:
        connection.close()
    connection.ensure_connection()
    # Of our own: the connection's number may be another's by the time it is cut.
    line = socket.socket(fileno=os.dup(connection.connection.fileno()))
    watch = threading.Timer(ASK_TIMEOUT_S, _cut, [line])
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        line.close()


def _cut(line: socket.socket) -> None:
    with suppress(OSError):  # it has ended meanwhile
        line.shutdown(socket.SHUT_RDWR)


def _of_loops(needed: Collection[str], living: Collection[str]) -> dict[str, Any]:
    """A process of control: well only if all its loops turn."""
    missing = [name for name in needed if name not in living]
    if not missing:
        return _service(is_up=True)
    if len(missing) == len(needed):
        return _service(is_up=False)
    return {"status": "unhealthy", "error": f"no sign of {', '.join(missing)}"}


def _workers_by_queue() -> dict[str, int]:
    """Living workers whose engines are known, for before that requests are refused; and
    loaded, for before that they have no slots."""
    gone_after = timedelta(seconds=settings.WORKER_GONE_S)
    living = Worker.objects.filter(seen_at__gt=Now() - gone_after, slots__gt=0)
    counted = (
        living.exclude(specs_digest="").values("queue").annotate(count=Count("name"))
    )
    return {row["queue"]: row["count"] for row in counted}


def _service(*, is_up: bool) -> dict[str, Any]:
    if is_up:
        return {"status": "healthy"}
    return {"status": "unhealthy", "error": "it is not there"}


def _uncached(content: dict[str, Any]) -> HttpResponse:
    return JsonResponse(content, headers={"Cache-Control": "no-store"})


@cache
def _askers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3, thread_name_prefix="health")


def _ask(question: Callable[[], bool]) -> Future[bool]:
    return _askers().submit(question)


def _answer(question: Future[bool], end: float) -> dict[str, Any]:
    """The state that the answer tells of; none in time is a state of its own."""
    try:
        return _service(is_up=question.result(max(0.0, end - time.monotonic())))
    except (TimeoutError, redis.TimeoutError):
        question.cancel()
        return {"status": "timeout", "error": f"no answer within {ASK_TIMEOUT_S:g} s"}
    except Exception:  # whatever a client library makes of a service that is away
        return _service(is_up=False)


def _redis_answers(url: str) -> bool:
    client = _redis(url)
    return bool(client.ping())


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_timeout=1, socket_connect_timeout=1, max_connections=2
    )


class _Kept:
    """The newest report. One thread looks; the others take what is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report: dict[str, Any] | None = None
        self._until = 0.0

    def clear(self) -> None:
        self._report = None

    def get(self) -> dict[str, Any]:
        if self._report is not None and time.monotonic() < self._until:
            return self._report
        if self._report is not None and self._lock.locked():
            return self._report
        with self._lock:
            if self._report is None or time.monotonic() >= self._until:
                self._report = look()
                self._until = time.monotonic() + KEEP_S
            return self._report


_report = _Kept()


def forget() -> None:
    """Look afresh at the next request."""
    _report.clear()
