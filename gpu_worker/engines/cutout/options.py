"""What clients ask of a cut-out, done around the engine, so that it is the same
whatever the engine was.

    picture   before it: the part of the image that it has to look at
    finish    after it: place, crop, shadow, background, channels, zip

The parameters and their source: `gpu_worker.engines.parameters.removebg`. An engine
may as well cut out the whole image: what is outside the region of interest is emptied,
and what is too large made smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpu_worker import pixels
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Input, Item, Picture, Result
from gpu_worker.engines.cutout import apart, grounds, placing
from gpu_worker.engines.imaging import layers
from gpu_worker.engines.parameters.removebg import SIZES
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a job's picture is. `width_px` and `height_px` are those of the picture
    that is worked on, `box` is the region of interest in it."""

    width_px: int
    height_px: int
    box: layers.Box

    @property
    def is_whole(self) -> bool:
        return self.box == (slice(0, self.height_px), slice(0, self.width_px))


def picture(item: Item) -> Pixels:
    """What an engine has to look at: the upright image, (H, W, 3) or (H, W, 4), in the
    size asked for, of the region of interest alone. Raises WorkerError."""
    frame = frame_of(item)
    wanted = frame.width_px, frame.height_px
    whole = pixels.decode(image_of(item).path, enough_px=wanted)
    return np.ascontiguousarray(geometry.resized(whole, *wanted)[frame.box])


def finish(item: Item, made: Sequence[Result | Picture]) -> list[Result | Picture]:
    """The cut-outs as they were asked for. A file that an engine made stays."""
    return [one if isinstance(one, Result) else _finished(item, one) for one in made]


def frame_of(item: Item) -> Frame:
    """Raises InvalidImage, and InvalidParameters for an empty region of interest."""
    width_px, height_px = pixels.upright_size(image_of(item).path)
    most = SIZES[item.parameters.get("size", "auto")]
    scale = min(1.0, (most / (width_px * height_px)) ** 0.5)
    size = max(1, int(width_px * scale)), max(1, int(height_px * scale))
    region = item.parameters.get("roi", "0% 0% 100% 100%").split()
    places = [
        _place(text, of_px=(width_px, height_px)[axis % 2]) * size[axis % 2]
        for axis, text in enumerate(region)
    ]
    left, top, right, bottom = (round(place) for place in places)
    if right <= left or bottom <= top:
        raise InvalidParameters("The roi is empty: there is nothing to cut out.")
    box = slice(top, bottom), slice(left, right)
    return Frame(width_px=size[0], height_px=size[1], box=box)


def image_of(item: Item) -> Input:
    return next(one for one in item.inputs if one.role == "image")


def _place(text: str, *, of_px: int) -> float:
    """A coordinate as a share of the side, 0 to 1; what is beyond it is its end."""
    if text.endswith("%"):
        return float(text.removesuffix("%")) / 100
    return min(1.0, int(text.removesuffix("px")) / of_px)


def _finished(item: Item, made: Picture) -> Result | Picture:
    wanted, frame, details = item.parameters, frame_of(item), dict(made.details)
    cutout = _in_frame(made.pixels, frame)
    has_shadow = False
    if wanted.get("add_shadow"):
        has_shadow = details["shadow"] = grounds.stands(cutout[frame.box])
    cutout = _placed(cutout, wanted, has_shadow=has_shadow)
    if wanted.get("channels") == "alpha":
        return replace(made, pixels=cutout[..., 3], details=details)
    shown = _on_ground(cutout, item, has_shadow=has_shadow)
    if wanted.get("format") == "zip" and not item.steps:
        return apart.zipped(shown, details)
    return replace(made, pixels=shown, details=details)


def _in_frame(shown: Pixels, frame: Frame) -> Pixels:
    """RGBA of the frame's size, empty outside the region of interest."""
    cutout = shown
    if layers.alpha(shown) is None:
        cutout = layers.with_alpha(shown, np.full(shown.shape[:2], 255, np.uint8))
    if frame.is_whole:
        return geometry.resized(cutout, frame.width_px, frame.height_px)
    empty = np.zeros((frame.height_px, frame.width_px, 4), np.uint8)
    inside = empty[frame.box]
    if cutout.shape != inside.shape:
        cutout = geometry.resized(cutout, frame.width_px, frame.height_px)[frame.box]
    inside[:] = cutout
    return empty


def _placed(cutout: Pixels, wanted: dict[str, Any], *, has_shadow: bool) -> Pixels:
    if wanted.get("crop"):
        room = grounds.shadow_room(cutout) if has_shadow else placing.Sides()
        return placing.cropped(cutout, wanted.get("crop_margin", "0"), room)
    scale, position = wanted.get("scale", "original"), wanted.get("position")
    return placing.placed(cutout, scale, position)


def _on_ground(cutout: Pixels, item: Item, *, has_shadow: bool) -> Pixels:
    """The cut-out over its shadow over its background; RGB where that is solid."""
    height, width = cutout.shape[:2]
    ground = None
    for given in item.inputs:
        if given.role == "bg_image":
            ground = grounds.image(given.path, width, height)
    if "bg_color" in item.parameters:
        ground = grounds.plain(item.parameters["bg_color"], width, height)
    if has_shadow:
        ground = grounds.shadowed(cutout, ground)
    return cutout if ground is None else layers.over(cutout, ground)
