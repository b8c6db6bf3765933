"""`python -m bench.imaging`: imaging beside libvips and Pillow, as ratios."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.imaging import library, memory, platform
from bench.onthefly.__main__ import photo

RESIZES: dict[str, Callable[[Any], bytes]] = {
    "nijika": library.resized,
    "libvips thumbnail": library.by_thumbnail,
    "Pillow draft": library.by_pillow_draft,
}
PNGS: dict[str, Callable[[Any], bytes]] = {
    "nijika": library.png,
    "Pillow, hidden colours emptied": library.png_by_pillow_emptied,
    "Pillow": library.png_by_pillow,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--only", default="library,memory,platform")
    parser.add_argument("--photo", type=Path, help="another JPEG than the repo's own")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    with tempfile.TemporaryDirectory(prefix="nijika-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        source = arguments.photo or folder / "source.jpg"
        if not arguments.photo:
            source.write_bytes(photo())
        print("| what | nijika | beside | ratio | goal |\n|---|---|---|---|---|")
        if "library" in parts:
            show_library(source, arguments.rounds)
        if "memory" in parts:
            show_memory(source)
        if "platform" in parts:
            found = platform.rounds(folder, source, arguments.rounds, arguments.seconds)
            print(*platform.lines(found), sep="\n", flush=True)


def show_library(source: Path, rounds: int) -> None:
    resizes = library.measured(RESIZES, source, rounds)
    for other in ("libvips thumbnail", "Pillow draft"):
        _line("12 MP JPEG → 800 px, one core", other, resizes, "≤ 1")
    pngs = library.measured(PNGS, library.cutout(source), rounds)
    _line("12 MP RGBA → PNG", "Pillow", pngs, "≤ 0.2")
    _line("12 MP RGBA → PNG", "Pillow, hidden colours emptied", pngs, "≤ 0.2")


def _line(
    what: str, other: str, found: dict[str, tuple[float, int]], goal: str
) -> None:
    ours, theirs = found["nijika"], found[other]
    print(
        f"| {what} | {ours[0]:.0f} ms, {ours[1] / 1000:.0f} kB "
        f"| {other} {theirs[0]:.0f} ms, {theirs[1] / 1000:.0f} kB "
        f"| {ours[0] / theirs[0]:.2f}, bytes {ours[1] / theirs[1]:.2f} | {goal} |",
        flush=True,
    )


def show_memory(source: Path) -> None:
    found = {way: memory.above_idle_kb(way, source) for way in memory.WAYS}
    spared = memory.above_idle_kb("nijika", source, profile="memory_efficient")
    what = "memory of one resize above idle"
    for name, ours in ((what, found["nijika"]), (f"{what}, memory_efficient", spared)):
        for other in ("Pillow thumbnail", "Pillow draft", "libvips thumbnail"):
            print(
                f"| {name} | {ours / 1000:.1f} MB "
                f"| {other} {found[other] / 1000:.1f} MB "
                f"| {ours / found[other]:.2f} | ≤ 0.3 |",
                flush=True,
            )


if __name__ == "__main__":
    main()
