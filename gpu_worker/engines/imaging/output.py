"""A picture as a file, as the parameters of `gpu_worker.engines.parameters.output`
ask."""

from __future__ import annotations

from functools import partial
from typing import Any

from gpu_worker import pixels
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Picture, Result
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Encoded, Format, Pixels, encoding

WHITE = "#ffffff"

# A file that fills this share of its budget is close enough: each try is an encoding.
CLOSE = 0.95


def encode(picture: Picture, parameters: dict[str, Any], *, given: str = "") -> Result:
    """The file. `given`: the content type of the input, kept where it can be.

    Raises InvalidParameters: it cannot be made as small as asked for.
    """
    kind = _format(parameters, given, picture.pixels)
    shown = picture.pixels
    if kind == "jpeg" and shown.ndim == 3:
        colour = geometry.colour(parameters.get("background", WHITE))
        shown = pixels.flatten(shown, colour)
    make = partial(
        pixels.encode,
        shown,
        kind,
        lossless=parameters.get("lossless", False),
        progressive=parameters.get("progressive", False),
        subsample=parameters.get("subsample", True),
        icc=picture.icc,
        metadata={} if parameters.get("strip_metadata", True) else picture.metadata,
        frames=picture.frames,
        delays_ms=picture.delays_ms,
        loop=picture.loop,
    )
    quality = parameters.get("quality", encoding.QUALITY.get(kind))
    if "max_bytes" not in parameters:
        file = make(quality=quality)
        return Result(**geometry.members(file), details=picture.details)
    if parameters.get("lossless", False):
        quality = None
    file, used = _within(parameters["max_bytes"], quality, make)
    details = picture.details | ({} if used is None else {"quality": used})
    return Result(**geometry.members(file), details=details)


def _within(
    most_bytes: int, quality: int | None, make: partial[Encoded]
) -> tuple[Encoded, int | None]:
    """The best file of at most so many bytes, and its quality: at most the one given.
    None: the format has no quality to lower."""
    file = make(quality=quality)
    if len(file.data) <= most_bytes:
        return file, quality
    best: tuple[Encoded, int] | None = None
    low, high = 1, (quality or 1) - 1
    while low <= high:
        middle = (low + high) // 2
        file = make(quality=middle)
        if len(file.data) > most_bytes:
            high = middle - 1
            continue
        best, low = (file, middle), middle + 1
        if len(file.data) >= CLOSE * most_bytes:
            break
    if best is None:
        least = len(file.data)
        raise InvalidParameters(f"The file cannot be made smaller than {least} bytes.")
    return best


def _format(parameters: dict[str, Any], given: str, shown: Pixels) -> Format:
    if "format" in parameters:
        return pixels.form(parameters["format"])
    clear = shown.ndim == 3 and shown.shape[2] == 4
    same = {name: kind for kind, name in pixels.CONTENT_TYPES.items()}
    kind = same.get(given, "png" if clear else "jpeg")
    return "png" if clear and kind == "jpeg" else kind
