"""What the options of a signed path mean.

Names and arguments are those of imgproxy's documentation ("Processing an image",
3.30), short and long, and those of the older service where it went its own way: `g:1`
is greyscale and `gr:…` gravity there. `g` with the arguments of a gravity is one, so
URLs of both mean what they meant. An option that is unknown, or that we cannot honour,
is refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from jobs.onthefly.errors import BadRequest
from jobs.onthefly.paths import from_base64
from jobs.onthefly.recipes import (
    MOST_SIDE_PX,
    Crop,
    Gravity,
    Trim,
    Watermark,
    Wish,
)

RESIZING = ("fit", "fill", "fill-down", "force", "auto")
SIDES = ("ce", "no", "so", "ea", "we", "noea", "nowe", "soea", "sowe")
FORMATS = {
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "png": "png",
    "webp": "webp",
    "avif": "avif",
    "gif": "gif",
}
BY_ACCEPT = "auto"
YES, NO = ("1", "t", "true"), ("0", "f", "false")
MOST_FACTOR = 16.0
MOST_SIGMA = 100.0

_HEX = re.compile(r"[0-9a-f]{6}|[0-9a-f]{3}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{0,9})?|-?\.[0-9]{1,9}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """An option's arguments; one that is empty or left out has the default."""

    name: str
    values: tuple[str, ...]

    def wrong(self, what: str) -> BadRequest:
        return BadRequest(f"The option {self.name!r} {what}.")

    def at_most(self, count: int) -> Arguments:
        """Raises BadRequest if there are more."""
        if len(self.values) > count:
            raise self.wrong("has too many arguments")
        return self

    def text(self, place: int, default: str = "") -> str:
        return (self.values[place] if place < len(self.values) else "") or default

    def one_of(self, place: int, allowed: Iterable[str], default: str = "") -> str:
        text = self.text(place, default)
        if text not in allowed:
            raise self.wrong(f"takes {', '.join(allowed)}")
        return text

    def whole(self, place: int, default: int = 0, *, most: int) -> int:
        text = self.text(place, str(default))
        if _WHOLE.fullmatch(text) is None or int(text) > most:
            raise self.wrong(f"takes whole numbers up to {most}")
        return int(text)

    def side(self, place: int, default: int = 0) -> int:
        return self.whole(place, default, most=MOST_SIDE_PX)

    def number(
        self, place: int, default: float = 0.0, *, least: float = 0.0, most: float
    ) -> float:
        text = self.text(place, str(default))
        if _NUMBER.fullmatch(text) is None or not least <= float(text) <= most:
            raise self.wrong(f"takes numbers from {least:g} to {most:g}")
        return float(text) + 0.0  # no negative zero: one number, one spelling

    def flag(self, place: int, *, default: bool = False) -> bool:
        text = self.text(place).lower()
        if text not in ("", *YES, *NO):
            raise self.wrong("takes 1 or 0")
        return text in YES if text else default

    def colour(self, place: int) -> str:
        text = self.text(place).lower()
        if text and _HEX.fullmatch(text) is None:
            raise self.wrong("takes colours as hex digits")
        return text if len(text) != 3 else "".join(digit * 2 for digit in text)

    def gravity(self, place: int, *, smart: bool = False) -> Gravity:
        """The gravity that begins at this place."""
        self.at_most(place + 3)
        kinds = (*SIDES, "fp", "sm") if smart else (*SIDES, "fp")
        kind = self.one_of(place, kinds, "ce")
        if kind == "sm":
            self.at_most(place + 1)
            return Gravity(kind=kind)
        middle, most = (0.5, 1.0) if kind == "fp" else (0.0, float(MOST_SIDE_PX))
        least = 0.0 if kind == "fp" else -most
        x = self.number(place + 1, middle, least=least, most=most)
        y = self.number(place + 2, middle, least=least, most=most)
        return Gravity(kind=kind, x=x, y=y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What this installation allows: presets by name, each options joined by slashes,
    and the options that an address may name itself (none: all)."""

    presets: tuple[tuple[str, str], ...] = ()
    allowed: frozenset[str] = frozenset()

    def preset(self, name: str) -> str | None:
        return dict(self.presets).get(name)


def wish_of(options: Iterable[str], extension: str, rules: Rules) -> Wish:
    """What all options together ask for; a later one wins. Raises BadRequest."""
    wish = Wish()
    if rules.preset("default") is not None:
        wish = _preset(wish, "default", rules)
    for option in options:
        arguments = _arguments(option)
        name = _known(arguments)
        if rules.allowed and name not in rules.allowed:
            raise arguments.wrong("is not allowed here")
        wish = _applied(wish, name, arguments, rules)
    if extension:
        wish = _formatted(wish, Arguments(name="format", values=(extension,)))
    return _checked(wish)


def canonical(name: str) -> str:
    """The one name of an option. Raises BadRequest for one that is unknown."""
    return _known(Arguments(name=name, values=("",)))


def _arguments(option: str) -> Arguments:
    name, *values = option.split(":")
    return Arguments(name=name, values=tuple(values))


def _known(arguments: Arguments) -> str:
    name = NAMES.get(arguments.name)
    if name is None:
        raise arguments.wrong("is unknown or not supported here")
    if name == "gravity" and _is_greyscale(arguments):
        return "greyscale"
    return name


def _is_greyscale(arguments: Arguments) -> bool:
    """`g:1` of the older service; `g:ce` is imgproxy's gravity."""
    short = arguments.name == "g" and len(arguments.values) == 1
    return short and arguments.values[0].lower() in (*YES, *NO)


def _applied(wish: Wish, name: str, arguments: Arguments, rules: Rules) -> Wish:
    if name == "preset":
        for preset in arguments.values:
            wish = _preset(wish, preset, rules)
        return wish
    return OPTIONS[name](wish, arguments)


def _preset(wish: Wish, name: str, rules: Rules) -> Wish:
    preset = rules.preset(name)
    if preset is None:
        raise BadRequest(f"There is no preset {name!r}.")
    for option in preset.split("/"):
        arguments = _arguments(option)
        if (known := _known(arguments)) == "preset":
            raise BadRequest(f"The preset {name!r} names another one.")
        wish = _applied(wish, known, arguments, rules)
    return wish


def _checked(wish: Wish) -> Wish:
    watermark = wish.recipe.watermark
    if watermark is not None and not watermark.opacity:
        wish = _with(wish, watermark=None)
    if wish.recipe.watermark is None:
        return replace(wish, watermark_url="")
    if not wish.watermark_url:
        raise BadRequest("A watermark needs its picture: watermark_url.")
    return wish


def _with(wish: Wish, **changes: Any) -> Wish:
    return replace(wish, recipe=replace(wish.recipe, **changes))


# Size


def _resize(wish: Wish, a: Arguments) -> Wish:
    wish = _with(wish, resizing=a.one_of(0, RESIZING, wish.recipe.resizing))
    return _size(wish, replace(a, values=a.values[1:]))


def _size(wish: Wish, a: Arguments) -> Wish:
    """Width, height, enlarge, extend and extend's gravity; what is empty stays."""
    recipe = wish.recipe
    wish = _with(
        wish,
        width=a.side(0, recipe.width),
        height=a.side(1, recipe.height),
        enlarge=a.flag(2, default=recipe.enlarge),
    )
    if len(a.values) > 3:
        wish = _extend(wish, replace(a, values=a.values[3:]))
    return wish


def _resizing(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, resizing=a.at_most(1).one_of(0, RESIZING, "fit"))


def _side_of(name: str) -> Option:
    return lambda wish, a: _with(wish, **{name: a.at_most(1).side(0)})


def _zoom(wish: Wish, a: Arguments) -> Wish:
    x = _factor(a.at_most(2), 0, 1.0)
    return _with(wish, zoom_x=x, zoom_y=_factor(a, 1, x))


def _dpr(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, dpr=_factor(a.at_most(1), 0, 1.0))


def _factor(a: Arguments, place: int, default: float) -> float:
    return a.number(place, default, least=0.01, most=MOST_FACTOR)


def _flag_of(name: str, *, default: bool = True) -> Option:
    return lambda wish, a: _with(wish, **{name: a.at_most(1).flag(0, default=default)})


def _extend(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, extend=a.flag(0), extend_gravity=a.gravity(1))


def _extend_ratio(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, extend_ratio=a.flag(0), extend_ratio_gravity=a.gravity(1))


def _gravity(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, gravity=a.gravity(0, smart=True))


def _crop(wish: Wish, a: Arguments) -> Wish:
    width, height = (a.number(n, most=1e6) for n in (0, 1))
    gravity = a.gravity(2, smart=True) if a.text(2) else None
    if not width and not height:
        return _with(wish, crop=None)
    return _with(wish, crop=Crop(width=width, height=height, gravity=gravity))


def _trim(wish: Wish, a: Arguments) -> Wish:
    trim = Trim(
        threshold=a.at_most(4).number(0, 10.0, most=255.0),
        color=a.colour(1),
        equal_hor=a.flag(2),
        equal_ver=a.flag(3),
    )
    return _with(wish, trim=trim)


def _padding(wish: Wish, a: Arguments) -> Wish:
    """As in CSS: right falls back to top, bottom to top, left to right."""
    top = a.at_most(4).side(0)
    right = a.side(1, top)
    return _with(wish, padding=(top, right, a.side(2, top), a.side(3, right)))


# Look


def _rotate(wish: Wish, a: Arguments) -> Wish:
    angle = a.at_most(1).number(0, least=-3600, most=3600)
    if angle % 90:
        raise a.wrong("takes multiples of 90")
    return _with(wish, rotate=int(angle) % 360)


def _flip(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, flip_horizontal=a.at_most(2).flag(0), flip_vertical=a.flag(1))


def _background(wish: Wish, a: Arguments) -> Wish:
    if len(a.at_most(3).values) < 3:
        return _with(wish, background=a.at_most(1).colour(0))
    parts = [a.whole(place, most=255) for place in range(3)]
    return _with(wish, background="".join(f"{part:02x}" for part in parts))


def _sigma_of(name: str) -> Option:
    def apply(wish: Wish, a: Arguments) -> Wish:
        return _with(wish, **{name: a.at_most(1).number(0, most=MOST_SIGMA)})

    return apply


def _pixelate(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, pixelate=a.at_most(1).side(0))


def _watermark(wish: Wish, a: Arguments) -> Wish:
    most = float(MOST_SIDE_PX)
    marked = replace(
        _mark_of(wish),
        opacity=a.at_most(5).number(0, most=1.0),
        position=a.one_of(1, (*SIDES, "re"), "ce"),
        x=a.number(2, least=-most, most=most),
        y=a.number(3, least=-most, most=most),
        scale=a.number(4, most=10.0),
    )
    return _with(wish, watermark=marked)


def _mark_of(wish: Wish) -> Watermark:
    return wish.recipe.watermark or Watermark(opacity=0.0)


def _watermark_url(wish: Wish, a: Arguments) -> Wish:
    url = from_base64(a.at_most(1).text(0), "The watermark's URL")
    return replace(wish, watermark_url=url)


def _watermark_size(wish: Wish, a: Arguments) -> Wish:
    width, height = a.at_most(2).side(0), a.side(1)
    mark = replace(_mark_of(wish), width=width, height=height)
    return _with(wish, watermark=mark)


def _watermark_rotate(wish: Wish, a: Arguments) -> Wish:
    angle = math.fmod(a.at_most(1).number(0, least=-3600, most=3600), 360)
    return _with(wish, watermark=replace(_mark_of(wish), angle=angle % 360))


def _watermark_shadow(wish: Wish, a: Arguments) -> Wish:
    shadow = a.at_most(1).number(0, most=MOST_SIGMA)
    return _with(wish, watermark=replace(_mark_of(wish), shadow=shadow))


# The file


def _formatted(wish: Wish, a: Arguments) -> Wish:
    name = a.at_most(1).one_of(0, (*FORMATS, BY_ACCEPT))
    if name == BY_ACCEPT:
        return replace(_with(wish, format="plain"), by_accept=True)
    return replace(_with(wish, format=FORMATS[name]), by_accept=False)


def _quality(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, quality=a.at_most(1).whole(0, most=100))


def _format_quality(wish: Wish, a: Arguments) -> Wish:
    if not a.values or len(a.values) % 2:
        raise a.wrong("takes pairs of a format and a quality")
    found = dict(wish.recipe.format_quality)
    for place in range(0, len(a.values), 2):
        name = FORMATS[a.one_of(place, FORMATS)]
        found[name] = a.whole(place + 1, most=100)
    return _with(wish, format_quality=tuple(sorted(found.items())))


def _max_bytes(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, max_bytes=a.at_most(1).whole(0, most=10**9))


def _jpeg_options(wish: Wish, a: Arguments) -> Wish:
    return _with(wish, progressive=a.at_most(2).flag(0), no_subsample=a.flag(1))


def _webp_options(wish: Wish, a: Arguments) -> Wish:
    kind = a.at_most(1).one_of(0, ("lossy", "lossless"), "lossy")
    return _with(wish, lossless=kind == "lossless")


def _bust(wish: Wish, a: Arguments) -> Wish:
    return replace(wish, bust=":".join(a.values))


def _expires(wish: Wish, a: Arguments) -> Wish:
    return replace(wish, expires=a.at_most(1).whole(0, most=10**12))


def _filename(wish: Wish, a: Arguments) -> Wish:
    name = a.at_most(2).text(0)
    if a.flag(1):
        name = from_base64(name, "The file's name")
    return replace(wish, filename=name)


def _attachment(wish: Wish, a: Arguments) -> Wish:
    return replace(wish, attachment=a.at_most(1).flag(0))


Option = Callable[[Wish, Arguments], Wish]

# The option's one name: all spellings, then what it does.
_TABLE: dict[str, tuple[str, Option | None]] = {
    "resize": ("rs", _resize),
    "size": ("s", _size),
    "resizing_type": ("rt", _resizing),
    "width": ("w", _side_of("width")),
    "height": ("h", _side_of("height")),
    "min-width": ("mw min_width", _side_of("min_width")),
    "min-height": ("mh min_height", _side_of("min_height")),
    "zoom": ("z", _zoom),
    "dpr": ("", _dpr),
    "enlarge": ("el", _flag_of("enlarge")),
    "extend": ("ex", _extend),
    "extend_aspect_ratio": ("extend_ar exar", _extend_ratio),
    "gravity": ("g gr", _gravity),
    "crop": ("c", _crop),
    "trim": ("t", _trim),
    "padding": ("pd", _padding),
    "auto_rotate": ("ar", _flag_of("auto_rotate")),
    "rotate": ("rot", _rotate),
    "flip": ("fl", _flip),
    "background": ("bg", _background),
    "greyscale": ("gs grayscale", _flag_of("greyscale")),
    "blur": ("bl", _sigma_of("blur")),
    "sharpen": ("sh", _sigma_of("sharpen")),
    "pixelate": ("pix", _pixelate),
    "watermark": ("wm", _watermark),
    "watermark_url": ("wmu", _watermark_url),
    "watermark_size": ("wms", _watermark_size),
    "watermark_rotate": ("wmr wm_rot", _watermark_rotate),
    "watermark_shadow": ("wmsh", _watermark_shadow),
    "strip_metadata": ("sm", _flag_of("strip_metadata")),
    "strip_color_profile": ("scp", _flag_of("strip_color_profile")),
    "format": ("f ext", _formatted),
    "quality": ("q", _quality),
    "format_quality": ("fq", _format_quality),
    "max_bytes": ("mb", _max_bytes),
    "jpeg_options": ("jpgo", _jpeg_options),
    "webp_options": ("webpo", _webp_options),
    "cachebuster": ("cb", _bust),
    "expires": ("exp", _expires),
    "filename": ("fn", _filename),
    "return_attachment": ("att", _attachment),
    "preset": ("pr", None),
}
OPTIONS = {name: apply for name, (_, apply) in _TABLE.items() if apply is not None}
NAMES = {
    spelling: name
    for name, (others, _) in _TABLE.items()
    for spelling in (name, *others.split())
}
