"""`make gallery`: see the package."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.gallery import page
from bench.gallery.shots import ROOT, Shot, shots
from bench.gallery.site import Refused, Site
from nijika.local.stack import USER, Stack

WITHIN_S = 120


def main() -> int:
    folder = ROOT / ".nijika" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    print("Starting nijika …", flush=True)
    with Stack(quiet=True) as stack:
        test_key = stack.manage("create_key", USER, "--name", "gallery", "--test")
        sites = {False: Site(stack.url, stack.key), True: Site(stack.url, test_key)}
        frames = [_frame(sites[shot.test], shot, folder) for shot in _counted(shots())]
    path = folder / "index.html"
    path.write_text(page.render(frames))
    failed = [frame for frame in frames if frame.job.get("status") != "succeeded"]
    print(f"{len(frames) - len(failed)} of {len(frames)} pictures: {path}")
    for frame in failed:
        print(f"  {frame.shot.title}: {json.dumps(frame.job.get('error'))}")
    return 1 if failed else 0


def _counted(all_shots: list[Shot]) -> Any:
    for number, shot in enumerate(all_shots, start=1):
        print(f"  {number}/{len(all_shots)} {shot.title}", flush=True)
        yield shot


def _frame(site: Site, shot: Shot, folder: Path) -> page.Frame:
    """Run one job to its end, and keep its pictures."""
    try:
        job = site.run(shot, within_s=WITHIN_S)
    except Refused as refused:
        job = {"status": "refused", "error": refused.problem}
    name = "".join(c if c.isalnum() else "-" for c in shot.title.lower())
    before = [
        (role, page.keep(path.read_bytes(), folder, f"{name}-{role}"))
        for role, path in shot.files.items()
    ]
    after = [
        page.keep(site.bytes_of(result), folder, f"{name}-{result['index']}")
        for result in job.get("results", [])
        if result["content_type"].startswith("image/")
    ]
    return page.Frame(shot=shot, job=job, before=before, after=after)


if __name__ == "__main__":
    sys.exit(main())
