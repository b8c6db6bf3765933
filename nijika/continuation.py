"""What a view may ask of the front, so that no thread waits for it. A leaf module.

A view is plain synchronous Django. Where its answer depends on something that ends
later, or is a stored file, it returns through one of the helpers here. Under the front
they return a placeholder at once and the front goes on without a thread; anywhere else
(another WSGI server, Django's test client) they do the same work on the spot.

The headers of the placeholder count: middleware sees it and adds its own. The final
answer's headers win over them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase

FRONT = "nijika.front"
"""Is in `request.META` where the front runs the view."""

CONTINUATION = "nijika.continuation"
"""Where in `request.META` a view leaves its wish."""

TIMEOUT_S = 60.0
"""How long an answer waits for a future. The work itself goes on."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Answer with `render(future.result())` once it is there, within `timeout_s`.

    `render` runs in the front's event loop: it computes, it never waits and never asks
    the database. With `on_thread` it runs on a thread of the lane, as a view does, and
    may do what a view may, `send_file` included. It and the future may raise any
    NijikaError. `on_gone` is called, in the event loop, for a client that goes away
    meanwhile; where there is none, nobody looks for that.
    """

    future: Future[Any]
    render: Callable[[Any], HttpResponseBase]
    timeout_s: float = TIMEOUT_S
    on_gone: Callable[[], object] | None = None
    on_thread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFile:
    """Answer with the bytes of this file and the headers of the placeholder."""

    path: Path


Continuation = Finish | SendFile


def finish(
    request: HttpRequest,
    future: Future[T],
    render: Callable[[T], HttpResponse],
    *,
    timeout_s: float = TIMEOUT_S,
    on_gone: Callable[[], object] | None = None,
) -> HttpResponse:
    """Answer with `render(result)` when the future ends; raises what it raised."""
    if not request.META.get(FRONT):
        return render(future.result(timeout_s))
    request.META[CONTINUATION] = Finish(
        future=future, render=render, timeout_s=timeout_s, on_gone=on_gone
    )
    return HttpResponse()


def finish_on_thread(
    request: HttpRequest,
    future: Future[T],
    render: Callable[[T], HttpResponseBase],
    *,
    timeout_s: float = TIMEOUT_S,
    on_gone: Callable[[], object] | None = None,
) -> HttpResponseBase:
    """As `finish`, but `render` may wait, ask the database and send files.

    It should hold on to no more of the request than its `META`: bodies are large.
    """
    if not request.META.get(FRONT):
        return render(future.result(timeout_s))
    request.META[CONTINUATION] = Finish(
        future=future,
        render=render,
        timeout_s=timeout_s,
        on_gone=on_gone,
        on_thread=True,
    )
    return HttpResponse()


def send_file(
    request: HttpRequest, path: Path, *, content_type: str
) -> HttpResponseBase:
    """Answer with a stored file. Further headers may be set on what is returned.

    Raises FileNotFoundError if it is not there now; gone later, the answer is 404.
    """
    size_bytes = path.stat().st_size
    response: HttpResponseBase
    if request.META.get(FRONT):
        request.META[CONTINUATION] = SendFile(path=path)
        response = HttpResponse(content_type=content_type)
    else:
        response = FileResponse(path.open("rb"), content_type=content_type)
        del response["Content-Disposition"]
    response["Content-Length"] = str(size_bytes)
    return response
