"""A picture as a file, as the parameters of `gpu_worker.engines.parameters.output`
ask."""

from __future__ import annotations

from typing import Any

from gpu_worker import pixels
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Picture, Result
from gpu_worker.pixels import Format, Pixels

QUALITY = 85
WHITE = (255, 255, 255)


def encode(picture: Picture, parameters: dict[str, Any], *, given: str = "") -> Result:
    """The file. `given`: the content type of the input, kept where it can be."""
    kind = _format(parameters, given, picture.pixels)
    shown = picture.pixels
    if kind == "jpeg" and shown.ndim == 3:
        shown = pixels.flatten(shown, WHITE)
    file = pixels.encode(shown, kind, quality=parameters.get("quality", QUALITY))
    return Result(**geometry.members(file), details=picture.details)


def _format(parameters: dict[str, Any], given: str, shown: Pixels) -> Format:
    if "format" in parameters:
        return pixels.form(parameters["format"])
    clear = shown.ndim == 3 and shown.shape[2] == 4
    same = {name: kind for kind, name in pixels.CONTENT_TYPES.items()}
    kind = same.get(given, "png" if clear else "jpeg")
    return "png" if clear and kind == "jpeg" else kind
