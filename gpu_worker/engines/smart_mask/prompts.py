"""What somebody pointed at, in pixels of the upright image, held against its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_worker import pixels
from gpu_worker.engines.base import Input, Item
from gpu_worker.engines.imaging import layers
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

Size = tuple[int, int]
"""(width, height) in pixels."""
Box = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max."""
Mask = NDArray[np.bool_]

# CONTRACTS of the replaced editor: what is lighter than this guides.
GUIDES_ABOVE = 100
# A mask of these proportions fits; another belongs to another picture.
MOST_STRETCH = 1.02
LEAST_BOX_PX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place, and whether it is on the object or beside it."""

    x: float
    y: float
    on_object: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """All that was said. Nothing at all asks for the subject to be found.

    `guide` is True where the guiding mask marks, at any size.
    """

    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    guide: Mask | None = None

    def __bool__(self) -> bool:
        return bool(self.points or self.boxes or self.guide is not None)


def read(item: Item, size: Size) -> Prompt:
    """The prompt of a job on an image of this size.

    Raises InvalidParameters for what does not go with the image, or for no prompt.
    """
    wanted = item.parameters
    auto = wanted.get("auto", False)
    boxes = [_box(one, size) for one in _boxes(wanted)]
    prompt = Prompt(
        points=_points(wanted, size, boxes),
        boxes=tuple(boxes),
        guide=_guide(item.inputs, size, optional=auto),
    )
    if not prompt and not auto:
        raise InvalidParameters("Give points, a box or a mask, or ask for auto.")
    if not _says_where(prompt):
        raise InvalidParameters("At least one point must be on the object.")
    return prompt


def _says_where(prompt: Prompt) -> bool:
    """Whether more is said than what the object is not."""
    if not prompt.points or prompt.boxes or prompt.guide is not None:
        return True
    return any(one.on_object for one in prompt.points)


def _boxes(wanted: dict[str, Any]) -> list[Sequence[float]]:
    return [wanted["box"]] if "box" in wanted else wanted.get("boxes", [])


def _box(given: Sequence[float], size: Size) -> Box:
    left, top, right, bottom = given
    box = left, top, min(right, size[0]), min(bottom, size[1])
    if left >= right or top >= bottom:
        raise InvalidParameters("A box is [x_min, y_min, x_max, y_max].")
    if box[2] - left < LEAST_BOX_PX or box[3] - top < LEAST_BOX_PX:
        raise InvalidParameters(
            f"The box {_text(given)} has nothing of the image, which is "
            f"{size[0]} x {size[1]} pixels."
        )
    return box


def _points(
    wanted: dict[str, Any], size: Size, boxes: Sequence[Box]
) -> tuple[Point, ...]:
    given = wanted.get("points", [])
    labels = wanted.get("labels", [1] * len(given))
    if len(labels) != len(given):
        raise InvalidParameters(
            f"There are {len(given)} points and {len(labels)} labels."
        )
    pairs = zip(given, labels, strict=True)
    return tuple(_point(one, bool(label), size, boxes) for one, label in pairs)


def _point(
    given: Sequence[float], on_object: bool, size: Size, boxes: Sequence[Box]
) -> Point:
    x, y = given
    if x >= size[0] or y >= size[1]:
        raise InvalidParameters(
            f"The point {_text(given)} is outside the image, which is "
            f"{size[0]} x {size[1]} pixels."
        )
    if on_object and boxes and not any(holds(box, x, y) for box in boxes):
        raise InvalidParameters(f"The point {_text(given)} is outside the box.")
    return Point(x=x, y=y, on_object=on_object)


def holds(box: Box, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _guide(inputs: Sequence[Input], size: Size, *, optional: bool) -> Mask | None:
    """What the guiding mask marks; None where there is none, or an empty one that
    nothing depends on."""
    given = next((one for one in inputs if one.role == "mask"), None)
    if given is None:
        return None
    guide = _grey(pixels.decode(given.path)) > GUIDES_ABOVE
    stretch = guide.shape[1] / guide.shape[0] / (size[0] / size[1])
    if max(stretch, 1 / stretch) > MOST_STRETCH:
        raise InvalidParameters(
            f"The mask is {guide.shape[1]} x {guide.shape[0]} pixels: other "
            f"proportions than those of the image, {size[0]} x {size[1]}."
        )
    if guide.any():
        return guide
    if optional:
        return None
    raise InvalidParameters("The mask marks nothing in the image.")


def _grey(mask: Pixels) -> Pixels:
    """How light it is, or its alpha where it has one."""
    return layers.mask_like(mask, mask)


def _text(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{one:g}' for one in numbers)}]"
