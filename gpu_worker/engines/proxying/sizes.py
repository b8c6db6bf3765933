"""How large a picture becomes, and which part of it stays. Numbers only.

Sizes are (width, height) in pixels. `recipe` are the parameters of the engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpu_worker.errors import LimitExceeded

MOST_SIDE_PX = 4096

Size = tuple[int, int]
Recipe = Mapping[str, Any]
CENTRE = {"kind": "ce", "x": 0.0, "y": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size that a picture is scaled to, is then cut to, and then extended to.
    Offsets and padding are multiplied by `dpr`."""

    scaled: Size
    cut: Size
    extended: Size
    dpr: float


def plan(source: Size, recipe: Recipe) -> Plan:
    """What becomes of a picture of this size. Raises LimitExceeded."""
    kind = _kind(source, recipe)
    (across, down), dpr = _factors(source, kind, recipe)
    scaled = _side(source[0] * across), _side(source[1] * down)
    box = _asked(recipe)[0] * dpr, _asked(recipe)[1] * dpr
    cut = scaled if kind == "outside" else _cut(scaled, box, kind)
    extended = _extended(cut, box, recipe)
    check(extended)
    return Plan(scaled=scaled, cut=cut, extended=extended, dpr=dpr)


def check(size: Size) -> None:
    """Raises LimitExceeded for a result that is larger than any may be."""
    if max(size) > MOST_SIDE_PX:
        raise LimitExceeded(
            f"It would be {size[0]} x {size[1]} pixels; a side has at most"
            f" {MOST_SIDE_PX}."
        )


def rounded(length: float) -> int:
    """To whole pixels, halves up."""
    return math.floor(length + 0.5)


def area(source: Size, crop: Mapping[str, Any]) -> Size:
    """The size of a crop's area: sides of 0 are whole, those below 1 are parts."""
    width, height = (
        _length(crop[side], whole)
        for side, whole in zip(("width", "height"), source, strict=True)
    )
    return width, height


def place(
    outer: Size, inner: Size, gravity: Mapping[str, Any], *, factor: float = 1.0
) -> tuple[int, int]:
    """Left and top of `inner` in `outer`; `factor` multiplies offsets in pixels."""
    kind = gravity["kind"]
    if kind == "fp":
        left = gravity["x"] * outer[0] - inner[0] / 2
        top = gravity["y"] * outer[1] - inner[1] / 2
    else:
        x = _offset(gravity["x"], outer[0], factor)
        y = _offset(gravity["y"], outer[1], factor)
        left = _along(outer[0] - inner[0], x, near="we" in kind, far="ea" in kind)
        top = _along(outer[1] - inner[1], y, near="no" in kind, far="so" in kind)
    return (
        max(0, min(round(left), outer[0] - inner[0])),
        max(0, min(round(top), outer[1] - inner[1])),
    )


def _length(wanted: float, whole: int) -> int:
    if wanted == 0:
        return whole
    return min(whole, _side(wanted * whole if wanted < 1 else wanted))


def _offset(wanted: float, whole: int, factor: float) -> float:
    return wanted * whole if abs(wanted) < 1 else wanted * factor


def _along(spare: int, offset: float, *, near: bool, far: bool) -> float:
    if near:
        return offset
    return spare - offset if far else spare / 2 + offset


def _zoom(recipe: Recipe) -> tuple[float, float]:
    return recipe.get("zoom_x", 1.0), recipe.get("zoom_y", 1.0)


def _asked(recipe: Recipe) -> tuple[float, float]:
    """The sides asked for, where dpr is 1; 0 where none is."""
    across, down = _zoom(recipe)
    return recipe.get("width", 0) * across, recipe.get("height", 0) * down


def _kind(source: Size, recipe: Recipe) -> str:
    kind: str = recipe.get("resizing", "fit")
    if kind != "auto":
        return kind
    lies = recipe.get("width", 0) >= recipe.get("height", 0)
    return "fill" if (source[0] >= source[1]) == lies else "fit"


def _factors(
    source: Size, kind: str, recipe: Recipe
) -> tuple[tuple[float, float], float]:
    """By what both sides are multiplied, and what is left of dpr.

    What would become larger than it is keeps the proportions that were asked for, and
    dpr is only as large as the picture has pixels for: what it shows, and how it is
    cut, are the same on every screen.
    """
    across, down = (
        factor * zoom
        for factor, zoom in zip(
            _to_box(source, kind, recipe), _zoom(recipe), strict=True
        )
    )
    dpr: float = recipe.get("dpr", 1.0)
    if not recipe.get("enlarge", False):
        over = max(1.0, across, down)
        across, down = across / over, down / over
        if not recipe.get("extend"):
            dpr *= over
        dpr = min(dpr, 1 / max(across, down))
    grow = dpr * _missing(source, (across, down), recipe)
    return (across * grow, down * grow), dpr


def _to_box(source: Size, kind: str, recipe: Recipe) -> tuple[float, float]:
    box = recipe.get("width", 0), recipe.get("height", 0)
    wanted = [side / whole for side, whole in zip(box, source, strict=True) if side]
    if kind == "force" or not wanted:
        return box[0] / source[0] or 1.0, box[1] / source[1] or 1.0
    factor = max(wanted) if kind in ("fill", "fill-down", "outside") else min(wanted)
    return factor, factor


def _missing(source: Size, factors: tuple[float, float], recipe: Recipe) -> float:
    """By what both sides grow alike until neither is below its floor."""
    floors = (recipe.get("min_width", 0), recipe.get("min_height", 0))
    return max(
        1.0,
        *(
            floor / (whole * factor)
            for floor, whole, factor in zip(floors, source, factors, strict=True)
        ),
    )


def _side(length: float) -> int:
    return max(1, rounded(length))


def _cut(scaled: Size, box: tuple[float, float], kind: str) -> Size:
    width, height = (
        min(whole, _side(side)) if side else whole
        for whole, side in zip(scaled, box, strict=True)
    )
    if kind != "fill-down" or not all(box):
        return width, height
    # Too small for the box: the largest part of the box's own proportions.
    factor = min(1.0, scaled[0] / box[0], scaled[1] / box[1])
    return _side(box[0] * factor), _side(box[1] * factor)


def _extended(cut: Size, box: tuple[float, float], recipe: Recipe) -> Size:
    width, height = cut
    if recipe.get("extend_ratio") and all(box):
        ratio = box[0] / box[1]
        width, height = (
            max(width, rounded(height * ratio)),
            max(height, rounded(width / ratio)),
        )
    if recipe.get("extend"):
        width, height = max(width, rounded(box[0])), max(height, rounded(box[1]))
    return width, height
