"""A strict reader of `multipart/form-data` (RFC 7578).

Django's own parser forgives: a body that is cut short, parts without a name, text that
is no UTF-8, broken transfer encodings. Each of them would silently lose something that
a client has sent, so here each is malformed.

Parts are read in one pass and kept in memory up to a megabyte, beyond it on disk.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, cast

from django.utils.http import parse_header_parameters

from nijika.errors import Malformed, TooLarge

CHUNK_BYTES = 1 << 18
IN_MEMORY_BYTES = 1 << 20
MOST_HEADER_BYTES = 16 << 10
MOST_PARTS = 100
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
        headers = body.headers()
        spooled = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
        content = cast(BinaryIO, files.enter_context(spooled))
        size_bytes = 0
        for piece in body.content():
            size_bytes += len(piece)
            if size_bytes > part_limit_bytes:
                raise TooLarge(f"A field has more than {part_limit_bytes} bytes.")
            content.write(piece)
        content.seek(0)
        name, filename = _named(headers)
        yield Part(name=name, filename=filename, content=content, size_bytes=size_bytes)
        if body.at_end():
            return
    raise Malformed(f"There are more than {MOST_PARTS} fields.")


class _Body:
    """The body as it is read. Between calls, `_held` is what was read too far."""

    def __init__(self, stream: BinaryIO, delimiter: bytes) -> None:
        self._stream = stream
        self._delimiter = delimiter
        # The first delimiter stands without a line break before it.
        self._held = b"\r\n"

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

    def content(self) -> Iterator[bytes]:
        """The part's content, up to the delimiter and without it."""
        keep = len(self._delimiter) - 1
        while (end := self._held.find(self._delimiter)) < 0:
            if len(self._held) > keep:
                yield self._held[:-keep]
                self._held = self._held[-keep:]
            self._more()
        yield self._held[:end]
        self._held = self._held[end + len(self._delimiter) :]

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
        chunk = self._stream.read(CHUNK_BYTES)
        if not chunk:
            raise Malformed("The body is cut short.")
        self._held += chunk


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
