"""A small WSGI application behind the real front on its real port, for its tests.

`python -m tests.nijika.served` serves it on NIJIKA_PORT. It runs under
`wsgiref.validate`, which complains of any breach of PEP 3333 by the bridge; the
complaint is a 500 and fails the test that met it.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.validate import validator

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.http import (  # noqa: E402
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)

from nijika import web  # noqa: E402
from nijika.continuation import (  # noqa: E402
    CONTINUATION,
    Finish,
    Plain,
    SendFile,
    Stream,
)
from nijika.errors import Conflict  # noqa: E402
from nijika.front import connections  # noqa: E402
from nijika.front.bodies import Spool  # noqa: E402
from nijika.front.server import Front, Options  # noqa: E402

SPOOL = Spool(
    budget_bytes=int(os.environ.get("TEST_SPOOL_BYTES", 20_000_000)),
    memory_bytes=4_000_000,
)
closed: list[str] = []
waits: list[str] = []
gone: list[str] = []
echoed: list[int] = []
feeds: list[str] = []
Environ = dict[str, Any]


class Chunks:
    """A streamed answer that remembers how far it came and that it was closed."""

    def __init__(self, count: int, size_bytes: int) -> None:
        self._left, self._chunk = count, b"x" * size_bytes

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._left == 0:
            raise StopIteration
        self._left -= 1
        return self._chunk

    def close(self) -> None:
        closed.append(f"{self._left} left")


def echo(environ: Environ) -> Any:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    rest = environ["wsgi.input"].read(1)
    echoed.append(len(body))
    plain = {k: v for k, v in environ.items() if isinstance(v, str)}
    digest = hashlib.sha256(body).hexdigest()
    return {
        "size": len(body),
        "sha256": digest,
        "rest": len(rest),
        "environ": plain,
        "thread": threading.current_thread().name,
    }


def stream(environ: Environ) -> Any:
    query = parse_qs(environ["QUERY_STRING"])
    return Chunks(int(query["n"][0]), int(query["size"][0]))


def slow(environ: Environ) -> Any:
    time.sleep(float(environ["QUERY_STRING"]))
    return {"slept": environ["QUERY_STRING"]}


def finish(environ: Environ) -> Any:
    """The future's result, or a Conflict, or a bug; after the seconds asked for."""
    what, _, seconds = environ["QUERY_STRING"].partition("=")
    future: Future[str] = Future()
    threading.Timer(float(seconds), _end, [future, what]).start()
    environ[CONTINUATION] = Finish(future=future, render=_render)
    return b""


def _end(future: Future[str], what: str) -> None:
    if what == "conflict":
        future.set_exception(Conflict("not now"))
    else:
        future.set_result(what)


def _render(what: str) -> HttpResponse | Plain:
    if what == "bug":
        raise KeyError("a bug in render")
    if what == "plain":
        headers = {"Content-Type": "text/plain", "X-Credits-Charged": "1.0000"}
        return Plain(202, headers, b"finished")
    return JsonResponse({"finished": what}, status=202, headers={"Location": "/there"})


def resume(environ: Environ) -> Any:
    """As `finish`, with an answer made on a thread: text, a file, a stream, a bug."""
    what, _, seconds = environ["QUERY_STRING"].partition("=")
    future: Future[str] = Future()
    threading.Timer(float(seconds), future.set_result, [what]).start()
    environ[CONTINUATION] = Finish(
        future=future, render=partial(_resumed, environ), on_thread=True
    )
    return b""


def _resumed(environ: Environ, what: str) -> HttpResponseBase:
    if what == "bug":
        raise KeyError("a bug in render")
    if what == "conflict":
        raise Conflict("not now")
    if what == "stream":
        return StreamingHttpResponse(Chunks(50, 200_000), content_type="a/b")
    if what == "file":
        environ[CONTINUATION] = SendFile(path=Path(__file__))
        return HttpResponse(content_type="text/x-python")
    return JsonResponse({"resumed": what, "thread": threading.current_thread().name})


def wait(environ: Environ) -> Any:
    """A future that never ends, for a client that may go away, for some seconds."""
    waits.append("one")
    future: Future[str] = Future()
    environ[CONTINUATION] = Finish(
        future=future,
        render=_render,
        timeout_s=float(environ["QUERY_STRING"]),
        on_gone=partial(gone.append, "gone"),
    )
    return b""


class Ticks:
    """A feed that says "tick" so often, at such intervals, and "idle" after 0.1 s."""

    idle_s = 0.1

    def __init__(self, count: int, every_s: float) -> None:
        self._left, self._every_s = count, every_s
        self._ready = 0
        self._wake: Callable[[], None] = lambda: None

    def open(self, wake: Callable[[], None]) -> None:
        if self._left < 0:
            raise Conflict("not now")
        feeds.append("opened")
        self._wake = wake
        if self._every_s < 60:
            threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        for _ in range(self._left):
            time.sleep(self._every_s)
            self._ready += 1
            self._wake()

    def take(self) -> bytes | None:
        if self._ready:
            self._ready -= 1
            self._left -= 1
            return b"tick\n"
        return b"" if self._left else None

    def idle(self) -> bytes:
        return b"idle\n"

    def close(self) -> None:
        feeds.append("closed")


def feed(environ: Environ) -> Any:
    count, every_s = environ["QUERY_STRING"].split("x")
    environ[CONTINUATION] = Stream(feed=Ticks(int(count), float(every_s)))
    return b""


def file(environ: Environ) -> Any:
    environ[CONTINUATION] = SendFile(path=Path(environ["QUERY_STRING"]))
    return b""


def state(environ: Environ) -> Any:
    return {
        "closed": closed,
        "waits": len(waits),
        "gone": len(gone),
        "opened": feeds.count("opened"),
        "closed_feeds": feeds.count("closed"),
        "echoed": len(echoed),
        "spooled": SPOOL.used_bytes,
        "held": SPOOL.held_bytes,
        "threads": threading.active_count(),
    }


def fail(environ: Environ) -> Any:
    raise RuntimeError("a bug in the view")


VIEWS: dict[str, Callable[[Environ], Any]] = {
    "/api/echo": echo,
    "/api/stream": stream,
    "/api/slow": slow,
    "/api/finish": finish,
    "/api/resume": resume,
    "/api/wait": wait,
    "/api/feed": feed,
    "/api/file": file,
    "/api/fail": fail,
    "/state": state,
    "/internal/link": echo,
}


def application(environ: Environ, start_response: Callable[..., Any]) -> Any:
    answer = VIEWS.get(environ["PATH_INFO"], echo)(environ)
    headers = [("Content-Type", "application/json"), ("X-Middleware", "was here")]
    start_response("200 OK", headers)
    if isinstance(answer, Chunks):
        return answer
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    return [answer if isinstance(answer, bytes) else json.dumps(answer).encode()]


def looks_valid(x_api_key: str | None, authorization: str | None) -> bool:
    return x_api_key == "good"


def options() -> Options:
    return Options(
        application=validator(application),
        threads=2,
        upload_threads=1,
        link_threads=1,
        waiting=4,
        link_path="/internal/link",
        spool=SPOOL,
        body_limit_bytes=8_000_000,
        multipart_limit_bytes=6_000_000,
        link_limit_bytes=2_000_000,
        bytes_per_s=2_000,
        grace_s=1.0,
        looks_valid=looks_valid,
    )


if __name__ == "__main__":
    import uvloop

    idle_s, capacity = connections.IDLE_S, connections.OPEN_CONNECTIONS
    connections.IDLE_S = float(os.environ.get("TEST_IDLE_S", idle_s))
    connections.OPEN_CONNECTIONS = int(os.environ.get("TEST_CAPACITY", capacity))
    uvloop.run(web.serve(Front(options())))
