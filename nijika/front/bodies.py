"""Request bodies: read by the loop, checked while they come, in memory or on disk.

- Too large is refused by the announced length, or else while reading.
- More than `LOOK_BYTES` are read only for a caller who looks like one of ours.
- All bodies in the house together stay within the spool's budget. A part of it is in
  memory, for writing a photo to disk and reading it again takes a while; what finds no
  room there goes to disk.
- A client that sends slower than the minimum pace is dropped; only the time that we
  wait for it counts.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from nijika.errors import NijikaError, TooLarge, Unauthenticated, Unavailable
from nijika.front.lanes import Lane
from nijika.held import Held

LOOK_BYTES = 1_000_000
MEMORY_BYTES = 256_000
WRITE_BYTES = 1_000_000

Receive = Callable[[], Awaitable[dict[str, Any]]]


class ClientGone(Exception):
    """Nobody is there to be answered any more."""


class TooSlow(NijikaError):
    """The body came too slowly."""

    code = "request_timeout"
    status = 408


class SpoolFull(Unavailable):
    """Too many uploads at once; try again in a moment."""

    headers = {"Retry-After": "5"}


@dataclass(slots=True, kw_only=True)
class Spool:
    """Where bodies wait, and how many bytes of them there may be at once: in all, and
    in memory beside those that are small."""

    budget_bytes: int
    memory_bytes: int = 0
    folder: Path | None = None
    used_bytes: int = 0
    held_bytes: int = 0

    def reserve(self, size_bytes: int) -> None:
        """Raises SpoolFull, and then nothing was reserved."""
        if self.used_bytes + size_bytes > self.budget_bytes:
            raise SpoolFull()
        self.used_bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        self.used_bytes -= size_bytes

    def hold(self, size_bytes: int) -> bool:
        """Whether there is room for so much in memory, which then is taken."""
        if self.held_bytes + size_bytes > self.memory_bytes:
            return False
        self.held_bytes += size_bytes
        return True

    def let_go(self, size_bytes: int) -> None:
        self.held_bytes -= size_bytes


@dataclass(slots=True, kw_only=True)
class Body:
    """A body as far as it has come. `file` is at its start once it is complete."""

    spool: Spool
    file: IO[bytes] = field(default_factory=io.BytesIO)
    size_bytes: int = 0
    held_bytes: int = 0
    on_disk: bool = False

    @property
    def is_large(self) -> bool:
        return self.size_bytes > MEMORY_BYTES

    def hold(self) -> bool:
        """Whether the whole body may be in memory."""
        if self.on_disk or not self.spool.hold(self.size_bytes - self.held_bytes):
            return False
        self.held_bytes = self.size_bytes
        return True

    def let_go(self) -> None:
        """It is not in memory any more. Safe to repeat."""
        self.spool.let_go(self.held_bytes)
        self.held_bytes = 0

    def close(self) -> None:
        """Give the memory or disk back. Safe to repeat."""
        self.spool.release(self.size_bytes)
        self.size_bytes = 0
        self.let_go()
        self.file.close()


@dataclass(slots=True, kw_only=True)
class Reader:
    """Reads one request's body.

    `announced` is its Content-Length, None for a chunked one. `looks_valid` says
    whether the caller's credentials have the form of ours. `disk` does the writing.
    """

    receive: Receive
    spool: Spool
    disk: Lane
    announced: int | None
    limit_bytes: int
    looks_valid: Callable[[], bool]
    bytes_per_s: float
    grace_s: float
    complete: bool = False
    started: bool = False
    _looked: bool = False
    _waited_s: float = 0.0

    async def read(self) -> Body:
        """The whole body.

        Raises TooLarge, Unauthenticated, SpoolFull, TooSlow or ClientGone.
        """
        self._check(self.announced or 0)
        body = Body(spool=self.spool)
        try:
            await self._fill(body)
        except BaseException:
            body.close()
            raise
        body.file.seek(0)
        return body

    async def _fill(self, body: Body) -> None:
        pending: list[bytes] = []  # never joined: each copy of a photo takes a while
        pending_bytes = 0
        while not self.complete:
            chunk = await self._next(body.size_bytes)
            self._check(body.size_bytes + len(chunk))
            self.spool.reserve(len(chunk))
            body.size_bytes += len(chunk)
            pending.append(chunk)
            pending_bytes += len(chunk)
            if not body.is_large or body.hold():
                continue
            if pending_bytes >= WRITE_BYTES or self.complete:
                await self._write(body, pending)
                body.let_go()
                pending, pending_bytes = [], 0
        if pending:
            body.file = cast(IO[bytes], Held(pending))

    async def _next(self, received: int) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        patience = self.grace_s + received / self.bytes_per_s - self._waited_s
        self.started = True
        try:
            async with asyncio.timeout(patience):
                event = await self.receive()
        except TimeoutError:
            raise TooSlow() from None
        self._waited_s += loop.time() - began
        if event["type"] != "http.request":
            raise ClientGone()
        chunk: bytes = event.get("body", b"")
        # With the announced length here, the end needs no further call.
        at_end = received + len(chunk) == self.announced
        self.complete = at_end or not event.get("more_body", False)
        return chunk

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            raise TooLarge()
        if size_bytes > LOOK_BYTES and not self._looked:
            if not self.looks_valid():
                raise Unauthenticated()
            self._looked = True

    async def _write(self, body: Body, chunks: list[bytes]) -> None:
        if not body.on_disk:
            body.file = tempfile.TemporaryFile(dir=self.spool.folder)  # noqa: SIM115
            body.on_disk = True
        await self.disk.run(partial(body.file.writelines, chunks))
