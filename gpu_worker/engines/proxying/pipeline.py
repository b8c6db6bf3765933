"""From a source to a file, step by step.

decode · turn upright · trim · crop · resize · rotate · flip · greyscale · blur,
sharpen, pixelate · extend · pad · watermark · background · encode
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gpu_worker import pixels
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Item, Picture, Result
from gpu_worker.engines.imaging import layers, output
from gpu_worker.engines.proxying import marks, sizes
from gpu_worker.engines.proxying.sizes import CENTRE, Plan, Recipe, Size
from gpu_worker.errors import InvalidImage
from gpu_worker.pixels import Pixels, header, libvips
from gpu_worker.pixels.arrays import upright

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels and parts of them."""

# Of the older service, whose addresses these are.
QUALITY = {"jpeg": 75, "webp": 82, "avif": 80}
CLEAR = ("png", "webp", "avif", "gif")
"""Formats that hold transparency."""
MAGENTA = "ff00ff"
"""What transparency counts as where a border is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file to read: `size` is that of the upright picture. Its profile and what it
    says of itself are kept where the result shall have them."""

    path: Path
    size: Size
    kind: str
    keep_profile: bool
    keep_metadata: bool

    def read(self, enough_px: Size | None = None) -> Picture:
        return pixels.read(
            self.path,
            enough_px=enough_px,
            keep_profile=self.keep_profile,
            keep_metadata=self.keep_metadata,
        )


def make(item: Item) -> Result:
    """The item's picture as a file. Raises WorkerError."""
    recipe = item.parameters
    source = _source(item.inputs[0].path, recipe)
    read, plan = _sized(source, recipe)
    picture = _turned(read.pixels, recipe)
    picture = _filtered(picture, recipe)
    kind = _kind(source, recipe, picture)
    ground = recipe.get("background") or ("" if kind in CLEAR else "ffffff")
    picture = _extended(picture, plan, recipe, ground)
    picture = _padded(picture, plan, recipe, ground)
    if "watermark" in recipe:
        mark = pixels.decode(item.inputs[1].path)
        picture = marks.put(picture, mark, recipe["watermark"], plan.dpr)
    if ground and picture.shape[2] == 4:
        picture = pixels.flatten(picture, geometry.colour(ground))
    return _encoded(replace(read, pixels=picture), kind, recipe)


def _source(path: Path, recipe: Recipe) -> Source:
    return Source(
        path=path,
        size=pixels.upright_size(path),
        kind=_kind_of(path),
        keep_profile=not recipe.get("strip_color_profile", True),
        keep_metadata=not recipe.get("strip_metadata", True),
    )


_BACK = {6: 8, 8: 6}
"""What undoes an orientation; the others undo themselves."""
_MAGIC = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG", "png"),
    (8, b"WEBP", "webp"),
    (0, b"GIF8", "gif"),
    (4, b"ftypavif", "avif"),
)


def _kind_of(path: Path) -> str:
    """The format of a file, if we can write it too; else ''."""
    with path.open("rb") as file:
        head = file.read(16)
    found = (kind for at, magic, kind in _MAGIC if head[at:].startswith(magic))
    return next(found, "")


# Size


def _sized(source: Source, recipe: Recipe) -> tuple[Picture, Plan]:
    """The part of the source that is wanted, at its size."""
    if "trim" in recipe or not recipe.get("auto_rotate", True):
        read = _whole(source, recipe)
        whole = _trimmed(read.pixels, recipe)
        wanted = _wanted(_size(whole), recipe)
        plan = sizes.plan(wanted, recipe)
        source_px = _size(whole)
    else:
        wanted = _wanted(source.size, recipe)
        plan = sizes.plan(wanted, recipe)
        read = source.read(_enough(source.size, wanted, plan))
        whole, source_px = _coloured(read.pixels), source.size
    whole = layers.without_full_alpha(whole)
    box = (0.0, 0.0, float(whole.shape[1]), float(whole.shape[0]))
    if "crop" in recipe:
        whole, box = _cropped(whole, source_px, wanted, recipe)
    gravity = recipe.get("gravity", CENTRE)
    return replace(read, pixels=_scaled(whole, box, plan, gravity)), plan


def _wanted(source_px: Size, recipe: Recipe) -> Size:
    if "crop" not in recipe:
        return source_px
    return sizes.area(source_px, recipe["crop"])


def _enough(source: Size, wanted: Size, plan: Plan) -> Size:
    """What the whole must have at least, so that the wanted part has enough."""
    width, height = (
        math.ceil(scaled * whole / part)
        for scaled, whole, part in zip(plan.scaled, source, wanted, strict=True)
    )
    return width, height


def _cropped(
    picture: Pixels, source_px: Size, wanted: Size, recipe: Recipe
) -> tuple[Pixels, Box]:
    """The wanted part of a picture that may be decoded smaller than it is: its pixels,
    and its box among them, which need not begin or end with a pixel."""
    width, height = _size(picture)
    across, down = width / source_px[0], height / source_px[1]
    gravity = recipe["crop"].get("gravity") or recipe.get("gravity", CENTRE)
    if gravity["kind"] == "sm":
        size = (
            max(1, min(width, round(wanted[0] * across))),
            max(1, min(height, round(wanted[1] * down))),
        )
        return _interesting(picture, size), (0.0, 0.0, *size)
    left, top = sizes.place(source_px, wanted, gravity)
    right, bottom = left + wanted[0], top + wanted[1]
    left_px, top_px = math.floor(left * across), math.floor(top * down)
    inside = picture[
        top_px : math.ceil(bottom * down), left_px : math.ceil(right * across)
    ]
    return inside, (
        left * across - left_px,
        top * down - top_px,
        right * across - left_px,
        bottom * down - top_px,
    )


def _scaled(
    picture: Pixels, box: Box, plan: Plan, gravity: Mapping[str, Any]
) -> Pixels:
    """What the gravity leaves of the box, scaled. No more than that is made, unless it
    is for the picture itself to say what it is."""
    if gravity["kind"] != "sm" or plan.cut == plan.scaled:
        left, top = sizes.place(plan.scaled, plan.cut, gravity, factor=plan.dpr)
        part = left, top, left + plan.cut[0], top + plan.cut[1]
        return geometry.part_resized(picture, plan.scaled, part, of=box)
    across = plan.scaled[0] / (box[2] - box[0])
    down = plan.scaled[1] / (box[3] - box[1])
    if max(across, down) <= 1:
        whole = (0, 0, *plan.scaled)
        scaled = geometry.part_resized(picture, plan.scaled, whole, of=box)
        return _interesting(scaled, plan.cut)
    part_px = (
        max(1, min(picture.shape[1], round(plan.cut[0] / across))),
        max(1, min(picture.shape[0], round(plan.cut[1] / down))),
    )
    return geometry.resized(_interesting(picture, part_px), *plan.cut)


def _interesting(picture: Pixels, size: Size) -> Pixels:
    if _size(picture) == size:
        return picture
    image = libvips.Image.new_from_array(np.ascontiguousarray(picture))
    return image.smartcrop(*size, interesting="attention").numpy()


def _whole(source: Source, recipe: Recipe) -> Picture:
    """All of it, as it lies in the file where it shall not be turned."""
    read = source.read()
    picture = _coloured(read.pixels)
    if not recipe.get("auto_rotate", True):
        with header.opened(source.path) as image:
            turn = header.orientation(image)
        picture = upright(picture, _BACK.get(turn, turn))
    return replace(read, pixels=picture)


def _trimmed(picture: Pixels, recipe: Recipe) -> Pixels:
    """Without its border. A picture of one colour stays as it is."""
    trim = recipe.get("trim")
    if trim is None:
        return picture
    shown = picture
    if picture.shape[2] == 4:
        shown = pixels.flatten(picture, geometry.colour(MAGENTA))
    colour = geometry.colour(trim["color"]) if trim["color"] else shown[0, 0].tolist()
    least = tuple(max(0.0, value - trim["threshold"]) for value in colour)
    most = tuple(min(255.0, value + trim["threshold"]) for value in colour)
    border = cv2.inRange(np.ascontiguousarray(shown), least, most) > 0
    left, right = _border(border.all(axis=0), equal=trim["equal_hor"])
    top, bottom = _border(border.all(axis=1), equal=trim["equal_ver"])
    height, width = picture.shape[:2]
    if left + right >= width or top + bottom >= height:
        return picture
    return picture[top : height - bottom, left : width - right]


def _border(lines: Any, *, equal: bool) -> tuple[int, int]:
    """How many lines are border at the beginning and at the end."""
    inside = np.flatnonzero(~lines)
    if len(inside) == 0:
        return len(lines), len(lines)
    first, last = int(inside[0]), len(lines) - 1 - int(inside[-1])
    return (min(first, last),) * 2 if equal else (first, last)


# Look


def _turned(picture: Pixels, recipe: Recipe) -> Pixels:
    if angle := recipe.get("rotate", 0):
        picture = np.rot90(picture, -angle // 90)
    if recipe.get("flip_horizontal"):
        picture = picture[:, ::-1]
    if recipe.get("flip_vertical"):
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _filtered(picture: Pixels, recipe: Recipe) -> Pixels:
    if recipe.get("greyscale"):
        grey = cv2.cvtColor(layers.colours(picture), cv2.COLOR_RGB2GRAY)
        opacity = layers.alpha(picture)
        picture = layers.colours(grey)
        if opacity is not None:
            picture = layers.with_alpha(picture, opacity)
    if sigma := recipe.get("blur", 0.0):
        picture = _on_premultiplied(
            picture, lambda p: cv2.GaussianBlur(p, (0, 0), sigma)
        )
    if sigma := recipe.get("sharpen", 0.0):
        picture = _on_premultiplied(picture, lambda p: _sharpened(p, sigma))
    if size := recipe.get("pixelate", 0):
        picture = _on_premultiplied(picture, lambda p: _pixelated(p, size))
    return picture


def _on_premultiplied(picture: Pixels, act: Callable[[Any], Any]) -> Pixels:
    """The result of a filter that mixes neighbours: hidden colours must not bleed."""
    if picture.shape[2] == 3:
        return act(picture)
    opacity = picture[..., 3:].astype(np.float32) / 255
    mixed = act(np.dstack([picture[..., :3] * opacity, picture[..., 3:]]))
    visible = np.maximum(mixed[..., 3:] / 255, 1e-3)
    colours = np.clip(mixed[..., :3] / visible, 0, 255)
    return (
        np.dstack([colours, np.clip(mixed[..., 3:], 0, 255)]).round().astype(np.uint8)
    )


def _sharpened(picture: Any, sigma: float) -> Any:
    """Unsharp masking: as much again of what a blur takes away."""
    return cv2.addWeighted(
        picture, 2.0, cv2.GaussianBlur(picture, (0, 0), sigma), -1.0, 0
    )


def _pixelated(picture: Any, size: int) -> Any:
    height, width = picture.shape[:2]
    coarse = (max(1, round(width / size)), max(1, round(height / size)))
    small = cv2.resize(picture, coarse, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


# Around


def _extended(picture: Pixels, plan: Plan, recipe: Recipe, ground: str) -> Pixels:
    """On the larger ground, by the gravity of whichever option asked for it."""
    box = plan.extended
    if recipe.get("rotate", 0) % 180:
        box = box[::-1]
    outer = max(box[0], picture.shape[1]), max(box[1], picture.shape[0])
    if outer == _size(picture):
        return picture
    name = "extend_gravity" if recipe.get("extend") else "extend_ratio_gravity"
    gravity = recipe.get(name, CENTRE)
    left, top = sizes.place(outer, _size(picture), gravity, factor=plan.dpr)
    return _on_ground(picture, outer, (left, top), ground)


def _padded(picture: Pixels, plan: Plan, recipe: Recipe, ground: str) -> Pixels:
    top, right, bottom, left = (
        round(side * plan.dpr) for side in recipe.get("padding", (0, 0, 0, 0))
    )
    width, height = _size(picture)
    outer = width + left + right, height + top + bottom
    sizes.check(outer)
    if outer == (width, height):
        return picture
    return _on_ground(picture, outer, (left, top), ground)


def _on_ground(
    picture: Pixels, outer: Size, at: tuple[int, int], ground: str
) -> Pixels:
    """The picture on a plain ground, or on a clear one where `ground` is ''."""
    if ground:
        picture = pixels.flatten(picture, geometry.colour(ground))
        whole = np.empty((outer[1], outer[0], 3), np.uint8)
        whole[:] = geometry.colour(ground)
    else:
        whole = np.zeros((outer[1], outer[0], 4), np.uint8)
        if picture.shape[2] == 3:
            picture = layers.with_alpha(picture, np.full(picture.shape[:2], 255, "u1"))
    left, top = at
    whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return whole


# The file


def _kind(source: Source, recipe: Recipe, picture: Pixels) -> str:
    """The format of the result. One without alpha is none for a clear picture, unless
    it was asked for by name."""
    kind: str = recipe.get("format", "source")
    if kind == "source":
        kind = source.kind or "plain"
    if kind == "plain":
        clear = picture.shape[2] == 4 and not recipe.get("background")
        kind = "png" if clear else "jpeg"
    return kind


def _encoded(picture: Picture, kind: str, recipe: Recipe) -> Result:
    wanted: dict[str, Any] = {
        "format": kind,
        "strip_metadata": recipe.get("strip_metadata", True),
        "icc": "srgb" if recipe.get("strip_color_profile", True) else "keep",
    }
    qualities = QUALITY | dict(recipe.get("format_quality", ()))
    if kind in QUALITY:
        wanted["quality"] = recipe.get("quality", 0) or qualities[kind] or QUALITY[kind]
        if recipe.get("max_bytes"):
            wanted["max_bytes"] = recipe["max_bytes"]
    if kind == "jpeg":
        wanted["progressive"] = recipe.get("progressive", False)
        wanted["subsample"] = not recipe.get("no_subsample", False)
    if kind == "webp" and recipe.get("lossless"):
        del wanted["quality"]
        wanted["lossless"] = True
    return output.encode(picture, wanted)


def _size(picture: Pixels) -> Size:
    return picture.shape[1], picture.shape[0]


def _coloured(picture: Pixels) -> Pixels:
    """Three or four channels: what all steps rely on."""
    if picture.size == 0:
        raise InvalidImage
    return layers.colours(picture) if picture.ndim == 2 else picture
