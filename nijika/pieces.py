"""Long answers made piece by piece, each when the one before it has been taken.

A thread makes a piece and is then free for another answer: so a reader who is slow, or
has gone, holds no thread and no memory but a piece's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

THREADS = 2
IDLE_S = 30.0


class PiecesFeed:
    """What a generator makes, for `nijika.continuation.stream`."""

    idle_s = IDLE_S

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self._pieces = pieces
        self._wake: Callable[[], None] = lambda: None
        self._next: Future[bytes | None] | None = None

    def open(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._ask()

    def take(self) -> bytes | None:
        """The next piece once it is there. Raises what making it has raised."""
        if self._next is None or not self._next.done():
            return b""
        piece = self._next.result()
        if piece is not None:
            self._ask()
        return piece

    def idle(self) -> bytes:
        return b""

    def close(self) -> None:
        if self._next is None:
            self._pieces.close()  # it has not begun
            return
        # A thread may be in the midst of a piece, and what the generator does in the
        # end may be nothing for the front's event loop.
        self._next.cancel()
        self._next.add_done_callback(lambda _: _threads().submit(self._pieces.close))

    def _ask(self) -> None:
        self._next = _threads().submit(_next_of, self._pieces)
        self._next.add_done_callback(lambda _: self._wake())


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="pieces")


def _next_of(made: Iterator[bytes]) -> bytes | None:
    """The next piece that has something in it; None at the end."""
    return next(filter(None, made), None)
