"""A body in memory reads as a file of the same bytes does."""

import io

import pytest

from nijika.held import Held, pieces

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


@pytest.mark.parametrize("begin", range(len(WHOLE) + 2))
@pytest.mark.parametrize("size", [0, 1, 4, 9, 99])
def test_pieces_are_the_rest_and_end_at_the_end(begin: int, size: int) -> None:
    stretch, wanted = Held(CHUNKS).stretch(1, size), WHOLE[1 : 1 + size]
    stretch.seek(begin)

    assert b"".join(stretch.pieces()) == wanted[begin:]
    assert stretch.read() == b""


def test_pieces_of_memory_are_no_copies() -> None:
    held = Held(CHUNKS).stretch(4, 9)
    assert [one.obj for one in held.pieces()] == CHUNKS[2:]
    assert [type(one) for one in pieces(io.BytesIO(WHOLE))] == [bytes]


@pytest.mark.parametrize("size", range(2, 9))
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("within", [(0, 17), (3, 12), (5, 1)])
def test_what_is_sought_is_found_where_bytes_find_it(
    size: int, chunk: int, within: tuple[int, int]
) -> None:
    whole = b"abaabaaabababbaab"
    first, length = within
    cut = [whole[at : at + chunk] for at in range(0, len(whole), chunk)]
    held, mine = Held(cut).stretch(first, length), whole[first : first + length]
    for at in range(len(whole) - size + 1):
        sought = whole[at : at + size]
        for begin in range(len(mine) + 1):
            assert held.find(sought, begin) == mine.find(sought, begin)


def test_lines_are_those_of_a_file() -> None:
    assert list(Held([b"a\nb", b"c\n", b"d"])) == [b"a\n", b"bc\n", b"d"]


def test_what_is_closed_is_not_read() -> None:
    held = Held(CHUNKS)
    held.close()
    with pytest.raises(ValueError):
        held.read(1)
