"""A body in memory as it came: its chunks, which are never joined. A leaf module."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO

PIECE_BYTES = 1 << 16  # larger ones would come fresh from the kernel each time


def pieces(file: BinaryIO) -> Iterator[bytes | memoryview]:
    """The rest of a file; what is in memory is not copied."""
    if isinstance(file, Held):
        yield from file.pieces()
        return
    while piece := file.read(PIECE_BYTES):
        yield piece


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

    def pieces(self) -> Iterator[memoryview]:
        """The rest, uncopied."""
        for chunk, begin, end in self._spans(self._at):
            self._at += end - begin
            yield memoryview(chunk)[begin:end]

    def find(self, sought: bytes, begin: int) -> int:
        """Where it first stands, from `begin` on; -1: nowhere."""
        overlap = len(sought) - 1
        at, seam = begin, b""  # the seam is what may hold the beginning of it
        for chunk, first, end in self._spans(begin):
            seam_begin = at - len(seam)
            seam += chunk[first : min(end, first + overlap)]
            if (found := seam.find(sought)) >= 0:
                return seam_begin + found
            if (found := chunk.find(sought, first, end)) >= 0:
                return at + found - first
            if end - first > overlap:
                seam = chunk[end - overlap : end]
            else:
                seam = seam[-overlap:]
            at += end - first
        return -1

    def close(self) -> None:
        self._chunks = ()
        super().close()

    def _spans(self, begin: int) -> Iterator[tuple[bytes, int, int]]:
        """The chunks from a position on, and which part of each is ours."""
        self._checkClosed()
        at = self._begin + begin
        for number in range(bisect_right(self._begins, at) - 1, len(self._chunks)):
            if at >= self._end:
                return
            chunk, chunk_begin = self._chunks[number], self._begins[number]
            end = min(self._end - chunk_begin, len(chunk))
            yield chunk, at - chunk_begin, end
            at = chunk_begin + end

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
