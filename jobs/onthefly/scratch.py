"""Where flights have their files."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

FILES = "nijika-onthefly-"
IN_MEMORY_BYTES = 10**9
"""A container's shared memory is often far smaller: then files lie on its disk."""


def folder() -> Path:
    """In memory if there is enough of it. What killed processes have left goes."""
    shared, base = Path("/dev/shm"), Path(tempfile.gettempdir())
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > IN_MEMORY_BYTES:
        base = shared
    for old in base.glob(f"{FILES}*"):
        if not Path("/proc", old.name.removeprefix(FILES).split("-")[0]).exists():
            with suppress(OSError):  # another process has just done it, or may not
                old.unlink()
    return base


def fresh(folder: Path, what: str) -> Path:
    """A path in the folder that nothing has yet; its name tells whose it is."""
    return folder / f"{FILES}{os.getpid()}-{secrets.token_hex(8)}-{what}"
