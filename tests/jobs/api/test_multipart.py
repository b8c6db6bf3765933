"""The form reader by itself: its own limit, and fields over many reads."""

import io
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO, cast

import pytest

from jobs.api import multipart
from nijika.errors import TooLarge
from nijika.held import Held


@pytest.fixture
def world() -> None:
    """No database is needed here."""


class Dribble(io.BytesIO):
    """A body that comes three bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size) if size and size > 0 else 3)


def form_of(content: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="f"\r\n\r\n'
    return head + content + b"\r\n--b--\r\n"


def test_part_above_the_limit_is_too_large_while_it_is_read() -> None:
    stream = io.BytesIO(form_of(bytes(1001)))
    with ExitStack() as files, pytest.raises(TooLarge):
        list(multipart.read(stream, b"b", part_limit_bytes=1000, files=files))


@pytest.mark.parametrize(
    "content", [b"", b"\r\n", b"\r\n--", b"--b--", b"\r\n--a\r\n--", bytes(500)]
)
def test_content_is_whole_however_it_comes(content: bytes) -> None:
    with ExitStack() as files:
        (part,) = multipart.read(
            Dribble(form_of(content)), b"b", part_limit_bytes=1000, files=files
        )
        assert part.content.read() == content
        assert (part.name, part.filename) == ("image", "f")


def on_disk(content: bytes) -> BinaryIO:
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
    file.write(content)
    return file


def in_memory(content: bytes) -> BinaryIO:
    chunks = [content[at : at + 999] for at in range(0, len(content), 999)]
    return cast(BinaryIO, Held(chunks))


@pytest.mark.parametrize("spool", [on_disk, in_memory])
@pytest.mark.parametrize(
    "content", [b"", b"\r\n--a--", bytes(200_000), b"\r\n" * 40_000]
)
def test_part_of_a_file_is_a_view_of_it(
    content: bytes, spool: Callable[[bytes], BinaryIO]
) -> None:
    before, between = b"thrown away", b"\r\n--b\r\n"
    one = form_of(content).removesuffix(b"\r\n--b--\r\n")
    two = form_of(b"second").removeprefix(b"--b\r\n")
    with ExitStack() as files:
        file = files.enter_context(spool(before + one + between + two))
        file.seek(len(before))
        first, second = multipart.read(
            file, b"b", part_limit_bytes=1 << 20, files=files
        )
        file.close()  # as the front does when its client has gone
        assert (second.content.read(), second.size_bytes) == (b"second", 6)
        assert (first.content.read(), first.size_bytes) == (content, len(content))
        assert first.content.seek(0, io.SEEK_END) == len(content)
        assert first.content.seek(0) == 0
        assert first.content.read(7) == content[:7]
        assert first.content.seek(len(content) + 5) == len(content) + 5
        assert first.content.read(1) == b""
    assert first.content.closed


def test_part_of_a_file_above_the_limit_is_too_large() -> None:
    with ExitStack() as files, pytest.raises(TooLarge):
        file = files.enter_context(tempfile.TemporaryFile())
        file.write(form_of(bytes(1001)))
        file.seek(0)
        list(multipart.read(file, b"b", part_limit_bytes=1000, files=files))
