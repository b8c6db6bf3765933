"""The ASGI application: from a request's head to its answer's last byte."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from nijika import bridge, request_ids
from nijika.bridge import Outcome
from nijika.continuation import ROUTE, Finish, SendFile, Stream
from nijika.errors import Malformed, MethodNotAllowed, NijikaError, TooLarge
from nijika.front import answers
from nijika.front.answers import Answer, Send, StreamToClient
from nijika.front.bodies import Body, ClientGone, Reader, Receive, Spool, TooSlow
from nijika.front.lanes import Arrivals, Lane, LaneFull
from nijika.front.streams import Streams

logger = logging.getLogger(__name__)

LIVE = "/health/live"
DRAIN_S = 5.0
DRAIN_IDLE_S = 0.25
DRAIN_BYTES = 128_000_000
"""What is read and thrown away so that a refusal reaches a client that still sends."""

Scope = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the front must be told; `nijika.asgi` takes it from the settings.

    `looks_valid` gets the values of X-API-Key and Authorization; `signed_limit_bytes`
    the method, the path and the query, and says how large a body may be that comes
    without a key, None for any other address; it raises for one that is not good.
    `check` may block; a text from it refuses to start. `observe` is told of each answer
    but streams: the route's pattern, the method, the status and the seconds.
    """

    application: Callable[..., Iterable[bytes]]
    threads: int
    upload_threads: int
    link_threads: int
    waiting: int
    link_path: str
    spool: Spool
    body_limit_bytes: int
    multipart_limit_bytes: int
    link_limit_bytes: int
    bytes_per_s: float
    grace_s: float = 10.0
    looks_valid: Callable[[str | None, str | None], bool]
    signed_limit_bytes: Callable[[str, str, str], int | None] = lambda *_: None
    check: Callable[[], str | None] = field(default=lambda: None)
    observe: Callable[[str, str, int, float], None] = lambda *_: None


class Front:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._streams = Streams()

    def stop(self) -> None:
        """The server takes no more requests: end what would go on for long."""
        self._streams.stop()

    async def open(self) -> str | None:
        """Start the lanes, in the loop that they will work for. A text: why not."""
        options = self._options
        self._loop = asyncio.get_running_loop()
        self._arrivals = Arrivals(self._loop)
        lane = partial(Lane, waiting=options.waiting, arrivals=self._arrivals)
        self._ordinary = lane("ordinary", threads=options.threads)
        self._uploads = lane("uploads", threads=options.upload_threads)
        self._link = lane("link", threads=options.link_threads)
        self._disk = Lane("disk", threads=1, waiting=10_000, arrivals=self._arrivals)
        return await self._ordinary.run(options.check)

    def close(self) -> None:
        """Let the lanes end once they have done what is queued."""
        for lane in (self._ordinary, self._uploads, self._link, self._disk):
            lane.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = _Head(scope)
        answer = Answer(
            send,
            path=scope["path"],
            head=scope["method"] == "HEAD",
            request_id=request_ids.choose(head.text(b"x-request-id")),
            origin=head.text(b"origin"),
        )
        began = time.monotonic()  # the loop's own clock counts milliseconds
        try:
            if scope["path"] == LIVE and not head.is_preflight:
                await _say_alive(scope["method"], answer)
            else:
                await self._serve(scope, head, receive, answer)
        except ClientGone:
            return
        except Exception as error:
            if answer.started:
                raise  # the server cuts the connection: half an answer is no answer
            await answer.failure(error, closing=False)
        if not answer.is_stream:
            seconds = time.monotonic() - began
            self._options.observe(answer.route, scope["method"], answer.status, seconds)

    async def _serve(
        self, scope: Scope, head: _Head, receive: Receive, answer: Answer
    ) -> None:
        lane = self._link if scope["path"] == self._options.link_path else None
        body = Body(spool=self._options.spool)
        if head.has_body:
            signed_bytes, refusal = self._signed_limit(scope)
            reader = self._reader(
                head, receive, on_link=lane is not None, signed_bytes=signed_bytes
            )
            try:
                if refusal is not None:
                    raise refusal
                if (lane or self._ordinary).is_full:
                    raise LaneFull()
                body = await reader.read()
            except NijikaError as error:
                await _refuse(error, reader, head, answer)
                return
            except ClientGone:
                # Who has closed only their own half of the line still reads.
                cut = Malformed("The body is cut short.")
                await answer.failure(cut, closing=True)
                return
        lane = lane or (self._uploads if body.is_large else self._ordinary)
        try:
            await self._ask(scope, receive, answer, body, lane)
        finally:
            body.close()

    def _signed_limit(self, scope: Scope) -> tuple[int | None, NijikaError | None]:
        """What the address itself says of the body's size, or why it is refused."""
        query = scope["query_string"].decode("latin-1")
        try:
            limit = self._options.signed_limit_bytes
            return limit(scope["method"], scope["path"], query), None
        except NijikaError as error:
            return None, error

    def _reader(
        self,
        head: _Head,
        receive: Receive,
        *,
        on_link: bool,
        signed_bytes: int | None,
    ) -> Reader:
        options = self._options
        if signed_bytes is not None:
            limit_bytes = signed_bytes
        elif on_link:
            limit_bytes = options.link_limit_bytes
        elif head.is_multipart:
            limit_bytes = options.multipart_limit_bytes
        else:
            limit_bytes = options.body_limit_bytes
        return Reader(
            receive=receive,
            spool=options.spool,
            disk=self._disk,
            announced=head.content_length,
            limit_bytes=limit_bytes,
            # A worker's token is the link's own business, and so are small limits.
            looks_valid=lambda: (
                on_link
                or signed_bytes is not None
                or head.looks_valid(options.looks_valid)
            ),
            bytes_per_s=options.bytes_per_s,
            grace_s=options.grace_s,
        )

    async def _ask(
        self, scope: Scope, receive: Receive, answer: Answer, body: Body, lane: Lane
    ) -> None:
        environ = bridge.environ_of(
            scope, body.file, body.size_bytes, answer.request_id
        )
        work = partial(bridge.run, self._options.application, environ)
        outcome = await self._on_thread(work, receive, answer, lane)
        answer.route = environ.get(ROUTE, "")
        if isinstance(outcome.wish, Finish):
            body.close()  # it may be long until the end, and bodies are large
            del work
            outcome = await self._finish(
                outcome.wish, outcome, environ, receive, answer
            )
        if isinstance(outcome.wish, SendFile):
            await answer.file(outcome.wish.path, outcome, self._disk)
        elif isinstance(outcome.wish, Stream):
            body.close()
            answer.is_stream = True
            await self._stream(outcome.wish, outcome, receive, answer)
        elif outcome.body is None:
            await answer.chunk(b"", more=False)
        else:
            await answer.whole(outcome.status, outcome.headers, outcome.body)

    async def _stream(
        self, wish: Stream, outcome: Outcome, receive: Receive, answer: Answer
    ) -> None:
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await self._streams.send(wish.feed, outcome, answer, leaving)
        finally:
            leaving.cancel()

    async def _on_thread(
        self,
        work: Callable[[Any], Outcome],
        receive: Receive,
        answer: Answer,
        lane: Lane,
        *,
        admitted: bool = False,
        placeholder: bridge.Headers | None = None,
    ) -> Outcome:
        stream = _Watched(answer, self._loop, receive, placeholder or [])
        try:
            return await lane.run(partial(work, stream), admitted=admitted)
        finally:
            stream.unwatch()

    async def _finish(
        self,
        wish: Finish,
        before: Outcome,
        environ: bridge.Environ,
        receive: Receive,
        answer: Answer,
    ) -> Outcome:
        """What came of a wish, with the headers that middleware put on `before`."""
        try:
            result = await self._awaited(wish, receive)
            if wish.on_thread:
                make = partial(wish.render, result)
                outcome = await self._on_thread(
                    partial(bridge.respond, make, environ),
                    receive,
                    answer,
                    self._ordinary,
                    admitted=True,
                    placeholder=before.headers,
                )
            else:
                outcome = answers.outcome_of(wish.render(result))
        except ClientGone:
            raise
        except Exception as error:
            if answer.started:
                raise
            outcome = answers.outcome_of(answers.problem_of(error, answer.request_id))
        headers = answers.merged(outcome.headers, before.headers)
        return replace(outcome, headers=headers)

    async def _awaited(self, wish: Finish, receive: Receive) -> Any:
        """The wish's result. Raises ClientGone for one that nobody waits for now."""
        if wish.on_gone is None:
            return await answers.result_of(wish, self._arrivals)
        arriving = asyncio.ensure_future(answers.result_of(wish, self._arrivals))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({arriving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if arriving.done():
                return arriving.result()
            wish.on_gone()
            raise ClientGone()
        finally:
            leaving.cancel()
            arriving.cancel()


class _Head:
    """A request's headers, as far as the front looks at them."""

    def __init__(self, scope: Scope) -> None:
        self._method: str = scope["method"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])

    def text(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def content_length(self) -> int | None:
        length = self._headers.get(b"content-length", b"")
        return int(length) if length.isdigit() else None

    @property
    def has_body(self) -> bool:
        return bool(self.content_length) or b"transfer-encoding" in self._headers

    @property
    def is_multipart(self) -> bool:
        kind = self._headers.get(b"content-type", b"")
        return kind.lower().startswith(b"multipart/")

    @property
    def is_preflight(self) -> bool:
        asks = b"access-control-request-method" in self._headers
        return asks and self._method == "OPTIONS"

    @property
    def expects_continue(self) -> bool:
        return b"expect" in self._headers

    def looks_valid(self, look: Callable[[str | None, str | None], bool]) -> bool:
        return look(self.text(b"x-api-key"), self.text(b"authorization"))


class _Watched(StreamToClient):
    """A stream that learns when its client goes away; a short answer never looks."""

    def __init__(
        self,
        answer: Answer,
        loop: asyncio.AbstractEventLoop,
        receive: Receive,
        placeholder: bridge.Headers,
    ) -> None:
        super().__init__(answer, loop)
        self._receive = receive
        self._placeholder = placeholder
        self._watcher: asyncio.Task[None] | None = None

    def start(self, status: int, headers: bridge.Headers) -> None:
        self._loop.call_soon_threadsafe(self._watch)
        super().start(status, answers.merged(headers, self._placeholder))

    def unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    def _watch(self) -> None:
        self._watcher = self._loop.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        await _gone(self._receive)
        self.gone = True


async def _gone(receive: Receive) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


class NotForLiveness(MethodNotAllowed):
    """This address does not answer to that method."""

    headers = {"Allow": "GET, HEAD"}


async def _say_alive(method: str, answer: Answer) -> None:
    if method not in ("GET", "HEAD"):
        raise NotForLiveness()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await answer.own(200, headers, b'{"status": "alive"}')


async def _refuse(
    error: NijikaError, reader: Reader, head: _Head, answer: Answer
) -> None:
    """Answer before the body is in.

    Many clients read nothing before they have sent everything, and closing under them
    destroys the answer: so what keeps coming is read first and thrown away, for a
    while. A client that waits (for `100 Continue`, say) is answered at once. After a
    413 the connection closes, however much was read.
    """
    waits = head.expects_continue and not reader.started
    if not waits and not isinstance(error, TooSlow):
        try:
            async with asyncio.timeout(DRAIN_S):
                await _drain(reader)
        except TimeoutError:
            logger.info("request %s: still sending, cut", answer.request_id)
    closing = not reader.complete or isinstance(error, TooLarge)
    await answer.failure(error, closing=closing)


async def _drain(reader: Reader) -> None:
    drained = 0
    while not reader.complete and drained < DRAIN_BYTES:
        try:
            async with asyncio.timeout(DRAIN_IDLE_S):
                event = await reader.receive()
        except TimeoutError:
            return
        if event["type"] != "http.request":
            raise ClientGone()
        drained += len(event.get("body", b""))
        reader.complete = not event.get("more_body", False)
