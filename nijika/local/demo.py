"""`make demo`: a real photo in, a cut-out back, charged once; then everything stops."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image
from urllib3 import encode_multipart_formdata

from nijika.local.stack import Stack, StackFailed

ROOT = Path(__file__).resolve().parents[2]
PHOTO = Path(__file__).parent / "photos" / "lemur.jpg"
DONE_WITHIN_S = 60.0
TIMINGS = ["queued", "engine", "platform", "total"]
SQUARE_PX = 12
"""Side of the squares that show transparency in the before/after picture."""


def main() -> int:
    began = time.monotonic()
    print("Starting PostgreSQL, Redis, web, control, fetcher, worker …", flush=True)
    with Stack(quiet=True) as stack:
        print(f"Up after {time.monotonic() - began:.1f} s at {stack.url}", flush=True)
        if stack.elsewhere:
            print(f"PostgreSQL's data are in {stack.elsewhere}", flush=True)
        before = stack.get("/api/v1/account", key=stack.key)
        job = _wait_for_end(stack, _submit(stack))
        folder = stack.folder / "demo"
        paths = _save_pictures(stack, job, folder)
        _print_summary(stack, job, before)
    print("\n".join(str(path.relative_to(ROOT)) for path in paths))
    return 0


def _submit(stack: Stack) -> Any:
    print(f"Sending {PHOTO.name} to removebg …", flush=True)
    image = (PHOTO.name, PHOTO.read_bytes(), "image/jpeg")
    body, content_type = encode_multipart_formdata(
        {"operation": "removebg", "image": image}
    )
    headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": content_type}
    url = f"{stack.url}/api/v1/jobs"
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _wait_for_end(stack: Stack, job: Any) -> Any:
    end = time.monotonic() + DONE_WITHIN_S
    shown = ""
    while job["status"] in {"queued", "running"}:
        if time.monotonic() > end:
            raise StackFailed(f"The job did not end in time: {json.dumps(job)}")
        stack.check()
        time.sleep(0.1)
        job = stack.get(f"/api/v1/jobs/{job['id']}", key=stack.key)
        line = (
            f"  {job['status']} {(job['progress'] or {}).get('message', '')}".rstrip()
        )
        if line != shown:
            print(line, flush=True)
            shown = line
    if job["status"] != "succeeded":
        raise StackFailed(f"The job ended as {job['status']}: {job['error']}")
    return job


def _save_pictures(stack: Stack, job: Any, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    cutout, before_after = folder / "cutout.png", folder / "before-after.png"
    with urllib.request.urlopen(job["results"][0]["url"], timeout=30) as answer:
        cutout.write_bytes(answer.read())
    _side_by_side(PHOTO, cutout).save(before_after)
    return [cutout, before_after]


def _side_by_side(photo: Path, cutout: Path) -> Image.Image:
    with Image.open(photo) as before, Image.open(cutout) as after:
        width, height = after.size
        picture = Image.new("RGB", (2 * width, height))
        picture.paste(before.convert("RGB").resize((width, height)), (0, 0))
        right = _checkerboard(width, height)
        right.paste(after, (0, 0), after.convert("RGBA"))
        picture.paste(right, (width, 0))
        return picture


def _checkerboard(width: int, height: int) -> Image.Image:
    columns, rows = width // SQUARE_PX + 1, height // SQUARE_PX + 1
    squares = Image.new("L", (columns, rows))
    squares.putdata(
        [200 + 40 * ((x + y) % 2) for y in range(rows) for x in range(columns)]
    )
    size = (columns * SQUARE_PX, rows * SQUARE_PX)
    board = squares.resize(size, Image.Resampling.NEAREST)
    return board.crop((0, 0, width, height)).convert("RGB")


def _print_summary(stack: Stack, job: Any, before: Any) -> None:
    after = stack.get("/api/v1/account", key=stack.key)
    entries = stack.get("/api/v1/ledger?limit=2", key=stack.key)["items"]
    had, has = before["credits"]["available"], after["credits"]["available"]
    print(f"\ncredits  {had} → {has}")
    for entry in reversed(entries):
        kind, amount = entry["kind"], entry["amount"]
        print(f"ledger   {kind:<7} {amount:>8}  job {entry['reference']}")
    parts = [f"{name} {job['timings'][f'{name}_ms']} ms" for name in TIMINGS]
    print(f"time     {' · '.join(parts)}\n", flush=True)
