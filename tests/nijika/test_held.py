"""A body in memory reads as a file of the same bytes does."""

import io

import pytest

from nijika.held import Held

CHUNKS = [b"abc", b"", b"defgh", b"i", b"jklmnopq"]
WHOLE = b"".join(CHUNKS)


@pytest.fixture
def world() -> None:
    """No database is needed here."""


@pytest.mark.parametrize("begin", range(len(WHOLE) + 2))
@pytest.mark.parametrize("size", [0, 1, 4, 9, 99])
def test_a_stretch_has_its_bytes_and_no_others(begin: int, size: int) -> None:
    held = Held(CHUNKS)
    stretch, wanted = held.stretch(begin, size), WHOLE[begin : begin + size]
    held.close()

    assert stretch.read() == wanted
    assert stretch.seek(1) == 1
    assert stretch.read(3) == wanted[1:4]
    assert stretch.tell() == 1 + len(wanted[1:4])
    stretch.seek(0)
    buffer = bytearray(len(wanted) + 1)
    assert stretch.readinto(buffer) == len(wanted)
    assert buffer == wanted + b"\0"
    assert stretch.seek(-2, io.SEEK_END) == len(wanted) - 2 if len(wanted) > 1 else True


def test_lines_are_those_of_a_file() -> None:
    assert list(Held([b"a\nb", b"c\n", b"d"])) == [b"a\n", b"bc\n", b"d"]


def test_what_is_closed_is_not_read() -> None:
    held = Held(CHUNKS)
    held.close()
    with pytest.raises(ValueError):
        held.read(1)
