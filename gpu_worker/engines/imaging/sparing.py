"""A resize from JPEG to JPEG by its planes, where the profile says to spare memory."""

from __future__ import annotations

from typing import Any

from gpu_worker import pixels, settings
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Item, Result
from gpu_worker.engines.imaging import resize
from gpu_worker.pixels import planes

# Parameters that say where and how large, and what of the others changes nothing.
_SIZES = {"width", "height", "fit", "dpr", "enlarge", "gravity", "background"}
_FILE = {"format", "quality"}
_PLAIN: dict[str, Any] = {
    "greyscale": False,
    "blur": 0,
    "sharpen": 0,
    "lossless": False,
    "progressive": False,
    "strip_metadata": True,
    "icc": "srgb",
}


def resized(item: Item) -> Result | None:
    """The file. None: more is asked for than another size, or memory is not scarce."""
    source = item.inputs[0]
    if not settings.profile().spares_memory or item.steps or len(item.inputs) > 1:
        return None
    if not _is_plain(item.parameters, source.content_type):
        return None
    steps = resize.plan(pixels.upright_size(source.path), item.parameters)
    if steps.result_px != steps.scaled_px:
        return None  # to be cropped or padded
    quality = item.parameters.get("quality")
    file = planes.smaller(source.path, steps.scaled_px, quality=quality)
    return None if file is None else Result(**geometry.members(file))


def _is_plain(parameters: dict[str, Any], content_type: str) -> bool:
    """Whether it is about the size of a plain JPEG and nothing else."""
    given = content_type.removeprefix("image/")
    kind = pixels.form(parameters["format"]) if "format" in parameters else given
    if kind != "jpeg":
        return False
    rest = parameters.keys() - _SIZES - _FILE
    return all(_PLAIN.get(name) == parameters[name] for name in rest)
