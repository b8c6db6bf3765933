"""What a network is asked, between the child that reads it and the device.

`arrays` makes it in a child, from the job's files and parameters; `asked` reads it back
beside the device. Places are shares of the image's sides, so that they fit the image at
any size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.base import Item
from gpu_worker.pixels import Pixels

Floats = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]

GUIDE_SIDE_PX = 256
# The editor that this replaces took as many points from a stroke.
MOST_STROKE_POINTS = 10
# Points for a network to find what paint is a part of; all are deep within it.
MOST_INNER_POINTS = 5


def _no_points() -> Floats:
    return np.zeros((0, 3), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One image and what was pointed at in it.

    `rgb`: uint8 (height, width, 3). `points`: float32 (n, 3), x, y and 1 on the object
    or 0 beside it. `boxes`: float32 (n, 4), x_min, y_min, x_max, y_max. `guide`: uint8
    (height, width) of its own size, 1 where the object was painted over. `inner`: as
    `points`, some that are on the object even if only a part of it was painted.
    """

    rgb: Pixels
    points: Floats
    boxes: Floats
    guide: Pixels | None = None
    inner: Floats = field(default_factory=_no_points)

    def objects(self) -> list[Object]:
        """One for each box; else the one that the points, the guide or nothing mean.

        A point on the object belongs to the boxes that hold it, one beside to all.
        """
        if len(self.boxes) == 0:
            return [Object(points=self.points, guide=self.guide, inner=self.inner)]
        return [
            Object(
                points=_of_box(self.points, box),
                box=box,
                guide=self.guide,
                inner=_of_box(self.inner, box),
            )
            for box in self.boxes
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """What was said of one object. Nothing at all: the image's subject is meant."""

    points: Floats
    box: Floats | None = None
    guide: Pixels | None = None
    inner: Floats = field(default_factory=_no_points)

    def as_part(self) -> Object:
        """The same, with paint that is on the object and does not say how far it
        reaches."""
        return replace(
            self, points=np.concatenate([self.points, self.inner]), guide=None
        )

    @property
    def is_subject(self) -> bool:
        return self.box is None and self.guide is None and len(self.points) == 0


def asked(arrays: Arrays) -> Asked:
    """What `arrays` made."""
    return Asked(
        rgb=arrays["rgb"],
        points=arrays["points"],
        boxes=arrays["boxes"],
        guide=arrays.get("guide"),
        inner=arrays.get("inner", _no_points()),
    )


def arrays(item: Item, side_px: int) -> Arrays:
    """In a child: the image, its long side at most `side_px`, and the prompt.

    Raises InvalidImage, and InvalidParameters for a prompt that does not go with it.
    """
    from gpu_worker.engines.cutout.subject import shrink
    from gpu_worker.engines.smart_mask import cutting, prompts, source

    image = source.read(item.inputs[0].path)
    prompt = prompts.read(item, image.size_px)
    width, height = image.size_px
    points = [(one.x / width, one.y / height, one.on_object) for one in prompt.points]
    made: Arrays = {"rgb": shrink(image.rgb, side_px)}
    if prompt.guide is not None and cutting.is_painted(prompt.guide):
        made["guide"] = _small(prompt.guide)
        inner = _along(cutting.core(made["guide"] > 0), MOST_INNER_POINTS)
        made["inner"] = np.array([(x, y, 1) for x, y in inner], np.float32)
    elif prompt.guide is not None:
        strokes = _along(prompt.guide, MOST_STROKE_POINTS)
        points += [(x, y, True) for x, y in strokes]
    made["points"] = np.array(points, np.float32).reshape(-1, 3)
    sides = np.array([width, height, width, height], np.float32)
    made["boxes"] = np.array(prompt.boxes, np.float32).reshape(-1, 4) / sides
    return made


def _of_box(points: Floats, box: Floats) -> Floats:
    x, y, on_object = points.T
    within = (x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3])
    return points[within | (on_object == 0)]


def _small(guide: NDArray[np.bool_]) -> Pixels:
    import cv2

    scale = min(1.0, GUIDE_SIDE_PX / max(guide.shape))
    size = max(1, round(guide.shape[1] * scale)), max(1, round(guide.shape[0] * scale))
    whole = guide.astype(np.uint8) * 255
    small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA) > 127
    return small.astype(np.uint8)


def _along(guide: NDArray[np.bool_], most: int) -> list[tuple[float, float]]:
    """Points spread over paint: each next one is the farthest from those before, the
    first the deepest within."""
    import cv2

    depth = cv2.distanceTransform(guide.astype(np.uint8), cv2.DIST_L2, 3)
    # The middle of a stroke, not its rim.
    rows, columns = np.nonzero(depth >= 0.6 * min(depth.max(), 4.0))
    places = np.stack([columns, rows], axis=1).astype(np.float32)
    chosen = [int(np.argmax(depth[rows, columns]))]
    far = np.linalg.norm(places - places[chosen[0]], axis=1)
    least = 0.02 * max(guide.shape)
    while len(chosen) < most and far.max() > least:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(places - places[chosen[-1]], axis=1))
    shares = (places[chosen] + 0.5) / np.array(guide.shape[::-1], np.float32)
    return [(float(x), float(y)) for x, y in shares]
