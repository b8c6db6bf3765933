"""HTTP/1.1 on a connection: uvicorn's, for a port that is open to strangers.

uvicorn speaks HTTP; here is what it leaves to a proxy in front of it: bounds for a head
and for the requests and connections at once, patience, and refusals that look like any
answer of ours. What it understands differently is beside it: headers behind a body are
none of the request, and who offers another protocol is answered by this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from nijika.errors import (
    AddressTooLong,
    HeadTooLarge,
    Malformed,
    NijikaError,
    Unavailable,
)
from nijika.front.answers import refuse

ADDRESS_LIMIT_BYTES = 32_000
HEAD_LIMIT_BYTES = 64_000
HEADER_BYTES = 32
"""Counted for each header beside its text, as HTTP/2 does: that is about its memory."""
PIPELINED = 32
"""So many requests of one connection may wait for the answers to those before them."""
BACKLOG = 1024
OPEN_CONNECTIONS = 4096
"""An idle one costs a few kilobytes."""
IDLE_S = 60.0
"""For a head to come, or for the next one, or for any byte of an answer to be read."""

LINGER_S = 1.0
"""For a refused client to stop sending."""

FRAMING = (b"content-length", b"transfer-encoding")


class TooManyAtOnce(Unavailable):
    """Too many connections, or too many requests on one of them."""


class Server(uvicorn.Server):
    """Serves an ASGI application until it is stopped; signals are left alone."""

    def __init__(self, application: Any) -> None:
        config = uvicorn.Config(
            application,
            interface="asgi3",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Hear nobody new; who is being answered gets the answer."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Keep the date by the second: ten looks in each cost as much as all else that
        an idle server does."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Connection(HttpToolsProtocol):
    """One client, and its requests one after the other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""
        self.headers = []
        self._unsent = math.inf
        self._head_bytes = self._unheard_bytes = 0
        self._in_head = True
        self._deaf = False
        """What comes is not looked at any more."""
        self._offered: list[tuple[bytes, bytes]] = []
        """What a request that offers another protocol says of its body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > OPEN_CONNECTIONS:
            self._refuse(TooManyAtOnce())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unheard_bytes += len(data)
        try:
            self._feed(data)
            if self._unheard_bytes > HEAD_LIMIT_BYTES:
                raise HeadTooLarge
        except httptools.HttpParserError as error:
            known = error.__context__
            wrong = known if isinstance(known, NijikaError) else None
            self._refuse(wrong or Malformed(f"This is no request: {error}."))
        except NijikaError as error:
            self._refuse(error)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether to stay open: whoever closes their half in a body is told so."""
        cycle = self.cycle
        cut = cycle is not None and cycle.more_body and not cycle.response_started
        if cut and not self._deaf:
            self._refuse(Malformed("The body is cut short."))
        return cut

    # What the parser calls.

    def on_message_begin(self) -> None:
        if not self._offered:
            super().on_message_begin()
            self._head_bytes, self._in_head = 0, True
            if not self._is_answering():
                self._wait()

    def on_url(self, url: bytes) -> None:
        if self._offered:
            return
        super().on_url(url)
        self._unheard_bytes = 0
        if len(self.url) > ADDRESS_LIMIT_BYTES:
            raise AddressTooLong

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unheard_bytes = 0
        self._head_bytes += len(name) + len(value) + HEADER_BYTES
        if self._head_bytes > HEAD_LIMIT_BYTES:
            raise HeadTooLarge
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._offered:
            return
        if len(self.pipeline) >= PIPELINED:
            raise TooManyAtOnce
        if self.url == b"*":
            raise Malformed("This is no address.")
        self._in_head = False
        self._unheard_bytes = 0
        if self.parser.get_http_version() == "1.0":
            self.app = partial(_without_chunks, self.config.loaded_app)
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self._offered = [one for one in self.headers if one[0] in FRAMING]

    def on_body(self, body: bytes) -> None:
        self._unheard_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not (self._offered and self.parser.should_upgrade()):
            super().on_message_complete()

    # What time and ends of answers call.

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def timeout_keep_alive_handler(self) -> None:
        """Close, unless an answer is being made, or read."""
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent or not (unsent or self._is_answering()):
            self.transport.abort()
            return
        self._unsent = unsent or math.inf
        self._wait()

    def _wait(self) -> None:
        self._unset_keepalive_if_required()
        # Closing waits for whoever has not read the last answer yet.
        if not self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.timeout_keep_alive_task = self.loop.call_later(
                IDLE_S, self.timeout_keep_alive_handler
            )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(_to_its_end, cycle, app))

    def _is_answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete

    def _feed(self, data: bytes) -> None:
        """Let it be parsed. Who offers another protocol is answered by this one."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            if self._offered:
                # The parser takes the body for the other protocol's first bytes: it
                # is told again that one comes, and how long it is.
                lines = [b"POST / HTTP/1.1", *map(b": ".join, self._offered), b"", b""]
                self.parser.feed_data(b"\r\n".join(lines))
                self._offered = []

    def _refuse(self, error: NijikaError) -> None:
        """The last answer here, if nothing else is being answered."""
        self._deaf = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if cycle.response_started or not cycle.more_body:
                return
            if self.pipeline:  # others are to be answered first: they never will be
                self.transport.close()
                return
            # Its body is broken: what the application says of it now goes nowhere.
            cycle.disconnected = True
            cycle.message_event.set()
        path = self.url.partition(b"?")[0].decode("latin-1")
        self.cycle = RequestResponseCycle(
            scope={"method": "GET", "path": path, "headers": self.headers},  # type: ignore[typeddict-item]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, partial(_refuse_patiently, error))


async def _to_its_end(
    cycle: RequestResponseCycle, application: Any, scope: Any, receive: Any, send: Any
) -> None:
    """A client that was given up in the middle of an answer gets no more of it."""
    await application(scope, receive, send)
    if cycle.response_started and not cycle.response_complete:
        cycle.disconnected = True
        cycle.transport.abort()


async def _without_chunks(
    application: Any, scope: Any, receive: Any, send: Any
) -> None:
    """For a client of HTTP/1.0: where an answer has no length, the connection's end is
    its end."""
    cycle: RequestResponseCycle = send.__self__
    has_length = False

    async def say(message: dict[str, Any]) -> None:
        nonlocal has_length
        if message["type"] == "http.response.start":
            has_length = any(
                name == b"content-length" for name, _ in message["headers"]
            )
            cycle.chunked_encoding = None if has_length else False
        elif not has_length:
            cycle.expected_content_length = len(message["body"])
        await send(message)

    await application(scope, receive, say)


async def _refuse_patiently(
    error: NijikaError, scope: Any, receive: Any, send: Any
) -> None:
    """Say it, and read on for a moment: who still sends would lose the answer if it met
    a closed door."""

    async def say(message: dict[str, Any]) -> None:
        await send(message | {"more_body": True})

    await refuse(error, scope, receive, say)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            await receive()
    await send({"type": "http.response.body"})
