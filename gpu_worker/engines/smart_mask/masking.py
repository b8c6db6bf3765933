"""One smart-mask job: the image, what was pointed at, the mask and what it says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from gpu_worker.engines.base import Hooks, Item, Picture
from gpu_worker.engines.cutout import subject
from gpu_worker.engines.smart_mask import cutting, outline, prompts, source
from gpu_worker.engines.smart_mask.cutting import Cut
from gpu_worker.engines.smart_mask.outline import Change
from gpu_worker.engines.smart_mask.prompts import Prompt
from gpu_worker.engines.smart_mask.source import Source
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

ON_OBJECT = 128

cv2.setNumThreads(1)  # a slot is one core


def mask(item: Item, hooks: Hooks) -> Picture:
    """The mask of what the item points at. Raises WorkerError."""
    hooks.progress(item, 0, 2, "decoding")
    image = source.read(item.inputs[0].path)
    prompt = prompts.read(item, image.size_px)
    hooks.progress(item, 1, 2, "finding the object")
    cuts = find(image, prompt)
    wanted = item.parameters
    change = Change(
        grow_px=wanted.get("border_adjustment", 0), blur=wanted.get("blur", False)
    )
    made = outline.drawn(image, cuts, change)
    return Picture(pixels=made, details=details(made, scores_of(cuts)))


def scores_of(cuts: list[Cut]) -> list[float]:
    return [cut.score for cut in cuts]


def find(image: Source, prompt: Prompt) -> list[Cut]:
    """What the prompt points at: one cut for each box, else one."""
    if not prompt:
        return [_subject(image)]
    return [cutting.cut(image, prompt, box) for box in prompt.boxes or (None,)]


def _subject(image: Source) -> Cut:
    found = subject.find(image.rgb)
    if not found.mask.any():
        raise InvalidParameters("No subject was found: point at it.")
    height, width = image.rgb.shape[:2]
    return Cut(place=(0, 0, width, height), mask=found.mask, score=found.confidence)


def details(made: Pixels, scores: Iterable[float]) -> dict[str, Any]:
    """The worst of the scores; the box and the area of what the mask shows."""
    on_object = made >= ON_OBJECT
    rows, columns = (
        np.flatnonzero(on_object.any(axis=1)),
        np.flatnonzero(on_object.any(axis=0)),
    )
    box = None
    if len(rows):
        sides = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        box = [int(one) for one in sides]
    return {
        "score": round(float(min(scores)), 3),
        "box": box,
        "area_px": int(np.count_nonzero(on_object)),
    }
