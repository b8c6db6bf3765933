"""A body in memory as it came: its chunks, which are never joined. A leaf module."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any


class Held(io.RawIOBase):
    """A file to read. Stretches of it share its bytes, and outlive its closing."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = chunks
        # Where each begins, and where the last one ends.
        self._begins = [0, *accumulate(map(len, chunks))]
        self._begin, self._end = 0, self._begins[-1]
        self._at = 0

    def stretch(self, begin: int, size_bytes: int) -> Held:
        """Some bytes of it as a file of its own."""
        made = Held(())
        made._chunks, made._begins = self._chunks, self._begins
        made._begin = self._begin + begin
        made._end = min(self._end, made._begin + size_bytes)
        return made

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = (0, self._at, self._end - self._begin)[whence] + offset
        if at < 0:
            raise ValueError("before the beginning")
        self._at = at
        return at

    def read(self, size: int | None = -1) -> bytes:
        """As many bytes as wanted, unless the end comes first."""
        pieces = []
        left = self._left() if size is None or size < 0 else min(size, self._left())
        while left:
            pieces.append(self._next(left))
            left -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._left():
            piece = self._next(len(view) - filled)
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def close(self) -> None:
        self._chunks = ()
        super().close()

    def _left(self) -> int:
        self._checkClosed()
        return max(0, self._end - self._begin - self._at)

    def _next(self, most: int) -> bytes:
        """What is left of the chunk at the position, at most so much."""
        at = self._begin + self._at
        number = bisect_right(self._begins, at) - 1
        begin = at - self._begins[number]
        most = min(most, self._end - at)
        piece = self._chunks[number][begin : begin + most]
        self._at += len(piece)
        return piece
