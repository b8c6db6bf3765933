"""shadow: the soft shadow of an object on the ground behind it.

The object's mask, moved, fading from its foot to its top, blurred, is what darkens. It
is laid under the object as a picture of its own, so that it also works on nothing: the
backdrop comes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from gpu_worker.engines import geometry, limits
from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import layers
from gpu_worker.pixels import Pixels

# Without a mask and without alpha, all that is not nearly white is the object.
WHITE_FROM = 250
# Wider blurs are made on a smaller picture: no difference to be seen, and fast.
WIDEST_KERNEL_PX = 41


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """How a shadow falls. Lengths in pixels; `opacity` 0 to 1."""

    right: int = 3
    down: int = 5
    opacity: float = 0.4
    kernel: int = 21
    fades: bool = True

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> Cast:
        floating = parameters.get("floating_height", 0)
        width = parameters.get("blur_radius", 21) * (1 + 0.3 * floating / 50)
        return cls(
            right=parameters.get("offset_x", 3),
            down=parameters.get("offset_y", 5) + floating,
            opacity=parameters.get("opacity", 0.4),
            kernel=int(width) | 1,
            fades=parameters.get("ground_bias", True),
        )


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The object over its shadow, transparent elsewhere or on the backdrop.

    Raises InvalidParameters where there is no object, LimitExceeded.
    """
    cast = Cast.of(parameters)
    top = object_of(picture.pixels, others.get("mask"))
    if parameters.get("expand"):
        top = expanded(top, cast)
    ground = np.zeros_like(top)
    ground[..., 3] = shade(top[..., 3], cast)
    if "backdrop" in parameters:
        plain = layers.plain(top, geometry.colour(parameters["backdrop"]))
        ground = layers.over(ground, plain)
    return replace(picture, pixels=layers.over(top, ground))


def object_of(shown: Pixels, mask: Picture | None) -> Pixels:
    """(H, W, 4): the object by the mask, the image's own alpha, or as what is not
    white."""
    if mask is not None:
        opacity = layers.mask_like(shown, mask.pixels)
    else:
        own = layers.alpha(shown)
        opacity = _not_white(shown) if own is None else own
    return layers.with_alpha(shown, opacity)


def shade(opacity: Pixels, cast: Cast) -> Pixels:
    """(H, W): the alpha of the shadow that an object of this alpha casts.

    Raises InvalidParameters where there is no object.
    """
    marked = opacity[layers.marked_box(opacity)] > layers.MARKED
    fading = np.linspace(0 if cast.fades else 255, 255, len(marked)).astype(np.uint8)
    solid: Pixels = marked * fading[:, None]
    soft = cast.kernel // 2
    spread = cv2.copyMakeBorder(solid, *(soft,) * 4, cv2.BORDER_CONSTANT)
    spread = blurred(spread, cast.kernel)
    made = np.zeros_like(opacity)
    rows, columns = reached(opacity, cast)
    place = _inside(rows, made.shape[0]), _inside(columns, made.shape[1])
    seen = (
        slice(place[0].start - rows.start, place[0].stop - rows.start),
        slice(place[1].start - columns.start, place[1].stop - columns.start),
    )
    made[place] = cv2.convertScaleAbs(spread, alpha=cast.opacity)[seen]
    return made


def reached(opacity: Pixels, cast: Cast) -> layers.Box:
    """Rows and columns that the shadow covers, also beyond the picture."""
    rows, columns = layers.marked_box(opacity)
    soft = cast.kernel // 2
    return (
        slice(rows.start + cast.down - soft, rows.stop + cast.down + soft),
        slice(columns.start + cast.right - soft, columns.stop + cast.right + soft),
    )


def expanded(top: Pixels, cast: Cast) -> Pixels:
    """The picture with as much room around as its shadow needs. Raises
    LimitExceeded."""
    height, width = top.shape[:2]
    rows, columns = reached(top[..., 3], cast)
    above, below = max(0, -rows.start), max(0, rows.stop - height)
    before, after = max(0, -columns.start), max(0, columns.stop - width)
    limits.check(width + before + after, height + above + below)
    room = above, below, before, after
    return cv2.copyMakeBorder(top, *room, cv2.BORDER_CONSTANT)


def blurred(picture: Pixels, kernel: int) -> Pixels:
    """Gaussian, with the width that OpenCV means by a kernel of so many pixels."""
    factor = -(-kernel // WIDEST_KERNEL_PX)
    if factor == 1:
        return cv2.GaussianBlur(picture, (kernel, kernel), 0)
    height, width = picture.shape
    size = max(1, width // factor), max(1, height // factor)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    narrow = kernel // factor | 1
    small = cv2.GaussianBlur(small, (narrow, narrow), 0)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _inside(span: slice, length: int) -> slice:
    return slice(min(length, max(0, span.start)), min(length, max(0, span.stop)))


def _not_white(shown: Pixels) -> Pixels:
    """Alpha of what is not white, nor enclosed by it: a white shirt is no hole."""
    white = (layers.colours(shown).min(axis=2) >= WHITE_FROM).astype(np.uint8)
    count, labels = cv2.connectedComponents(white, connectivity=4)
    border = np.concatenate(
        [labels[0], labels[-1], labels[:, 0], labels[:, -1]], dtype=np.int32
    )
    outside = np.zeros(count, bool)
    outside[border] = True
    outside[0] = False
    return np.where(outside, np.uint8(0), np.uint8(255))[labels]
