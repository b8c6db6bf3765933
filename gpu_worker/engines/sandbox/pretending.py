"""What stands for a model in the sandbox: cheap, plausible, always the same.

Pictures come unmarked from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from gpu_worker import pixels, registry
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Engine, Hooks, Item, Picture, Result
from gpu_worker.engines.cutout import options
from gpu_worker.engines.imaging import layers, running
from gpu_worker.engines.parameters import edit as editing
from gpu_worker.engines.sandbox import painting
from gpu_worker.errors import InvalidParameters, WorkerError
from gpu_worker.pixels import Pixels

OWN = {"upscale": "classical", "smart-mask": "classical"}
"""The engines that do their work here, too, where that is not `imaging`."""

SMALL_PX = 160
INSET = 0.06
LEAST_SHARE, MOST_SHARE = 0.03, 0.9
WASH = 0.1
PAINTED = 0.7
WHITE = (255, 255, 255)


def generate(item: Item) -> tuple[Picture, ...]:
    """Painted pictures; `details` say with which seeds."""
    wanted = item.parameters
    size = wanted["width"], wanted["height"]
    return tuple(
        Picture(
            pixels=painting.paint(wanted["prompt"], size, seed), details={"seed": seed}
        )
        for seed in _seeds(wanted)
    )


def edit(item: Item) -> tuple[Picture, ...]:
    """The first image in the result's size, and something new under the mask."""
    wanted = item.parameters
    if lacking := editing.missing(wanted, {one.role for one in item.inputs}):
        raise InvalidParameters(f"This task needs an image as {' and '.join(lacking)}.")
    picture = running.read(item.inputs[0])
    height, width = picture.pixels.shape[:2]
    size = editing.size_px((width, height), wanted)
    given = layers.colours(geometry.resized(picture.pixels, *size))
    mask = _mask(item, given)
    return tuple(
        Picture(pixels=_edited(given, mask, wanted, seed), details={"seed": seed})
        for seed in _seeds(wanted)
    )


def _seeds(wanted: dict[str, Any]) -> list[int]:
    """One seed for each result, the first as it was asked for."""
    said = wanted.get("prompt", ""), wanted.get("negative_prompt", "")
    first = wanted.get("seed", painting.seed_of(*said))
    return [(first + number) % 2**31 for number in range(wanted.get("n", 1))]


def _mask(item: Item, picture: Pixels) -> Pixels | None:
    for one in item.inputs:
        if one.role == "mask":
            return layers.mask_like(picture, running.read(one).pixels)
    return None


def _edited(
    given: Pixels, mask: Pixels | None, wanted: dict[str, Any], seed: int
) -> Pixels:
    height, width = given.shape[:2]
    painted = painting.paint(wanted.get("prompt", ""), (width, height), seed)
    washed = cv2.addWeighted(painted, WASH, given, 1 - WASH, 0)
    if mask is None:
        return washed
    new = cv2.addWeighted(painted, PAINTED, given, 1 - PAINTED, 0)
    where = mask > layers.MARKED
    given = given.copy()
    given[where] = new[where]
    return given


def removebg(item: Item) -> tuple[Picture, ...]:
    """What GrabCut finds within a frame, at a small size."""
    colours = options.picture(item)
    if layers.alpha(colours) is not None:
        colours = pixels.flatten(colours, WHITE)
    colours = layers.colours(colours)
    cutout = layers.with_alpha(colours, _subject(colours))
    details = {"confidence": 0.5, "uncertain": False}
    return (Picture(pixels=cutout, details=details),)


def _subject(picture: Pixels) -> Pixels:
    """(H, W), soft at its edges; an ellipse where nothing stands out."""
    height, width = picture.shape[:2]
    scale = min(1.0, SMALL_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    found = _cut(small)
    if not LEAST_SHARE <= found.mean() <= MOST_SHARE:
        found = _ellipse(size)
    soft = cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC)
    return (np.clip((soft - 0.3) / 0.4, 0, 1) * 255).astype(np.uint8)


def _cut(small: Pixels) -> np.ndarray[Any, np.dtype[np.float32]]:
    height, width = small.shape[:2]
    across, down = round(width * INSET), round(height * INSET)
    if min(across, down) < 1:
        return np.zeros((height, width), np.float32)
    frame = (across, down, width - 2 * across, height - 2 * down)
    cv2.setRNGSeed(0)  # its clusters begin at random
    mask = np.zeros((height, width), np.uint8)
    models = np.zeros((2, 65))
    cv2.grabCut(
        np.ascontiguousarray(small),
        mask,
        frame,
        models[:1],
        models[1:],
        2,
        cv2.GC_INIT_WITH_RECT,
    )
    found = (mask & 1).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, disc)
    return cv2.morphologyEx(found, cv2.MORPH_CLOSE, disc).astype(np.float32)


def _ellipse(size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    width, height = size
    drawn = np.zeros((height, width), np.float32)
    centre, axes = (width // 2, height // 2), (width * 3 // 8, height * 3 // 8)
    cv2.ellipse(drawn, centre, axes, 0, 0, 360, 1.0, cv2.FILLED)
    return drawn


MAKERS: dict[str, Callable[[Item], tuple[Picture, ...]]] = {
    "removebg": removebg,
    "generate": generate,
    "edit": edit,
}


def make(item: Item, hooks: Hooks) -> tuple[Picture, ...]:
    """The pictures that stand for the result of the item's operation.

    Where an operation's own engine is as cheap as anything that could stand for it, it
    does the work. Raises WorkerError.
    """
    if item.operation in MAKERS:
        return MAKERS[item.operation](item)
    [outcome] = _own(item.operation).run([item], hooks)
    if isinstance(outcome, WorkerError):
        raise outcome
    return tuple(_picture(one) for one in outcome)


@cache
def _own(operation: str) -> Engine:
    engine: Any = registry.engine_class((operation, OWN.get(operation, "imaging")))()
    engine.load()
    loaded: Engine = engine
    return loaded


def _picture(made: Result | Picture) -> Picture:
    if isinstance(made, Picture):
        return made
    return replace(pixels.read(made.data), details=made.details)
