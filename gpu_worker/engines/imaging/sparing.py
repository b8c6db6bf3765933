"""A resize from JPEG to JPEG by its planes: in half of the memory.

That takes hardly more time where the decoder itself reduces to a quarter or less, and
to nearly what is wanted. Where it only halves, four times as much goes through our
hands; where much is left to scale, libvips takes longer for one plane than for three
colours: a tenth more time, so that is done where the profile says to spare memory.
"""

from __future__ import annotations

from typing import Any

from gpu_worker import pixels, settings
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Item, Result
from gpu_worker.engines.imaging import resize
from gpu_worker.pixels import decoding, planes, scaling

Size = tuple[int, int]

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
    """The file. None: more is asked for than another size, or it is dear by planes."""
    source = item.inputs[0]
    if item.steps or len(item.inputs) > 1:
        return None
    if not _is_plain(item.parameters, source.content_type):
        return None
    size_px = pixels.upright_size(source.path)
    steps = resize.plan(size_px, item.parameters)
    if steps.result_px != steps.scaled_px:
        return None  # to be cropped or padded
    if not (settings.profile().spares_memory or _is_quick(size_px, steps.scaled_px)):
        return None
    quality = item.parameters.get("quality")
    file = planes.smaller(source.path, steps.scaled_px, quality=quality)
    return None if file is None else Result(**geometry.members(file))


def _is_quick(size_px: Size, wanted_px: Size) -> bool:
    shrink = decoding.jpeg_shrink(size_px, wanted_px)
    made = decoding.photo_px(size_px, shrink)
    factor = min(wanted_px[0] / made[0], wanted_px[1] / made[1])
    return shrink >= decoding.SMALL_SHRINK and factor >= scaling.NEARLY


def _is_plain(parameters: dict[str, Any], content_type: str) -> bool:
    """Whether it is about the size of a plain JPEG and nothing else."""
    given = content_type.removeprefix("image/")
    kind = pixels.form(parameters["format"]) if "format" in parameters else given
    if kind != "jpeg":
        return False
    rest = parameters.keys() - _SIZES - _FILE
    return all(_PLAIN.get(name) == parameters[name] for name in rest)
