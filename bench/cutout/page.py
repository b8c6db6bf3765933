"""One page with every cut-out on black, white and magenta, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from bench.cutout.photos import Case
from bench.cutout.scores import Scored
from gpu_worker.engines.cutout.subject import shrink
from gpu_worker.pixels import Pixels

SIDE_PX = 520
GROUNDS = {"black": (0, 0, 0), "white": (255, 255, 255), "magenta": (255, 0, 255)}
HEAD = """<!doctype html><meta charset="utf-8"><title>Cut-outs</title>
<style>body{font:14px sans-serif;background:#777;color:#fff;margin:1em}
img{height:200px;margin:2px}pre{background:#333;padding:1em}
.flagged{color:#fd4}</style>
"""


def write(
    folder: Path, table: str, cases: Sequence[Case], scored: dict[str, list[Scored]]
) -> Path:
    """Write `index.html` and its pictures; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    engine, plain = scored["classical"], scored.get("rectangle", [])
    order = np.argsort([one.score.iou for one in engine], kind="stable")
    rows = [
        _row(folder, cases[at], engine[at], plain[at] if plain else None)
        for at in order
    ]
    page = folder / "index.html"
    page.write_text(f"{HEAD}<pre>{escape(table)}</pre>{''.join(rows)}")
    return page


def _row(folder: Path, case: Case, engine: Scored, plain: Scored | None) -> str:
    pictures = {"photo": case.photo}
    pictures |= {ground: on(engine.cutout, ground) for ground in GROUNDS}
    pictures["accepted"] = on(np.dstack([case.photo, case.alphas[0]]), "magenta")
    if plain is not None:
        pictures["rectangle"] = on(plain.cutout, "magenta")
    for kind, picture in pictures.items():
        _save(folder / f"{case.name}.{kind}.jpg", picture)
    told = f"IoU {engine.score.iou:.3f}, alpha error {engine.score.error:.4f}, "
    told += f"{engine.details}" + (
        f"; rectangle {plain.score.iou:.3f}" if plain else ""
    )
    images = "".join(
        f'<img src="{case.name}.{kind}.jpg" title="{kind}">' for kind in pictures
    )
    flag = "flagged" if engine.uncertain else ""
    return f'<p class="{flag}"><b>{case.name}</b> {escape(told)}<br>{images}\n'


def on(cutout: Pixels, ground: str) -> Pixels:
    """An RGBA cut-out on a plain ground, at most as large as the page shows it."""
    alpha = cutout[..., 3:].astype(np.float32) / 255
    mixed = alpha * cutout[..., :3] + (1 - alpha) * np.array(
        GROUNDS[ground], np.float32
    )
    return mixed.round().astype(np.uint8)


def _save(path: Path, picture: Pixels) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
    cv2.imwrite(str(path), shrink(picture, SIDE_PX)[..., ::-1], quality)
