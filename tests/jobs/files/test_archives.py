"""An archive is made piece by piece while it is read, and holds on to nothing."""

from __future__ import annotations

import gc
import io
import threading
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from jobs.errors import StorageUnavailable
from jobs.files import archives
from jobs.files.archives import ArchiveFeed, Content, Entry
from jobs.storage import LocalStore, store
from nijika.pieces import THREADS

AT = datetime(2026, 11, 21, 16, 0, tzinfo=UTC)
SIZE_BYTES = 3_000_000


@pytest.fixture(autouse=True)
def files(settings: Settings, tmp_path: Path) -> None:
    settings.STORAGE_URL = f"file://{tmp_path}/store"
    for name in "abc":
        store().write(name, name.encode() * SIZE_BYTES)


def content(names: str = "abc") -> Content:
    entries = [Entry(name=f"{name}.png", key=name, at=AT) for name in names]
    return Content(
        entries=entries, told={"items": [{"files": [f"{n}.png" for n in names]}]}
    )


def read(feed: ArchiveFeed, *, most: int = 1000) -> list[bytes]:
    """So many pieces, or all that there are; waits for each."""
    woken, found = threading.Event(), list[bytes]()
    feed.open(woken.set)
    while len(found) < most:
        assert woken.wait(10)
        woken.clear()
        while piece := feed.take():
            found.append(piece)
        if piece is None:
            break
    return found


def test_archive_comes_in_small_pieces_and_is_whole() -> None:
    feed = ArchiveFeed(content())
    pieces = read(feed)
    feed.close()

    assert max(map(len, pieces)) < 2 * archives.PIECE_BYTES
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert archive.testzip() is None
    assert archive.namelist() == ["a.png", "b.png", "c.png", "batch.json"]
    assert archive.read("b.png") == b"b" * SIZE_BYTES
    assert archive.getinfo("a.png").date_time == (2026, 11, 21, 16, 0, 0)


def test_readers_who_stand_still_hold_nobody_up() -> None:
    still = [ArchiveFeed(content()) for _ in range(8 * THREADS)]
    for feed in still:
        read(feed, most=1)

    quick = ArchiveFeed(content("a"))
    whole = b"".join(read(quick))

    assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None
    for feed in [*still, quick]:
        feed.close()


def test_reader_who_goes_leaves_no_file_open() -> None:
    for most in (0, 1, 3):
        feed = ArchiveFeed(content())
        read(feed, most=most)
        feed.close()
        feed.close()
        del feed
    read(ArchiveFeed(content("a")))  # the threads have done what was before it
    gc.collect()  # an open file would be a warning, which is an error here


def test_file_that_is_gone_is_left_out_and_a_store_that_is_gone_cuts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store().delete("b")
    feed = ArchiveFeed(content())
    archive = zipfile.ZipFile(io.BytesIO(b"".join(read(feed))))
    feed.close()
    assert archive.namelist() == ["a.png", "c.png", "batch.json"]
    assert b"b.png" not in archive.read("batch.json")

    def broken(self: LocalStore, key: str) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(LocalStore, "open", broken)
    cut = ArchiveFeed(content())
    with pytest.raises(StorageUnavailable):
        read(cut)
    cut.close()
