"""One process, one core, interleaved rounds: milliseconds of CPU and bytes."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gpu_worker import pixels
from gpu_worker.engines.base import Input, Item, Result
from gpu_worker.engines.imaging import output, running
from gpu_worker.pixels import libvips

WANTED = {"width": 800, "format": "jpg", "quality": 80}
THUMBNAIL = (800, 800)


def resized(source: Path) -> bytes:
    """As a worker's child does it."""
    given = Input(role="image", path=source, content_type="image/jpeg")
    item = Item(job_id="bench", operation="resize", parameters=WANTED, inputs=(given,))
    made = running.run("resize", item)
    return (made if isinstance(made, Result) else output.encode(made, WANTED)).data


def by_thumbnail(source: Path) -> bytes:
    made: bytes = libvips.Image.thumbnail(str(source), 800).jpegsave_buffer(Q=80)
    return made


def by_pillow(source: Path) -> bytes:
    """Pillow drafts by itself here, to twice the size."""
    out = io.BytesIO()
    with Image.open(source) as image:
        image.thumbnail(THUMBNAIL)
        image.save(out, "JPEG", quality=80)
    return out.getvalue()


def by_pillow_draft(source: Path) -> bytes:
    """Drafted to what is just enough, then Lanczos."""
    out = io.BytesIO()
    with Image.open(source) as image:
        image.draft("RGB", (800, 600))
        image.resize((800, 600), Image.Resampling.LANCZOS).save(out, "JPEG", quality=80)
    return out.getvalue()


def cutout(source: Path) -> pixels.Pixels:
    """12 megapixels of RGBA: an ellipse of the photo, its edge soft."""
    photo = pixels.decode(source)
    height, width = photo.shape[:2]
    rows = (np.arange(height)[:, None] - height / 2) / (height * 0.45)
    columns = (np.arange(width)[None] - width / 2) / (width * 0.4)
    away = np.sqrt(rows**2 + columns**2)
    alpha = np.clip((1 - away) * 40, 0, 1) * 255
    return np.dstack([photo, alpha.astype(np.uint8)])


def png(picture: pixels.Pixels) -> bytes:
    return pixels.encode(picture, "png").data


def png_by_pillow(picture: pixels.Pixels) -> bytes:
    """Its defaults. It writes what alpha hides, too."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def png_by_pillow_emptied(picture: pixels.Pixels) -> bytes:
    """The same of a picture whose hidden colours are zero, as ours are."""
    return png_by_pillow(pixels.without_hidden_colours(picture))


def measured(
    ways: dict[str, Callable[[Any], bytes]], given: Any, rounds: int
) -> dict[str, tuple[float, int]]:
    """By way: the median of CPU milliseconds, and the bytes of the file."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    sizes = {name: len(way(given)) for name, way in ways.items()}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.process_time()
            way(given)
            times[name].append((time.process_time() - begun) * 1000)
    return {name: (statistics.median(times[name]), sizes[name]) for name in ways}
