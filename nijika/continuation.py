"""What a view may ask of the front, so that no thread waits for it. A leaf module.

A view is plain synchronous Django. Where its answer depends on something that ends
later, or is a stored file, it returns through one of the helpers here. Under the front
they return a placeholder at once and the front goes on without a thread; anywhere else
(another WSGI server, Django's test client) they do the same work on the spot.

The headers of the placeholder count: middleware sees it and adds its own. The final
answer's headers win over them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)

FRONT = "nijika.front"
"""Is in `request.META` where the front runs the view."""

ROUTE = "nijika.route"
CONTINUATION = "nijika.continuation"
"""Where in `request.META` a view leaves its wish."""

TIMEOUT_S = 60.0
"""How long an answer waits for a future. The work itself goes on."""

T = TypeVar("T")


class Plain(NamedTuple):
    """An answer made in the event loop of what it needs only, where each costs.

    Names and values of its headers come from us, none from a client: nobody looks for
    line breaks in them.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def response(self) -> HttpResponse:
        return HttpResponse(self.body, status=self.status, headers=self.headers)


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
    render: Callable[[Any], HttpResponseBase | Plain]
    timeout_s: float = TIMEOUT_S
    on_gone: Callable[[], object] | None = None
    on_thread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFile:
    """Answer with the bytes of this file and the headers of the placeholder."""

    path: Path


class Feed(Protocol):
    """What a streamed answer says, as it comes about.

    Whoever serves it calls these from one thread, the front from its event loop: they
    compute, they never wait and never ask the database.
    """

    idle_s: float
    """After so much silence the client is told what `idle` says."""

    def open(self, wake: Callable[[], None]) -> None:
        """From now on `wake` is called, from any thread, when there may be more to
        take. Raises any NijikaError, which is then the answer."""

    def take(self) -> bytes | None:
        """What has come about since; b"" for nothing, None at the end."""

    def idle(self) -> bytes: ...

    def close(self) -> None:
        """Nobody reads any more. Called after every `open` that raised nothing; a
        repeat changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Answer with what this feed says, under the headers of the placeholder."""

    feed: Feed


Continuation = Finish | SendFile | Stream


def finish(
    request: HttpRequest,
    future: Future[T],
    render: Callable[[T], HttpResponse | Plain],
    *,
    timeout_s: float = TIMEOUT_S,
    on_gone: Callable[[], object] | None = None,
) -> HttpResponse:
    """Answer with `render(result)` when the future ends; raises what it raised."""
    if not request.META.get(FRONT):
        answer = render(future.result(timeout_s))
        return answer.response() if isinstance(answer, Plain) else answer
    request.META[CONTINUATION] = Finish(
        future=future, render=render, timeout_s=timeout_s, on_gone=on_gone
    )
    return _placeholder()


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
    return _placeholder()


def _placeholder() -> HttpResponse:
    # Its type counts for nothing, but to find out the usual one takes as long as the
    # rest.
    return HttpResponse(content_type="text/plain")


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


def stream(request: HttpRequest, feed: Feed, *, content_type: str) -> HttpResponseBase:
    """Answer with what the feed says. Further headers may be set on what is returned.

    Without the front it takes a thread for as long as it lasts.
    """
    if request.META.get(FRONT):
        request.META[CONTINUATION] = Stream(feed=feed)
        return HttpResponse(content_type=content_type)
    return StreamingHttpResponse(_Pieces(feed), content_type=content_type)


class _Pieces:
    """A feed for a server that knows only iterables."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._woken = threading.Event()
        feed.open(self._woken.set)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while True:
            self._woken.clear()
            piece = self._feed.take()
            if piece is None:
                raise StopIteration
            if piece:
                return piece
            if not self._woken.wait(self._feed.idle_s):
                return self._feed.idle()

    def close(self) -> None:
        self._feed.close()
