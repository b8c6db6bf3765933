"""Whether a HEIF is whole: tiles that are missing come out green, and the decoder says
nothing.

A file is cut short when it ends before the bytes of one of its items, as its table of
them says (`iloc`, ISO/IEC 14496-12, 8.11.3). What comes behind the last of them is no
part of the picture: phones append a video (a box `mpvd`) or notes of their own (which
are no boxes at all).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

Box = tuple[bytes, int, int]

# A table has an entry per tile; kilobytes, not megabytes.
MOST_META_BYTES = 4 << 20
# Beside each other, up to the table; phones write about five.
MOST_BOXES = 1000
_IN_FILE = 0


def is_whole(file: BinaryIO) -> bool:
    """Raises ValueError where the file has no table of its items that can be read."""
    end = file.seek(0, io.SEEK_END)
    return all(last <= end for last in _ends(_table(file, end)))


def _table(file: BinaryIO, end: int) -> bytes:
    """The content of `iloc`."""
    for name, start, stop in _top_boxes(file, end):
        if name == b"meta":
            if stop > end or stop - start > MOST_META_BYTES:
                break
            file.seek(start)
            return _inner(file.read(stop - start), b"iloc")
    raise ValueError("no table of items")


def _top_boxes(file: BinaryIO, end: int) -> Iterator[Box]:
    """Name, start and stop of the contents, which may stop behind the file's end."""
    at = 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, skip = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, skip = int.from_bytes(head[8:16], "big"), 16
        size = size or end - at  # 0: up to the file's end
        if size < skip:
            return
        yield head[4:8], at + skip, at + size
        at += size


def _inner(meta: bytes, wanted: bytes) -> bytes:
    at = 4  # version and flags
    while at + 8 <= len(meta):
        size = int.from_bytes(meta[at : at + 4], "big")
        if size < 8:
            break
        if meta[at + 4 : at + 8] == wanted:
            return meta[at + 8 : at + size]
        at += size
    raise ValueError(f"no {wanted!r} box")


def _ends(table: bytes) -> Iterator[int]:
    """Where each piece of each item ends in the file; what lies elsewhere is left out:
    in the table's own box, in another item."""
    read = _Reader(table)
    version = read.number(1)
    read.number(3)
    sizes = read.number(2)
    offset, length, base = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index = sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    for _ in range(read.number(wide)):
        read.number(wide)
        place = read.number(2) & 15 if version else _IN_FILE
        is_here = read.number(2) == 0 and place == _IN_FILE
        start = read.number(base)
        pieces = read.number(2)
        # Without sizes the others would be the same again, however many are claimed.
        for _ in range(pieces if index + offset + length else min(pieces, 1)):
            read.number(index)
            first = start + read.number(offset)
            # No length: up to the end of the file, so there is at least one byte.
            last = first + (read.number(length) or 1)
            if is_here:
                yield last


class _Reader:
    """Numbers one after the other. Raises ValueError behind the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, size: int) -> int:
        at, self._at = self._at, self._at + size
        if self._at > len(self._content):
            raise ValueError("the table of items is cut short")
        return int.from_bytes(self._content[at : self._at], "big")
