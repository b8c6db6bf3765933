"""Answers that go on for as long as something happens, with no thread for any."""

from __future__ import annotations

import asyncio
from functools import partial

from nijika.bridge import Headers, Outcome
from nijika.continuation import Feed
from nijika.front.answers import Answer
from nijika.front.bodies import ClientGone


class Streams:
    """The streamed answers of one event loop, until it is told to stop."""

    def __init__(self) -> None:
        self._open: set[asyncio.Event] = set()
        self._stopping = False

    def stop(self) -> None:
        """End all, each after what it has to say now; their clients come again."""
        self._stopping = True
        for woken in self._open:
            woken.set()

    async def send(
        self,
        feed: Feed,
        outcome: Outcome,
        answer: Answer,
        leaving: asyncio.Future[None],
    ) -> None:
        """Send what the feed says under the outcome's headers, until its end.

        `leaving` is done when the client has gone: then raises ClientGone.
        """
        if answer.head:
            await _start(outcome, answer)
        else:
            await self._follow(feed, outcome, answer, leaving)
        await answer.chunk(b"", more=False)

    async def _follow(
        self,
        feed: Feed,
        outcome: Outcome,
        answer: Answer,
        leaving: asyncio.Future[None],
    ) -> None:
        woken = asyncio.Event()
        feed.open(partial(_wake, asyncio.get_running_loop(), woken))
        self._open.add(woken)
        leaving.add_done_callback(lambda _: woken.set())
        try:
            await _start(outcome, answer)
            await self._pass_on(feed, answer, leaving, woken)
        finally:
            self._open.discard(woken)
            feed.close()

    async def _pass_on(
        self,
        feed: Feed,
        answer: Answer,
        leaving: asyncio.Future[None],
        woken: asyncio.Event,
    ) -> None:
        while True:
            woken.clear()
            piece = feed.take()
            if piece is None:
                return
            if leaving.done():
                raise ClientGone()
            if not piece:
                if self._stopping:
                    return
                piece = b"" if await _woken(woken, feed.idle_s) else feed.idle()
            if piece:
                await answer.patiently(piece)


async def _start(outcome: Outcome, answer: Answer) -> None:
    await answer.start(outcome.status, _endless(outcome.headers))


async def _woken(woken: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await woken.wait()
    except TimeoutError:
        return False
    return True


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(woken.set)
    except RuntimeError:  # the loop is closed: nobody reads any more
        return


def _endless(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name != b"content-length"]
