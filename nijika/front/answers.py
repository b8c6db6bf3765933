"""Answers on their way to the client, and the continuations that lead to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from django.http import HttpResponse, HttpResponseBase

from nijika import cors, problems, request_ids
from nijika.bridge import Headers, Outcome
from nijika.continuation import Finish, Plain
from nijika.errors import NotFound, Unavailable
from nijika.front.bodies import ClientGone, Receive
from nijika.front.lanes import Arrivals, Lane

FILE_CHUNK_BYTES = 256_000
SLOW_READER_S = 60.0
HAVE_NO_BODY = (204, 304)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Answer:
    """One request's answer, sent once. `path` decides on CORS, `head` on a body."""

    def __init__(
        self,
        send: Send,
        *,
        path: str,
        head: bool,
        request_id: str,
        origin: str | None = None,
    ) -> None:
        self._send = send
        self.head = head
        self._path, self._origin = path, origin
        self.request_id = request_id
        self.started = False
        self.is_stream = False
        self.status = 0
        self.route = ""
        """The pattern of the address, as far as anybody has found one."""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an answer whose length is known."""
        if status not in HAVE_NO_BODY:
            headers = _with_length(headers, len(body))
        await self.start(status, headers)
        await self.chunk(body, more=False)

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        self.status = status
        message = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(message)

    async def chunk(self, body: bytes, *, more: bool) -> None:
        if self.head:
            body = b""
        message = {"type": "http.response.body", "body": body, "more_body": more}
        await self._send(message)

    async def failure(self, error: BaseException, *, closing: bool) -> None:
        """Send the problem of `error`; with `closing`, the connection's last answer."""
        response = problems.from_exception(error, self.request_id)
        headers = _encoded(response)
        if closing:
            headers.append((b"connection", b"close"))
        await self.own(response.status_code, headers, response.content)

    async def own(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an answer of the front itself, with what Django's have from its
        middleware."""
        headers.append((b"x-request-id", self.request_id.encode()))
        headers.append((b"x-content-type-options", b"nosniff"))
        marks = cors.headers_for(self._path, self._origin)
        headers += [(k.lower().encode(), v.encode()) for k, v in marks.items()]
        await self.whole(status, headers, body)

    async def file(self, path: Path, outcome: Outcome, disk: Lane) -> None:
        """Send a stored file under the outcome's headers. Raises NotFound if it is
        gone."""
        try:
            size_bytes = path.stat().st_size
        except OSError:
            raise NotFound() from None
        headers = _with_length(outcome.headers, size_bytes)
        await self.start(outcome.status, headers)
        if self.head or size_bytes == 0:
            await self.chunk(b"", more=False)
        else:
            await self._file_in_chunks(path, disk)

    async def _file_in_chunks(self, path: Path, disk: Lane) -> None:
        with path.open("rb") as file:
            while chunk := await disk.run(lambda: file.read(FILE_CHUNK_BYTES)):
                await self.patiently(chunk)
        await self.chunk(b"", more=False)

    async def patiently(self, chunk: bytes) -> None:
        """One of several. Raises ClientGone for a client that has stopped reading."""
        try:
            async with asyncio.timeout(SLOW_READER_S):
                await self.chunk(chunk, more=True)
        except TimeoutError:
            raise ClientGone() from None


class StreamToClient:
    """An answer that the lane's thread writes piece by piece."""

    def __init__(self, answer: Answer, loop: asyncio.AbstractEventLoop) -> None:
        self._answer = answer
        self._loop = loop
        self.gone = False

    def start(self, status: int, headers: Headers) -> None:
        self._wait(self._answer.start(status, headers))

    def write(self, chunk: bytes) -> None:
        if self.gone:
            raise ClientGone()
        self._wait(self._answer.chunk(chunk, more=True))

    def _wait(self, sending: Any) -> None:
        future = asyncio.run_coroutine_threadsafe(sending, self._loop)
        try:
            future.result(SLOW_READER_S)
        except TimeoutError:
            future.cancel()
            raise ClientGone() from None


async def result_of(wish: Finish, arrivals: Arrivals) -> Any:
    """The result of a wish's future. Raises what it raised, and Unavailable after the
    wish's time."""
    loop = asyncio.get_running_loop()
    arrival: asyncio.Future[Any] = loop.create_future()
    wish.future.add_done_callback(lambda future: _arrive(future, arrival, arrivals))
    too_late = loop.call_later(wish.timeout_s, _give_up, arrival)
    try:
        return await arrival
    finally:
        too_late.cancel()


async def refuse(
    error: Exception, scope: dict[str, Any], receive: Receive, send: Send
) -> None:
    """The ASGI application for what is no request: a connection's last answer."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    answer = Answer(
        send,
        path=scope["path"],
        head=scope["method"] == "HEAD",
        request_id=request_ids.choose(_text(headers.get(b"x-request-id"))),
        origin=_text(headers.get(b"origin")),
    )
    await answer.failure(error, closing=True)


def problem_of(error: BaseException, request_id: str) -> HttpResponse:
    return problems.from_exception(error, request_id)


def outcome_of(response: HttpResponseBase | Plain) -> Outcome:
    """A response that was made in the event loop."""
    if isinstance(response, Plain):
        headers = [_pair(name, value) for name, value in response.headers.items()]
        return Outcome(status=response.status, headers=headers, body=response.body)
    assert isinstance(response, HttpResponse), "only threads may stream"
    return Outcome(
        status=response.status_code, headers=_encoded(response), body=response.content
    )


def merged(headers: Headers, placeholder: Headers) -> Headers:
    """An answer's headers, and those that middleware put on its placeholder."""
    own = {name for name, _ in headers} | {b"content-type", b"content-length"}
    return headers + [(name, value) for name, value in placeholder if name not in own]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _arrive(
    future: Future[Any], arrival: asyncio.Future[Any], arrivals: Arrivals
) -> None:
    if future.cancelled():
        arrivals.post(arrival, None, Unavailable())
    elif (error := future.exception()) is not None:
        arrivals.post(arrival, None, error)
    else:
        arrivals.post(arrival, future.result(), None)


def _give_up(arrival: asyncio.Future[Any]) -> None:
    if not arrival.done():
        arrival.set_exception(Unavailable())


def _encoded(response: HttpResponse) -> Headers:
    headers = [_pair(name, value) for name, value in response.items()]
    for cookie in response.cookies.values():
        headers.append((b"set-cookie", cookie.output(header="").strip().encode()))
    return headers


def _pair(name: str, value: str) -> tuple[bytes, bytes]:
    return name.lower().encode("latin-1"), value.encode("latin-1")


def _with_length(headers: Headers, size_bytes: int) -> Headers:
    others = [(name, value) for name, value in headers if name != b"content-length"]
    return [*others, (b"content-length", b"%d" % size_bytes)]
