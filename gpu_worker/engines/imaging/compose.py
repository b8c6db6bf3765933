"""compose: a picture, as a rule a cut-out, on a colour, a gradient or another picture.

From the ground up: the colour or gradient, the reference image, the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines import geometry, limits
from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import layers
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

Size = tuple[int, int]
"""Width and height in pixels."""


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The picture on its background. Raises InvalidParameters without one, and
    LimitExceeded."""
    reference = others.get("reference")
    if reference is None and not {"color", "gradient"} & parameters.keys():
        raise InvalidParameters("There is no color, no gradient and no reference.")
    subject = picture.pixels
    if parameters.get("trim") and layers.alpha(subject) is not None:
        subject = geometry.trimmed(subject, 0)
    under = subject if reference is None else reference.pixels
    ground = filling(canvas_size(size_of(under), parameters), parameters)
    if reference is not None:
        ground = fitted(reference.pixels, ground, parameters.get("fit", "cover"))
    made = placed(subject, ground, parameters)
    return replace(picture, pixels=layers.without_full_alpha(made))


def size_of(picture: Pixels) -> Size:
    return picture.shape[1], picture.shape[0]


def canvas_size(under: Size, parameters: dict[str, Any]) -> Size:
    """The size of the result: `under` where nothing is said. Raises LimitExceeded."""
    width, height = under
    if "width" in parameters:
        width = parameters["width"]
        height = _side(under[1] * width / under[0])
    if "height" in parameters:
        height = parameters["height"]
        width = parameters.get("width") or _side(under[0] * height / under[1])
    limits.check(width, height)
    return width, height


def filling(size: Size, parameters: dict[str, Any]) -> Pixels:
    """The lowest layer: RGB, or RGBA and clear where neither is asked for."""
    width, height = size
    if "gradient" in parameters:
        return gradient(size, parameters["gradient"])
    if "color" in parameters:
        colour = geometry.colour(parameters["color"])
        return np.full((height, width, 3), colour, np.uint8)
    return np.zeros((height, width, 4), np.uint8)


def gradient(size: Size, wanted: dict[str, Any]) -> Pixels:
    """(H, W, 3), as CSS draws one: a linear one reaches its ends in the corners."""
    colours = np.array([geometry.colour(one) for one in wanted["colors"]], np.float32)
    stops = np.linspace(0, 1, len(colours))
    made = np.empty((size[1], size[0], 3), np.uint8)
    for rows in layers.strips(made):
        share = _shares(size, rows, wanted)
        for channel in range(3):
            levels = np.interp(share, stops, colours[:, channel])
            made[rows, :, channel] = levels.round()
    return made


def fitted(reference: Pixels, ground: Pixels, fit: str) -> Pixels:
    """The reference on the ground: covering it, whole in its middle, or stretched."""
    canvas, own = size_of(ground), size_of(reference)
    factors = canvas[0] / own[0], canvas[1] / own[1]
    if fit != "fill":
        factors = ((max if fit == "cover" else min)(factors),) * 2
    size = _side(own[0] * factors[0]), _side(own[1] * factors[1])
    if fit == "cover":
        reference = _middle(reference, canvas, factors[0])
        size = canvas
    return laid(geometry.resized(reference, *size), ground, (0.5, 0.5))


def placed(subject: Pixels, ground: Pixels, parameters: dict[str, Any]) -> Pixels:
    """The subject in its size at its place."""
    canvas, own = size_of(ground), size_of(subject)
    fits = min(canvas[0] / own[0], canvas[1] / own[1])
    factor = min(1.0, fits)
    if "scale" in parameters:
        factor = fits * parameters["scale"]
    subject = geometry.resized(subject, _side(own[0] * factor), _side(own[1] * factor))
    at = parameters.get("x", 0.5), parameters.get("y", 0.5)
    return laid(subject, ground, at)


def laid(top: Pixels, ground: Pixels, at: tuple[float, float]) -> Pixels:
    """A picture on one that is no smaller; `at` 0 is at the left or top, 1 at the right
    or bottom. The ground is used up."""
    left = round((ground.shape[1] - top.shape[1]) * at[0])
    top_row = round((ground.shape[0] - top.shape[0]) * at[1])
    place = ground[top_row : top_row + top.shape[0], left : left + top.shape[1]]
    if layers.alpha(top) is None:
        place[..., :3] = layers.colours(top)
        place[..., 3:] = 255
    else:
        place[:] = layers.over(top, place)
    return ground


def _middle(reference: Pixels, canvas: Size, factor: float) -> Pixels:
    """The part of the reference that will be seen."""
    width, height = size_of(reference)
    seen = _side(canvas[0] / factor), _side(canvas[1] / factor)
    left, top = (width - seen[0]) // 2, (height - seen[1]) // 2
    return reference[top : top + seen[1], left : left + seen[0]]


def _shares(size: Size, rows: slice, wanted: dict[str, Any]) -> NDArray[np.float64]:
    """How far along the gradient each pixel of some rows is: 0 to 1."""
    right = (np.arange(size[0]) + 0.5 - size[0] / 2)[None, :]
    down = (np.arange(rows.start, rows.stop) + 0.5 - size[1] / 2)[:, None]
    if wanted.get("shape") == "radial":
        return np.hypot(right, down) / (np.hypot(*size) / 2)
    angle = np.radians(wanted.get("angle", 180))
    along = abs(size[0] * np.sin(angle)) + abs(size[1] * np.cos(angle))
    return 0.5 + (right * np.sin(angle) - down * np.cos(angle)) / along


def _side(length: float) -> int:
    return max(1, round(length))
