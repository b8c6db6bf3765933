"""A file as pixels: uint8, RGB or RGBA, sRGB, upright, the first frame unless asked.

Pillow reads the header and most formats. libjpeg-turbo by itself decodes a JPEG that is
to be much smaller, to the very pixels that Pillow makes, in less time; OpenCV's does
that where memory is to be spared. libvips decodes what it does faster and line by line:
other JPEG, PNG, and WebP that is to be made smaller. What is to be made smaller is made
so while it is decoded, so that the whole bitmap never is in memory where the format
allows that.
"""

from __future__ import annotations

import math
import os
import re
from copy import copy
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from gpu_worker import settings
from gpu_worker.errors import LimitExceeded
from gpu_worker.picture import Picture
from gpu_worker.pixels import colours, header, libvips, scaling
from gpu_worker.pixels.arrays import Pixels, upright
from gpu_worker.pixels.header import MOST_PIXELS

Size = tuple[int, int]

MOST_FRAMES = 1000
DELAY_MS = 100
"""Of a frame that names none, as browsers have it."""
# Others hold several pictures too, but of different things: pages, sizes, two eyes.
_MOVING = {"GIF", "WEBP", "PNG", "AVIF"}
_SEQUENTIAL = {"access": "sequential", "fail_on": "error"}
_JPEG_SHRINKS = (8, 4, 2)
# From here on the reduced bitmap is small enough to be there as a whole.
SMALL_SHRINK = 4
# A JPEG of more is not all in memory while it is decoded.
MOST_WHOLE_BYTES = 16_000_000
_MOST_EXIF_BYTES = 65_000
_XMP_TURN = re.compile(rb'(tiff:Orientation(?:="|>))\d')


def decode(source: Path | bytes, *, enough_px: Size | None = None) -> Pixels:
    """The upright picture, (H, W, 3) or, where anything is transparent, (H, W, 4).

    `enough_px`: an upright (width, height) that the caller will shrink to; a picture
    that is larger may come out smaller than it is, but no smaller than this in both
    directions. Raises InvalidImage.
    """
    return read(source, enough_px=enough_px).pixels


def read(
    source: Path | bytes,
    *,
    enough_px: Size | None = None,
    frames: bool = False,
    keep_profile: bool = False,
    keep_metadata: bool = False,
) -> Picture:
    """As `decode`; with all frames of an animation, in the file's own RGB profile, and
    with what it says of itself, where asked. Raises InvalidImage and LimitExceeded.
    """
    with header.opened(source) as image:
        icc = image.info.get("icc_profile")
        kept = colours.kept(image.mode, icc) if keep_profile else None
        turn = header.orientation(image)
        metadata = _metadata(image) if keep_metadata else {}
        if frames and image.format in _MOVING and getattr(image, "is_animated", False):
            return _animation(image, turn, metadata)
        enough = enough_px[::-1] if enough_px is not None and turn >= 5 else enough_px
        pixels = _by_libvips(source, image, enough, icc=None if kept else icc)
        if pixels is None:
            image.load()
            if kept:
                image.info.pop("icc_profile")
            if image.mode == "RGB" and enough and _is_less(enough, image.size):
                pixels = _scaled(image, enough, icc=None if kept else icc)
            else:
                pixels = colours.of_image(image)
        pixels = upright(pixels, turn)
        return Picture(pixels=pixels, icc=kept, metadata=metadata)


def _by_libvips(
    source: Path | bytes, image: Image.Image, enough: Size | None, *, icc: bytes | None
) -> Pixels | None:
    """The picture, not turned. None: it is one for Pillow."""
    options: dict[str, Any] = dict(_SEQUENTIAL)
    if image.format in ("JPEG", "MPO"):
        load, options["shrink"] = "jpegload", jpeg_shrink(image.size, enough)
    elif image.format == "PNG":
        load = "pngload"
    elif image.format == "WEBP" and enough and _is_less(enough, image.size):
        load, options["scale"] = "webpload", _scale(image.size, enough)
    else:
        return None
    if enough and options.get("shrink", 1) >= SMALL_SHRINK:
        pixels = _drafted(source, image, enough)
        return colours.of_array(_with_channels(pixels), image.mode, icc)
    try:
        loaded = _loaded(source, load, options)
        shrink = options.get("shrink", 1)
        if enough and shrink > 1:
            photo = photo_px(image.size, shrink)
            pixels = scaling.of_image(_eight_bits(loaded), enough, photo)
        else:
            pixels = _shrunk(_eight_bits(loaded), enough).numpy()
    except libvips.Error as error:
        if "out of memory" in str(error):
            raise MemoryError from error
        return None  # libvips is the stricter of the two about odd files
    return colours.of_array(_with_channels(pixels), _mode(loaded), icc)


def _scaled(image: Image.Image, enough: Size, *, icc: bytes | None) -> Pixels:
    """What Pillow has decoded. All its pixels to sRGB would take as long again."""
    factors = enough[0] / image.width, enough[1] / image.height
    pixels = scaling.scaled(np.asarray(image), enough, factors)
    return colours.of_array(pixels, "RGB", icc)


def _loaded(source: Path | bytes, load: str, options: dict[str, Any]) -> Any:
    if isinstance(source, Path):
        return getattr(libvips.Image, load)(str(source), **options)
    return getattr(libvips.Image, f"{load}_buffer")(source, **options)


def _drafted(source: Path | bytes, image: Image.Image, enough: Size) -> Pixels:
    """A JPEG as its decoder makes it smaller, then exactly as large as is enough."""
    image_px, shrink = image.size, jpeg_shrink(image.size, enough)
    image.draft(None, enough)
    pixels = _reduced(source, image, shrink)
    if pixels is None:
        image.load()
        pixels = np.asarray(image, np.uint8)
    photo = photo_px(image_px, shrink)
    factors = enough[0] / photo[0], enough[1] / photo[1]
    return scaling.scaled(pixels, enough, factors)


def _reduced(source: Path | bytes, image: Image.Image, shrink: int) -> Pixels | None:
    """A drafted JPEG by libjpeg-turbo. None: it is one for Pillow, which knows more
    colours, and says what is a damage."""
    if image.mode not in ("L", "RGB"):
        return None
    if isinstance(source, Path) and _is_read_in_pieces(source):
        return _in_pieces(source, image, shrink)
    data = np.fromfile(source, np.uint8) if isinstance(source, Path) else source
    kind = "GRAY" if image.mode == "L" else "RGB"
    width, height = image.size
    try:
        made = simplejpeg.decode_jpeg(data, kind, min_height=height, min_width=width)
    except ValueError:
        return None
    return made if made.shape[1::-1] == image.size else None


def _is_read_in_pieces(source: Path) -> bool:
    """From a file that is all in memory the decoder takes a sixteenth less time, and
    twice the memory."""
    return settings.profile().spares_memory or source.stat().st_size > MOST_WHOLE_BYTES


# By how much smaller, as flags that go with any kind of colours.
_REDUCED = {
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_END = b"\xff\xd9"


def _in_pieces(source: Path, image: Image.Image, shrink: int) -> Pixels | None:
    """As `_reduced`, by OpenCV, which fills up with grey what is cut short."""
    if not _has_end(image):
        return None
    kind = cv2.IMREAD_GRAYSCALE if image.mode == "L" else cv2.IMREAD_COLOR_RGB
    flags = kind | _REDUCED[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
    return _into(_blank(image), source, flags)


def _has_end(image: Image.Image) -> bool:
    file: BinaryIO = image.fp  # type: ignore[attr-defined]  # of one from a file
    at = file.tell()
    file.seek(-len(_END), os.SEEK_END)
    ends = file.read() == _END
    file.seek(at)
    return ends


def _blank(image: Image.Image) -> Pixels:
    bands = () if image.mode == "L" else (len(image.getbands()),)
    return np.empty((image.height, image.width, *bands), np.uint8)


def _into(pixels: Pixels, source: Path, flags: int) -> Pixels | None:
    """The picture in these pixels, which saves a copy of it. None: it cannot be read.

    OpenCV does not say that; it leaves off, so that what was in the last row still is.
    """
    last = pixels[-1].reshape(-1)
    mark = np.arange(last.size) * 37 % 256
    last[:] = mark
    try:
        cv2.imread(str(source), pixels, flags)
    except cv2.error:
        return None  # of another size
    return None if np.array_equal(last, mark) else pixels


def jpeg_shrink(size: Size, enough: Size | None) -> int:
    """How much smaller a JPEG's own decoder may make it."""
    if enough is None:
        return 1
    most = min(size[0] / enough[0], size[1] / enough[1])
    return next((shrink for shrink in _JPEG_SHRINKS if shrink <= most), 1)


def photo_px(size: Size, shrink: int) -> tuple[float, float]:
    """How much of what a JPEG's decoder makes smaller is the photo."""
    return size[0] / shrink, size[1] / shrink


def _scale(size: Size, enough: Size) -> float:
    return max(enough[0] / size[0], enough[1] / size[1])


def _is_less(size: Size, than: Size) -> bool:
    return size[0] < than[0] and size[1] < than[1]


def _shrunk(image: Any, enough: Size | None) -> Any:
    """Exactly as large as is enough, if it is larger in both directions."""
    if enough is None or not _is_less(enough, (image.width, image.height)):
        return image
    has_alpha = image.hasalpha()
    if has_alpha:
        image = image.premultiply()
    factors = enough[0] / image.width, enough[1] / image.height
    image = scaling.by_lanczos(image, enough, factors)
    return image.unpremultiply().cast("uchar") if has_alpha else image


def _eight_bits(image: Any) -> Any:
    return image.cast("uchar", shift=True) if image.format == "ushort" else image


def _mode(image: Any) -> str:
    if image.interpretation == "cmyk":
        return "CMYK"
    return {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[image.bands]


def _with_channels(pixels: Pixels) -> Pixels:
    """(H, W, 1) of a grey picture, also of the lone pixel that comes as a scalar."""
    return pixels if pixels.ndim == 3 else np.atleast_2d(pixels)[..., None]


def _animation(image: Image.Image, turn: int, metadata: dict[str, bytes]) -> Picture:
    """All frames, of one size and one kind. A poster before them is left out."""
    shown: list[Pixels] = []
    delays: list[int] = []
    most = min(MOST_FRAMES, MOST_PIXELS // math.prod(image.size))
    for number in count(1 if image.info.get("default_image") else 0):
        try:
            image.seek(number)
        except EOFError:
            break
        if len(shown) == most:
            raise LimitExceeded("The animation has too many frames.")
        image.load()
        shown.append(upright(colours.of_image(image.copy()), turn))
        delays.append(round(image.info.get("duration", 0)) or DELAY_MS)
    first, *others = _alike(shown)
    return Picture(
        pixels=first,
        frames=tuple(others),
        delays_ms=tuple(delays),
        loop=_plays(image),
        metadata=metadata,
    )


def _alike(frames: list[Pixels]) -> list[Pixels]:
    """All with alpha, if one has."""
    if len({frame.shape[2] for frame in frames}) == 1:
        return frames
    solid = np.full((*frames[0].shape[:2], 1), 255, np.uint8)
    return [f if f.shape[2] == 4 else np.dstack([f, solid]) for f in frames]


def _plays(image: Image.Image) -> int:
    """How often the animation plays; 0: for ever. A GIF counts the repeats."""
    if image.format != "GIF":
        return int(image.info.get("loop", 0))
    repeats = image.info.get("loop")
    return 1 if repeats is None else int(repeats) and int(repeats) + 1


def _metadata(image: Image.Image) -> dict[str, bytes]:
    """EXIF and XMP, both saying that the picture is upright."""
    found = {}
    exif = copy(header.exif_of(image))
    if len(exif):
        exif[ExifTags.Base.Orientation] = 1
        found["exif"] = exif.tobytes()
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if xmp:
        text = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
        found["xmp"] = _XMP_TURN.sub(rb"\g<1>1", text)
    return {name: data for name, data in found.items() if len(data) < _MOST_EXIF_BYTES}
