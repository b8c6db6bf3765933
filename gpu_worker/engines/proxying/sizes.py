"""How large a picture becomes, and which part of it stays. Numbers only.

Sizes are (width, height) in pixels. `recipe` are the parameters of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpu_worker.errors import LimitExceeded
from gpu_worker.pixels import MOST_PIXELS

MOST_SIDE_PX = 4096

Size = tuple[int, int]
Recipe = Mapping[str, Any]
CENTRE = {"kind": "ce", "x": 0.0, "y": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size that a picture is scaled to, is then cut to, and then extended to."""

    scaled: Size
    cut: Size
    extended: Size


def plan(source: Size, recipe: Recipe) -> Plan:
    """What becomes of a picture of this size. Raises LimitExceeded."""
    box = _box(recipe)
    kind = _kind(source, box, recipe)
    scaled = _scaled(source, _factors(source, box, kind, recipe))
    cut = scaled if kind == "outside" else _cut(scaled, box, kind)
    extended = _extended(cut, box, recipe)
    if scaled[0] * scaled[1] > MOST_PIXELS:
        raise LimitExceeded(f"It would be {scaled[0]} x {scaled[1]} pixels.")
    check(extended)
    return Plan(scaled=scaled, cut=cut, extended=extended)


def check(size: Size) -> None:
    """Raises LimitExceeded for a result that is larger than any may be."""
    if max(size) > MOST_SIDE_PX:
        raise LimitExceeded(
            f"It would be {size[0]} x {size[1]} pixels; a side has at most"
            f" {MOST_SIDE_PX}."
        )


def dpr(recipe: Recipe) -> float:
    return float(recipe.get("dpr", 1.0))


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
    return max(1, min(whole, round(wanted * whole if wanted < 1 else wanted)))


def _offset(wanted: float, whole: int, factor: float) -> float:
    return wanted * whole if abs(wanted) < 1 else wanted * factor


def _along(spare: int, offset: float, *, near: bool, far: bool) -> float:
    if near:
        return offset
    return spare - offset if far else spare / 2 + offset


def _box(recipe: Recipe) -> tuple[float, float]:
    """The sides asked for, in pixels of the result; 0 where none is."""
    factor = dpr(recipe)
    return (
        recipe.get("width", 0) * recipe.get("zoom_x", 1.0) * factor,
        recipe.get("height", 0) * recipe.get("zoom_y", 1.0) * factor,
    )


def _kind(source: Size, box: tuple[float, float], recipe: Recipe) -> str:
    kind: str = recipe.get("resizing", "fit")
    if kind != "auto":
        return kind
    return "fill" if (source[0] >= source[1]) == (box[0] >= box[1]) else "fit"


def _factors(
    source: Size, box: tuple[float, float], kind: str, recipe: Recipe
) -> tuple[float, float]:
    if box == (0, 0):
        factor = dpr(recipe)
        x, y = recipe.get("zoom_x", 1.0) * factor, recipe.get("zoom_y", 1.0) * factor
    else:
        x, y = _to_box(source, box, kind)
    if not recipe.get("enlarge", False):
        x, y = min(1.0, x), min(1.0, y)
    return _at_least(source, (x, y), recipe)


def _to_box(source: Size, box: tuple[float, float], kind: str) -> tuple[float, float]:
    wanted = [side / whole for side, whole in zip(box, source, strict=True) if side]
    if kind == "force":
        return box[0] / source[0] or 1.0, box[1] / source[1] or 1.0
    factor = max(wanted) if kind in ("fill", "fill-down", "outside") else min(wanted)
    return factor, factor


def _at_least(
    source: Size, factors: tuple[float, float], recipe: Recipe
) -> tuple[float, float]:
    """Both grow alike until neither side is below its floor."""
    floors = (recipe.get("min_width", 0), recipe.get("min_height", 0))
    missing = [
        floor * dpr(recipe) / (whole * factor)
        for floor, whole, factor in zip(floors, source, factors, strict=True)
    ]
    grow = max(1.0, *missing)
    return factors[0] * grow, factors[1] * grow


def _scaled(source: Size, factors: tuple[float, float]) -> Size:
    return max(1, round(source[0] * factors[0])), max(1, round(source[1] * factors[1]))


def _cut(scaled: Size, box: tuple[float, float], kind: str) -> Size:
    width, height = (
        min(whole, max(1, round(side))) if side else whole
        for whole, side in zip(scaled, box, strict=True)
    )
    if kind != "fill-down" or not all(box):
        return width, height
    # Too small for the box: the largest part of the box's own proportions.
    factor = min(1.0, scaled[0] / box[0], scaled[1] / box[1])
    return max(1, round(box[0] * factor)), max(1, round(box[1] * factor))


def _extended(cut: Size, box: tuple[float, float], recipe: Recipe) -> Size:
    width, height = cut
    if recipe.get("extend_ratio") and all(box):
        ratio = box[0] / box[1]
        width, height = (
            max(width, round(height * ratio)),
            max(height, round(width / ratio)),
        )
    if recipe.get("extend"):
        width, height = max(width, round(box[0])), max(height, round(box[1]))
    return width, height
