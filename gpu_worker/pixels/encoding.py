"""Pixels as a file, by libvips; a plain JPEG by OpenCV, which writes the same bytes in
half of the time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from gpu_worker.pixels import libvips
from gpu_worker.pixels.arrays import Pixels, without_hidden_colours
from gpu_worker.pixels.formats import ANIMATED, CONTENT_TYPES, Format

QUALITY: dict[Format, int] = {"jpeg": 85, "webp": 85, "avif": 60}
LOSSY = frozenset(QUALITY)
# From here on libvips writes the colours of a JPEG at their full size.
FULL_COLOUR_QUALITY = 90

# Measured on photos of 2 and 12 megapixels with and without alpha: PNG at level 4 with
# one fixed filter takes a sixth of the time of the adaptive filters at level 6 and is
# no larger; an AVIF gains nothing from more effort, a WebP nothing beyond 2.
PNG = {"compression": 4, "filter": "up"}
WEBP_EFFORT, AVIF_EFFORT, GIF_EFFORT = 2, 0, 3


# What encoders say of pixels that are as they should be. That of AVIF has several words
# for it, and takes about 20 bytes a pixel.
_NO_MEMORY = re.compile(
    r"out of memory|allocat|encoder plugin generated", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A whole image file."""

    data: bytes
    content_type: str
    width_px: int
    height_px: int


def encode(
    pixels: Pixels,
    kind: Format,
    *,
    quality: int | None = None,
    lossless: bool = False,
    progressive: bool = False,
    subsample: bool = True,
    icc: bytes | None = None,
    metadata: Mapping[str, bytes] | None = None,
    frames: Sequence[Pixels] = (),
    delays_ms: Sequence[int] = (),
    loop: int = 0,
) -> Encoded:
    """A file of (H, W), (H, W, 3) or (H, W, 4) pixels. A JPEG has no alpha.

    Colours under alpha 0 are written as zero, so that nothing of the background can be
    read back (and the file is written several times faster). Where the format cannot
    move, `frames` are left out. `subsample`: whether a JPEG below quality 90 has its
    colours at half the size, as is usual. `icc` says what the pixels are in,
    `metadata` is the EXIF and XMP to write. Raises MemoryError, also where an encoder
    says in words of its own that it got none.
    """
    if kind == "jpeg" and not (icc or metadata or progressive):
        return _plain_jpeg(pixels, quality or QUALITY["jpeg"], subsample=subsample)
    moving = bool(frames) and kind in ANIMATED
    image = _image(np.concatenate([pixels, *frames]) if moving else pixels)
    if moving:
        _set_moving(image, pixels.shape[0], delays_ms, loop)
    kept = _set_metadata(image, icc, metadata or {})
    options = _options(kind, quality, lossless=lossless, progressive=progressive)
    if kind == "jpeg" and not subsample:
        options["subsample_mode"] = "off"
    try:
        data = getattr(image, _SAVE[kind])(keep=kept, **options)
    except libvips.Error as error:
        if _NO_MEMORY.search(str(error)):
            raise MemoryError from error
        raise
    return Encoded(
        data=data,
        content_type=CONTENT_TYPES[kind],
        width_px=pixels.shape[1],
        height_px=pixels.shape[0],
    )


_HALF = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
_FULL = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444


def _plain_jpeg(pixels: Pixels, quality: int, *, subsample: bool) -> Encoded:
    how = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if pixels.ndim == 3:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), np.uint8)
        halved = subsample and quality < FULL_COLOUR_QUALITY
        how += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _HALF if halved else _FULL]
    _, data = cv2.imencode(".jpg", pixels, how)
    return Encoded(
        data=data.tobytes(),
        content_type=CONTENT_TYPES["jpeg"],
        width_px=pixels.shape[1],
        height_px=pixels.shape[0],
    )


_SAVE: dict[Format, str] = {
    "png": "pngsave_buffer",
    "jpeg": "jpegsave_buffer",
    "webp": "webpsave_buffer",
    "avif": "heifsave_buffer",
    "gif": "gifsave_buffer",
}


def _options(
    kind: Format, quality: int | None, *, lossless: bool, progressive: bool
) -> dict[str, Any]:
    lossy = {"Q": quality or QUALITY.get(kind)}
    if kind == "jpeg":
        return lossy | {"interlace": progressive}
    if kind == "webp":
        how = {"lossless": True} if lossless else lossy
        return how | {"effort": WEBP_EFFORT}
    if kind == "avif":
        how = {"lossless": True} if lossless else lossy
        return how | {"compression": "av1", "effort": AVIF_EFFORT}
    if kind == "png":
        return PNG | {"interlace": progressive}
    return {"effort": GIF_EFFORT}


def _image(pixels: Pixels) -> Any:
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = without_hidden_colours(pixels)
    height, width = pixels.shape[:2]
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    data = np.ascontiguousarray(pixels)
    image = libvips.Image.new_from_memory(data, width, height, bands, "uchar")
    return image.copy(interpretation="srgb" if bands >= 3 else "b-w")


def _set_moving(image: Any, height: int, delays_ms: Sequence[int], loop: int) -> None:
    image.set_type(libvips.INTEGER, "page-height", height)
    image.set_type(libvips.INTEGER, "loop", loop)
    image.set_type(libvips.ARRAY, "delay", list(delays_ms))


def _set_metadata(image: Any, icc: bytes | None, metadata: Mapping[str, bytes]) -> Any:
    """Put on what is to be written, and say so in libvips' words."""
    blobs = {f"{name}-data": data for name, data in metadata.items()}
    if icc is not None and image.bands >= 3:
        blobs["icc-profile-data"] = icc
    for name, data in blobs.items():
        image.set_type(libvips.BLOB, name, data)
    return "|".join(name.split("-")[0] for name in blobs) or "none"
