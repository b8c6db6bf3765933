"""`python -m bench.imaging.memory <way> <file>`: kilobytes of peak above idle.

Idle is the process after three runs, with what the allocator keeps given back. The peak
is the kernel's (VmHWM), set back before the run.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
from pathlib import Path

from bench.imaging import library

WAYS = {
    "nijika": library.resized,
    "libvips thumbnail": library.by_thumbnail,
    "Pillow draft": library.by_pillow_draft,
    "Pillow thumbnail": library.by_pillow,
}


def above_idle_kb(way: str, source: Path, *, profile: str = "") -> int:
    """In a process of its own, under a profile where one is named."""
    command = [sys.executable, "-m", "bench.imaging.memory", way, str(source)]
    environment = os.environ | ({"NIJIKA_PROFILE": profile} if profile else {})
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def main() -> None:
    way, source = WAYS[sys.argv[1]], Path(sys.argv[2])
    for _ in range(3):
        way(source)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    idle = _kb("VmRSS")
    way(source)
    print(_kb("VmHWM") - idle)


def _kb(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{name}:\s+(\d+)", status)
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    main()
