"""The older addresses: `GET /api/images/resize` and `/api/v1/resize`.

Both take the parameters of both older services: `url`, `width`, `height`, `format`,
`blur_sigma`, `grayscale`, `quality`, `fit`; and `redirect`, `enlarge` of ours. With
both sides the picture fills the box and is cropped, and it may become larger, as it
did there; one side alone keeps the proportions, whatever `fit` says of a box.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.onthefly.errors import BadRequest
from jobs.onthefly.recipes import Recipe, Wish

LEAST_SIDE_PX, MOST_SIDE_PX = 10, 4096
FORMATS = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "webp": "webp"}
FITS = {
    "cover": "fill",
    "contain": "fit",
    "fill": "force",
    "inside": "fit",
    "outside": "outside",
}
NAMES = frozenset(
    {
        *("url", "width", "height", "format", "fit", "quality", "blur_sigma"),
        *("grayscale", "greyscale", "enlarge", "redirect"),
    }
)
_WHOLE = re.compile(r"[0-9]{1,6}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,6})?", re.ASCII)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`redirect`: answer with the address of the picture instead of its bytes."""

    wish: Wish
    source: str
    redirect: bool


def asked(query: Mapping[str, str]) -> Asked:
    """What a query asks for. Raises BadRequest."""
    if unknown := sorted(query.keys() - NAMES):
        raise BadRequest(f"Unknown: {', '.join(unknown)[:200]}.")
    if not query.get("url"):
        raise BadRequest("url is missing.")
    fit = _one_of(query, "fit", FITS, "cover")
    width = _whole(query, "width", LEAST_SIDE_PX, MOST_SIDE_PX)
    height = _whole(query, "height", LEAST_SIDE_PX, MOST_SIDE_PX)
    is_box = bool(width and height)
    recipe = Recipe(
        resizing=FITS[fit] if is_box else "fit",
        width=width,
        height=height,
        enlarge=_flag(query, "enlarge", default=True),
        extend=is_box and fit == "contain",
        greyscale=_flag(query, "grayscale") or _flag(query, "greyscale"),
        blur=_number(query, "blur_sigma", most=100.0),
        format=FORMATS[_one_of(query, "format", FORMATS, "jpg")],
        quality=_whole(query, "quality", 1, 100),
    )
    return Asked(
        wish=Wish(recipe=recipe),
        source=query["url"],
        redirect=_flag(query, "redirect"),
    )


def _one_of(
    query: Mapping[str, str], name: str, allowed: Mapping[str, str], default: str
) -> str:
    text = query.get(name, default)
    if text not in allowed:
        raise BadRequest(f"{name} is one of {', '.join(allowed)}.")
    return text


def _whole(query: Mapping[str, str], name: str, least: int, most: int) -> int:
    """0 where it is not given."""
    text = query.get(name)
    if text is None:
        return 0
    if _WHOLE.fullmatch(text) is None or not least <= int(text) <= most:
        raise BadRequest(f"{name} is a whole number from {least} to {most}.")
    return int(text)


def _number(query: Mapping[str, str], name: str, *, most: float) -> float:
    text = query.get(name, "0")
    if _NUMBER.fullmatch(text) is None or float(text) > most:
        raise BadRequest(f"{name} is a number from 0 to {most:g}.")
    return float(text)


def _flag(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    text = query.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise BadRequest(f"{name} is true or false.")
    return _FLAGS[text.lower()]
