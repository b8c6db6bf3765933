"""The form reader by itself: its own limit, and fields over many reads."""

import io
from contextlib import ExitStack

import pytest

from jobs.api import multipart
from nijika.errors import TooLarge


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
