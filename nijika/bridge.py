"""The bridge from ASGI to WSGI: one request's environ, one application's answer.

It keeps PEP 3333 (`wsgiref.validate` finds nothing) and knows nothing of Django but
where a view may have left a continuation, and how to read a response that came of one.
`run` is called on a thread of a lane and does everything that the application may do
there, `close()` on its answer included.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Protocol
from urllib.parse import unquote_to_bytes

from django.http import HttpResponseBase

from nijika import continuation, raw_paths, request_ids

READ_AHEAD_BYTES = 4_000_000
"""So much of a streamed answer is collected before a thread waits for its client."""

Environ = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the application answered. Names of headers are in lower case.

    `body` is None where the answer was streamed and is already on its way.
    """

    status: int
    headers: Headers
    body: bytes | None
    wish: continuation.Continuation | None = None


class Stream(Protocol):
    """A client that takes an answer piece by piece. For the lane's thread."""

    def start(self, status: int, headers: Headers) -> None: ...

    def write(self, chunk: bytes) -> None:
        """Returns when there is room for more. Raises where nobody reads."""


def environ_of(
    scope: dict[str, Any], body: IO[bytes], size_bytes: int, request_id: str
) -> Environ:
    """The WSGI environ of an ASGI request whose body is wholly in `body`."""
    server, port = scope.get("server") or ("localhost", 80)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": _path(scope),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": str(port or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        continuation.FRONT: True,
        request_ids.KEY: request_id,
    }
    if raw := scope.get("raw_path"):
        environ[raw_paths.KEY] = raw.decode("latin-1")
    _add_headers(environ, scope["headers"])
    if size_bytes or "CONTENT_LENGTH" in environ:
        environ["CONTENT_LENGTH"] = str(size_bytes)  # known now, chunked or not
    return environ


def _path(scope: dict[str, Any]) -> str:
    raw = scope.get("raw_path")
    path = unquote_to_bytes(raw) if raw else scope["path"].encode()
    return path.decode("latin-1")


def _add_headers(environ: Environ, headers: Iterable[tuple[bytes, bytes]]) -> None:
    for raw_name, raw_value in headers:
        # `X_Api_Key` would arrive under the name of `X-Api-Key`: one of them is forged.
        if b"_" in raw_name:
            continue
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        value = raw_value.decode("latin-1")
        if name not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = f"HTTP_{name}"
        if name in environ:
            separator = "; " if name == "HTTP_COOKIE" else ","
            value = f"{environ[name]}{separator}{value}"
        environ[name] = value


def run(
    application: Callable[..., Iterable[bytes]], environ: Environ, stream: Stream
) -> Outcome:
    """Call the application. A long answer goes to `stream`, others are returned."""
    answer = _Answer()
    chunks = application(environ, answer.start)
    try:
        return _collect(answer, chunks, environ, stream)
    finally:
        if close := getattr(chunks, "close", None):
            close()


def respond(
    make: Callable[[], HttpResponseBase | continuation.Plain],
    environ: Environ,
    stream: Stream,
) -> Outcome:
    """The answer that `make` gives, as if a WSGI application had given it."""
    environ.pop(continuation.CONTINUATION, None)

    def application(environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        answer = make()
        if isinstance(answer, continuation.Plain):
            answer = answer.response()
        start(f"{answer.status_code} {answer.reason_phrase}", _listed(answer))
        return answer

    return run(application, environ, stream)


def _listed(answer: HttpResponseBase) -> list[tuple[str, str]]:
    cookies = [
        ("Set-Cookie", one.output(header="").strip()) for one in answer.cookies.values()
    ]
    return [*answer.items(), *cookies]


def _collect(
    answer: _Answer, chunks: Iterable[bytes], environ: Environ, stream: Stream
) -> Outcome:
    iterator = iter(chunks)
    written, complete = _read_ahead(answer, iterator)
    status, headers = answer.head()
    wish = environ.get(continuation.CONTINUATION)
    if complete:
        body = b"".join(written)
        return Outcome(status=status, headers=headers, body=body, wish=wish)
    stream.start(status, headers)
    for chunk in written:
        stream.write(chunk)
    for chunk in iterator:
        if chunk:
            stream.write(chunk)
    return Outcome(status=status, headers=headers, body=None)


def _read_ahead(answer: _Answer, chunks: Iterator[bytes]) -> tuple[list[bytes], bool]:
    collected: list[bytes] = []
    size_bytes = 0
    for chunk in chunks:
        collected.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > READ_AHEAD_BYTES:
            return answer.written + collected, False
    return answer.written + collected, True


class _Answer:
    """What the application said through `start_response`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def start(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
    ) -> Callable[[bytes], None]:
        if self._status and exc_info is None:
            raise AssertionError("start_response was called twice")
        self._status, self._headers = status, headers
        return self.written.append

    def head(self) -> tuple[int, Headers]:
        if not self._status:
            raise AssertionError("start_response was not called")
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self._headers
        ]
        return int(self._status[:3]), headers
