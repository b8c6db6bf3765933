"""What is to become of a source, in one plain form.

A `Recipe` has every option with its default; equal wishes in other words are equal
recipes, and `members` names only what differs from the defaults: the engine's
parameters (gpu_worker.engines.proxying), and a part of the key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

MOST_SIDE_PX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Gravity:
    """Which part stays, or where something is put.

    `kind` is ce, no, so, ea, we, noea, nowe, soea, sowe, fp (x and y between 0 and 1)
    or sm. Offsets from 1 on are pixels, below 1 a part of the side.
    """

    kind: str = "ce"
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """An area of the source. A side is 0 (all of it), below 1 a part, else pixels."""

    width: float
    height: float
    gravity: Gravity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """Cut off a border of one colour. `color` is six hex digits, or '' to look."""

    threshold: float
    color: str = ""
    equal_hor: bool = False
    equal_ver: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """Another picture on top. `position` is that of a gravity, or re (tiles)."""

    opacity: float
    position: str = "ce"
    x: float = 0.0
    y: float = 0.0
    scale: float = 0.0
    width: int = 0
    height: int = 0
    angle: float = 0.0
    shadow: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Sizes in pixels of the result; 0 is not given.

    `resizing` is fit, fill, fill-down, force, auto or outside. `format` is jpeg, png,
    webp, avif, gif, `source` (the source's own) or `plain` (jpeg, or png with alpha).
    """

    resizing: str = "fit"
    width: int = 0
    height: int = 0
    min_width: int = 0
    min_height: int = 0
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    dpr: float = 1.0
    enlarge: bool = False
    extend: bool = False
    extend_gravity: Gravity = Gravity()
    extend_ratio: bool = False
    extend_ratio_gravity: Gravity = Gravity()
    gravity: Gravity = Gravity()
    crop: Crop | None = None
    trim: Trim | None = None
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    auto_rotate: bool = True
    rotate: int = 0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    greyscale: bool = False
    blur: float = 0.0
    sharpen: float = 0.0
    pixelate: int = 0
    watermark: Watermark | None = None
    background: str = ""
    format: str = "source"
    quality: int = 0
    format_quality: tuple[tuple[str, int], ...] = ()
    max_bytes: int = 0
    progressive: bool = False
    no_subsample: bool = False
    lossless: bool = False
    strip_metadata: bool = True
    strip_color_profile: bool = True

    def members(self) -> dict[str, Any]:
        """What differs from the defaults, as a JSON object."""
        plain = asdict(self)
        return {
            field.name: plain[field.name]
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A recipe, and what concerns only the way in and out.

    `by_accept`: the format follows the client's Accept. `watermark_url` is a source's
    text. `expires` is Unix time or 0. `bust` is part of the key and nothing else.
    """

    recipe: Recipe = Recipe()
    by_accept: bool = False
    watermark_url: str = ""
    bust: str = ""
    expires: int = 0
    filename: str = ""
    attachment: bool = False
