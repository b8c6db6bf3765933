"""A store in a folder on this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from jobs.errors import FileMissing, StorageUnavailable
from jobs.stores.base import StoredFile, checked
from nijika import held


class LocalStore:
    """A folder. Files appear whole, by rename.

    A file is durable by one fsync once it has its name: the file systems of Linux that
    keep a journal write that down with the file, and the new folders that lead to it,
    which stand before it in the journal. Nobody looks for it before `write` returns.
    """

    def __init__(self, root: Path) -> None:
        # A disk that is away now is no reason to know no locations on it.
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
        self._root = root.resolve()

    def write(
        self, key: str, content: bytes | BinaryIO, *, durable: bool = True
    ) -> None:
        path = self.path(key)
        with _os_errors():
            try:
                self._write(path, content, durable=durable)
            except FileNotFoundError:  # a sweep took the empty folder; once more
                _rewind(content)
                self._write(path, content, durable=durable)

    def _write(self, path: Path, content: bytes | BinaryIO, *, durable: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        try:
            with unfinished.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                _copy(content, file)
                file.flush()
                unfinished.replace(path)
                if durable:
                    os.fsync(file.fileno())
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def _make_folder(self, folder: Path) -> None:
        """A new folder is durable only once its parent is."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def open(self, key: str) -> BinaryIO:
        with _os_errors():
            try:
                return self.path(key).open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise FileMissing from None

    def copy(self, source: str, target: str) -> None:
        path = self.path(target)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        with _os_errors():
            self._make_folder(path.parent)
            try:
                _link(self.path(source), unfinished)
                unfinished.replace(path)
            except FileNotFoundError:
                raise FileMissing from None
            finally:
                unfinished.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def path(self, key: str) -> Path:
        return self._root / checked(key)

    def delete(self, key: str) -> None:
        with _os_errors():
            self.path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        folder = self._root / checked(prefix.removesuffix("/"))
        with _os_errors():
            try:
                shutil.rmtree(folder)
            except (FileNotFoundError, NotADirectoryError):
                return

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        folder = self._root
        if prefix:
            folder /= checked(prefix.removesuffix("/"))
        with _os_errors():
            yield from self._walk(folder)

    def _walk(self, folder: Path) -> Iterator[StoredFile]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
            elif found := self._stored(entry):
                yield found

    def _stored(self, entry: os.DirEntry[str]) -> StoredFile | None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # renamed or removed while we looked
            return None
        return StoredFile(
            key=Path(entry.path).relative_to(self._root).as_posix(),
            size_bytes=status.st_size,
            modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
        )

    def read_location(self, key: str) -> str:
        return f"file://{quote(str(self.path(key)))}"

    write_location = read_location

    def download_url(
        self,
        key: str,
        *,
        filename: str,
        content_type: str,
        disposition: str = "attachment",
        cache_control: str = "private",
    ) -> str | None:
        return None

    def upload_url(
        self, key: str, *, content_type: str, size_bytes: int, lifetime: timedelta
    ) -> str | None:
        return None

    def healthy(self) -> bool:
        probe = self._root / f".health.{secrets.token_hex(6)}.part"
        try:
            probe.write_bytes(b"ok")
            probe.unlink()
        except OSError:
            return False
        return True


@contextmanager
def _os_errors() -> Iterator[None]:
    """The disk is full, gone or not ours."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable from error


def _copy(content: bytes | BinaryIO, file: BinaryIO) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        file.writelines(held.pieces(content))


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the disk has no such links."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _rewind(content: bytes | BinaryIO) -> None:
    if not isinstance(content, bytes):
        content.seek(0)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
