"""What a file says of itself, held against the limits before any memory is taken.

A file that a stranger sent is opened with a fixed list of Pillow's decoders: without
one, Pillow starts Ghostscript for an EPS named .png. Whatever goes wrong in a decoder
is `invalid_image`.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import ExifTags, Image

from gpu_worker.errors import InvalidImage, StorageUnavailable, WorkerError
from gpu_worker.pixels import heif, png, tiff
from gpu_worker.pixels.formats import FORMATS

MOST_PIXELS = 50_000_000
MOST_SIDE_PX = 16_000

# A progressive JPEG goes over all its pixels once per scan, however empty the scan is.
# Cameras and encoders write about ten.
MOST_SCANS = 100
MOST_SCANNED_PIXELS = 1_000_000_000

CHUNK_BYTES = 1 << 17
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_SOS, _EOI, _BARE = 0xDA, 0xD9, {0x01, 0xD8}


def upright_size(source: Path | bytes) -> tuple[int, int]:
    """(width, height) in pixels as `decode` will give them. Raises InvalidImage."""
    with opened(source, is_decoded=False) as image:
        return image.size[::-1] if orientation(image) >= 5 else image.size


@contextmanager
def opened(source: Path | bytes, *, is_decoded: bool = True) -> Iterator[Image.Image]:
    """The image, its pixels not read yet. Raises InvalidImage, then and meanwhile.

    `is_decoded`: they will be, so what would make that long is looked for, and damage
    that a decoder does not mind.

    A file that cannot be read is our fault, not a damaged image.
    """
    prepare()
    with _file(source) as file, guarded():
        image = Image.open(file, formats=FORMATS)
        _check_size(image)
        if is_decoded and image.format in ("JPEG", "MPO"):
            at = file.tell()
            if not (image.format == "JPEG" and _is_one_scan(image, file)):
                _check_scans(file, pixels=image.width * image.height)
            file.seek(at)
        if is_decoded and image.format == "PNG":
            image.info["icc_profile"] = png.profile_of(file, image.mode, image.info)
        if is_decoded and image.format == "HEIF" and not heif.is_whole(file):
            raise InvalidImage
        yield image


@contextmanager
def guarded() -> Iterator[None]:
    """Whatever a decoder raises on foreign bytes means that they are damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (WorkerError, MemoryError):
            raise
        except Exception as error:
            raise InvalidImage from error


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 for what turns itself on loading: HEIF and TIFF."""
    if image.format == "TIFF":
        return 1
    value = exif_of(image).get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_of(image: Image.Image) -> Image.Exif:
    """What the header says. A PNG's own method would read all pixels to look for EXIF
    behind them."""
    return Image.Image.getexif(image)


@cache
def prepare() -> None:
    """Load the decoders, and no others; HEIF without its extras and threads."""
    for name in ("Avif", "Bmp", "Gif", "Ico", "Jpeg", "Jpeg2K", "Png", "Tiff", "WebP"):
        import_module(f"PIL.{name}ImagePlugin")
    _, is_tiff = Image.OPEN["TIFF"]
    Image.register_open("TIFF", tiff.TiffFile, is_tiff)
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )


def _file(source: Path | bytes) -> BinaryIO:
    """Raises StorageUnavailable for an input that was there a moment ago."""
    if not isinstance(source, Path):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except OSError as error:
        raise StorageUnavailable("An input is not in the file store.") from error


def content(source: Path) -> bytes:
    """The whole file. Raises StorageUnavailable."""
    with _file(source) as file:
        return file.read()


def _check_size(image: Image.Image) -> None:
    width_px, height_px = image.size
    if max(image.size) > MOST_SIDE_PX or width_px * height_px > MOST_PIXELS:
        raise InvalidImage(f"The image is too large: {width_px} x {height_px} pixels.")


def _is_one_scan(image: Image.Image, file: BinaryIO) -> bool:
    """Whether a JPEG's decoder goes over the pixels once, and not on to other scans.

    So it is where the first scan, whose header has just been read, has all colours, and
    the file is not progressive (ITU T.81, annexes A.2 and B.2.3).
    """
    colours = len(image.getbands())
    length = 6 + 2 * colours
    file.seek(-length, os.SEEK_CUR)
    begin = file.read(3)
    return "progressive" not in image.info and begin == bytes([0, length, colours])


def _check_scans(file: BinaryIO, *, pixels: int) -> None:
    most = min(MOST_SCANS, MOST_SCANNED_PIXELS // pixels)
    if _most_scans(file) <= most:
        return  # no more than that with the thumbnails in it, so no need to walk
    file.seek(0)
    for number, _ in enumerate(_scans(file.read()), start=1):
        if number > most:
            raise InvalidImage(f"The JPEG has more than {most} scans.")


def _most_scans(file: BinaryIO) -> int:
    """How often the two bytes that begin a scan are in the file, whatever they mean
    there. The file is never in memory as a whole."""
    file.seek(0)
    found, last = 0, 0
    while chunk := file.read(CHUNK_BYTES):
        for offset in (0, 1):
            count = (len(chunk) - offset) // 2
            pairs = np.frombuffer(chunk, "<u2", count, offset)
            found += int(np.count_nonzero(pairs == (_SOS << 8 | 0xFF)))
        found += last == 0xFF and chunk[0] == _SOS
        last = chunk[-1]
    return found


def _scans(jpeg: bytes) -> Iterator[int]:
    """Where the scans of the first picture begin (ITU T.81, annex B.1)."""
    at = 2
    while match := _MARKER.search(jpeg, at):
        marker, at = match[1][0], match.end()
        if marker == _EOI:
            return
        if marker == _SOS:
            yield at
        if marker not in _BARE:
            at += int.from_bytes(jpeg[at : at + 2], "big")
