"""A strict reader of `multipart/form-data` (RFC 7578).

Django's own parser forgives: a body that is cut short, parts without a name, text that
is no UTF-8, broken transfer encodings. Each of them would silently lose something that
a client has sent, so here each is malformed.

The body is read in one pass. Where it lies in a file or in memory already, a part is
a view of its stretch there; else it is kept in memory up to a megabyte, beyond it on
disk.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from django.utils.http import parse_header_parameters

from nijika.errors import Malformed, TooLarge
from nijika.held import PIECE_BYTES, Held

IN_MEMORY_BYTES = 1 << 20
HEADER_BYTES, MOST_HEADER_BYTES = 1 << 10, 16 << 10
MOST_PARTS = 100
CUT_SHORT = "The body is cut short."
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One field. `filename` is None for a text field; `content` is at its beginning."""

    name: str
    filename: str | None
    content: BinaryIO
    size_bytes: int

    def text(self) -> str:
        """Raises Malformed for what is not UTF-8."""
        try:
            return self.content.read().decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"The field {self.name!r} is not UTF-8.") from None


def boundary_of(content_type: str) -> bytes:
    """Raises Malformed if the header has no sound boundary."""
    boundary = parse_header_parameters(content_type)[1].get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("The Content-Type has no boundary.")
    return boundary.encode("ascii")


def read(
    stream: BinaryIO, boundary: bytes, *, part_limit_bytes: int, files: ExitStack
) -> Iterator[Part]:
    """The parts in order; `files` closes what they are kept in.

    Raises Malformed, and TooLarge for a part above the limit.
    """
    body = _Body(stream, b"\r\n--" + boundary)
    body.skip_opening()
    for _ in range(MOST_PARTS):
        name, filename = _named(body.headers())
        content, size_bytes = _content(body, part_limit_bytes, files)
        yield Part(name=name, filename=filename, content=content, size_bytes=size_bytes)
        if body.at_end():
            return
    raise Malformed(f"There are more than {MOST_PARTS} fields.")


def _content(body: _Body, limit_bytes: int, files: ExitStack) -> tuple[BinaryIO, int]:
    """The content of the next part, at its beginning, and its size."""
    begin, size_bytes = body.position, 0
    kept = None if body.stays else files.enter_context(_spooled())
    for piece in body.content():
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            raise TooLarge(f"A field has more than {limit_bytes} bytes.")
        if kept is not None:
            kept.write(piece)
    if kept is None:
        return files.enter_context(body.view(begin, size_bytes)), size_bytes
    kept.seek(0)
    return kept, size_bytes


def _spooled() -> BinaryIO:
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES))


class _Stretch(io.RawIOBase):
    """Some bytes of a file, by a descriptor of its own: whoever has opened the file may
    close it meanwhile, and other stretches of it are read at their own pace."""

    def __init__(self, descriptor: int, begin: int, size_bytes: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._begin, self._size_bytes, self._at = begin, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)[: max(0, self._size_bytes - self._at)]
        count = os.preadv(self._descriptor, [room], self._begin + self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = (0, self._at, self._size_bytes)[whence] + offset
        if at < 0:
            raise ValueError("before the beginning")
        self._at = at
        return at

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class _Body:
    """The body as it is read. Between calls, `_held` is what was read too far."""

    def __init__(self, stream: BinaryIO, delimiter: bytes) -> None:
        self._stream = stream
        self._memory = stream if isinstance(stream, Held) else None
        # Of what is in memory only the headers are read.
        self._step_bytes = PIECE_BYTES if self._memory is None else HEADER_BYTES
        self._descriptor = _descriptor_of(stream)
        self._read_bytes = stream.tell() if self.stays else 0
        self._delimiter = delimiter
        # The first delimiter stands without a line break before it.
        self._held = b"\r\n"

    @property
    def stays(self) -> bool:
        """Whether the whole body is where parts of it can be read from later."""
        return self._memory is not None or self._descriptor is not None

    def view(self, begin: int, size_bytes: int) -> BinaryIO:
        """Some bytes of a body that stays."""
        if self._memory is not None:
            return cast(BinaryIO, self._memory.stretch(begin, size_bytes))
        assert self._descriptor is not None
        return io.BufferedReader(_Stretch(self._descriptor, begin, size_bytes))

    @property
    def position(self) -> int:
        """Where in its file, or in memory, the body goes on."""
        return self._read_bytes - len(self._held)

    def skip_opening(self) -> None:
        self._need(len(self._delimiter) + 2)
        if not self._held.startswith(self._delimiter + b"\r\n"):
            raise Malformed("The body does not begin with its boundary.")
        self._held = self._held[len(self._delimiter) + 2 :]

    def headers(self) -> dict[str, str]:
        """The headers of the next part, names in lower case."""
        end = -1
        while end < 0:
            end = self._held.find(b"\r\n\r\n", 0, MOST_HEADER_BYTES)
            if end < 0 and len(self._held) > MOST_HEADER_BYTES:
                raise Malformed("The headers of a field are too long.")
            if end < 0:
                self._more()
        block, self._held = self._held[:end], self._held[end + 4 :]
        try:
            lines = block.decode("utf-8").split("\r\n")
        except UnicodeDecodeError:
            raise Malformed("The headers of a field are not UTF-8.") from None
        return dict(_header(line) for line in lines)

    def content(self) -> Iterator[bytes | memoryview]:
        """The part's content, up to the delimiter and without it."""
        if self._memory is not None:
            yield from self._content_in(self._memory)
            return
        keep = len(self._delimiter) - 1
        while (end := self._held.find(self._delimiter)) < 0:
            if len(self._held) > keep:
                yield self._held[:-keep]
                self._held = self._held[-keep:]
            self._more()
        yield self._held[:end]
        self._held = self._held[end + len(self._delimiter) :]

    def _content_in(self, memory: Held) -> Iterator[memoryview]:
        begin = self.position
        end = memory.find(self._delimiter, begin)
        if end < 0:
            raise Malformed(CUT_SHORT)
        yield from memory.stretch(begin, end - begin).pieces()
        self._read_bytes = memory.seek(end + len(self._delimiter))
        self._held = b""

    def at_end(self) -> bool:
        """Whether the delimiter just read was the closing one. Then nothing follows."""
        self._need(2)
        mark, self._held = self._held[:2], self._held[2:]
        if mark == b"\r\n":
            return False
        if mark != b"--" or (self._held + self._stream.read(3)) not in (b"", b"\r\n"):
            raise Malformed("The body does not end with its boundary.")
        return True

    def _need(self, count: int) -> None:
        while len(self._held) < count:
            self._more()

    def _more(self) -> None:
        chunk = self._stream.read(self._step_bytes)
        if not chunk:
            raise Malformed(CUT_SHORT)
        self._read_bytes += len(chunk)
        self._held += chunk


def _descriptor_of(stream: BinaryIO) -> int | None:
    try:
        return stream.fileno() if stream.seekable() else None
    except (AttributeError, OSError):
        return None


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Malformed("A field has a broken header.")
    return name.strip().lower(), value.strip()


def _named(headers: dict[str, str]) -> tuple[str, str | None]:
    """The name and, for a file, the file name that a part's headers give."""
    if headers.get("content-transfer-encoding", "binary").lower() not in PLAIN:
        raise Malformed("A field has a transfer encoding, which is not for HTTP.")
    disposition = headers.get("content-disposition", "")
    try:
        kind, options = parse_header_parameters(disposition)
    except ValueError:
        raise Malformed("A field has a broken header.") from None
    if kind.lower() != "form-data" or not options.get("name"):
        raise Malformed("A field has no name.")
    return options["name"], options.get("filename")


PLAIN = {"7bit", "8bit", "binary"}
