"""Foreign bytes to pixels and pixels to bytes. Only for child processes.

A file that a stranger sent is opened with a fixed list of Pillow's decoders (without
one, Pillow starts Ghostscript for an EPS named .png), its header is held against the
limits before any memory is taken, and whatever goes wrong in a decoder is
`invalid_image`. What comes out is always the same: uint8, RGB or RGBA, sRGB, upright,
the first frame.

Arrays are (height, width, channels). A caller sets limits on memory and time of the
process as well: decoders have bugs.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from gpu_worker.errors import InvalidImage

Pixels = NDArray[np.uint8]
Format = Literal["png", "jpeg", "webp"]

# JPEG stands for MPO too: its decoder notices several pictures and takes the first.
FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "JPEG2000", "BMP", "ICO",
)  # fmt: skip
CONTENT_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}
MOST_PIXELS = 50_000_000
MOST_SIDE_PX = 16_000

# A progressive JPEG goes over all its pixels once per scan, however empty the scan is.
# Cameras and encoders write about ten.
MOST_SCANS = 100
MOST_SCANNED_PIXELS = 1_000_000_000

_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_SOS, _EOI, _BARE = 0xDA, 0xD9, {0x01, 0xD8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A whole image file."""

    data: bytes
    content_type: str
    width_px: int
    height_px: int


def decode(source: Path | bytes, *, enough_px: tuple[int, int] | None = None) -> Pixels:
    """The upright picture, (H, W, 3) or, where anything is transparent, (H, W, 4).

    `enough_px`: an upright (width, height) that the caller will shrink to; a large JPEG
    may then come out smaller than it is, but no smaller than this in both directions.
    Raises InvalidImage.
    """
    data = _bytes(source)
    with _guarded():
        image = _open(data)
        turn = _orientation(image)
        if enough_px is not None:
            image.draft(None, enough_px[::-1] if turn >= 5 else enough_px)
        image.load()
        return _upright(_to_srgb(image), turn)


def encode(pixels: Pixels, kind: Format, *, quality: int = 90) -> Encoded:
    """A file of (H, W), (H, W, 3) or (H, W, 4) pixels. A JPEG has no alpha.

    Colours under alpha 0 are written as zero, so that nothing of the background can be
    read back (and the file is written several times faster).
    """
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = without_hidden_colours(pixels)
    return Encoded(
        data=_png(pixels) if kind == "png" else _lossy(pixels, kind, quality),
        content_type=CONTENT_TYPES[kind],
        width_px=pixels.shape[1],
        height_px=pixels.shape[0],
    )


def _png(pixels: Pixels) -> bytes:
    """One fixed filter and the lowest level: a quarter of the usual time, and on photos
    no more bytes."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, order[pixels.shape[2]])
    return bytes(cv2.imencode(".png", pixels, options)[1])


def _lossy(pixels: Pixels, kind: Format, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind.upper(), quality=quality, method=0)
    return out.getvalue()


def form(name: str | None) -> Format:
    """The format that a client's name means; `jpg` is a jpeg, and no name is png."""
    found: dict[str | None, Format] = {
        None: "png", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"
    }  # fmt: skip
    return found[name]


def upright_size(source: Path | bytes) -> tuple[int, int]:
    """(width, height) in pixels as `decode` will give them. Raises InvalidImage."""
    data = _bytes(source)
    with _guarded():
        image = _open(data)
        return image.size[::-1] if _orientation(image) >= 5 else image.size


def without_hidden_colours(pixels: Pixels) -> Pixels:
    """The same RGBA picture with (0, 0, 0, 0) wherever alpha is 0."""
    whole = np.ascontiguousarray(pixels).view(np.uint32)
    return np.where(pixels[..., 3:] != 0, whole, np.uint32(0)).view(np.uint8)


def flatten(pixels: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """RGB on a plain background. An RGB picture is returned as it is."""
    if pixels.shape[2] == 3:
        return pixels
    flat = Image.new("RGB", (pixels.shape[1], pixels.shape[0]), colour)
    flat.paste(Image.fromarray(pixels[..., :3]), mask=Image.fromarray(pixels[..., 3]))
    return np.asarray(flat)


@contextmanager
def _guarded() -> Iterator[None]:
    """Whatever a decoder raises on foreign bytes means that they are damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (InvalidImage, MemoryError):
            raise
        except Exception as error:
            raise InvalidImage from error


@cache
def _prepare() -> None:
    """Load the decoders, and no others; HEIF without its extras and threads."""
    for name in ("Avif", "Bmp", "Gif", "Ico", "Jpeg", "Jpeg2K", "Png", "Tiff", "WebP"):
        import_module(f"PIL.{name}ImagePlugin")
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )


def _bytes(source: Path | bytes) -> bytes:
    """The file. One that cannot be read is our fault, not a damaged image."""
    return source.read_bytes() if isinstance(source, Path) else source


def _open(data: bytes) -> Image.Image:
    _prepare()
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width_px, height_px = image.size
    if max(image.size) > MOST_SIDE_PX or width_px * height_px > MOST_PIXELS:
        raise InvalidImage(f"The image is too large: {width_px} x {height_px} pixels.")
    if image.format in ("JPEG", "MPO"):
        _check_scans(data, pixels=width_px * height_px)
    return image


def _check_scans(jpeg: bytes, *, pixels: int) -> None:
    most = min(MOST_SCANS, MOST_SCANNED_PIXELS // pixels)
    for number, _ in enumerate(_scans(jpeg), start=1):
        if number > most:
            raise InvalidImage(f"The JPEG has more than {most} scans.")


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


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 for what turns itself on loading: HEIF and TIFF."""
    if image.format == "TIFF":
        return 1
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: Pixels, turn: int) -> Pixels:
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = slice(None, None, -1 if turn in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if turn in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(pixels[rows, columns])


def _to_srgb(image: Image.Image) -> Pixels:
    """RGB, or RGBA where the picture has alpha, whatever the file held."""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        icc = image.info.get("icc_profile")
        image = Image.fromarray(_eight_bits(np.asarray(image)))
        image.info["icc_profile"] = icc
    colours = _by_profile(image) or image.convert("RGB")
    if alpha is None or alpha.getextrema()[0] == 255:
        return np.asarray(colours)
    colours.putalpha(alpha)
    return np.asarray(colours)


def _eight_bits(grey: NDArray[Any]) -> Pixels:
    """Deep grey as uint8. A plain conversion cuts all above 255 to white.

    Integers have 16 bits, whatever is stored; floats say by their greatest value
    whether white is 1, 255 or 65535.
    """
    if grey.dtype.kind in "iu":
        return (np.clip(grey, 0, 65535) // 257).astype(np.uint8)
    grey = np.nan_to_num(grey, posinf=0, neginf=0)
    white = next((w for w in (1, 255) if grey.max(initial=0) <= w), 65535)
    return np.clip(grey * (255 / white), 0, 255).astype(np.uint8)


# What a profile of each colour space speaks of, by the mode of the picture.
_SPACES = {
    "RGB": ("RGB", "RGBA", "RGBX", "P", "PA"),
    "GRAY": ("L", "LA", "1"),
    "CMYK": ("CMYK",),
    "Lab": ("LAB",),
}
_BASE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def _by_profile(image: Image.Image) -> Image.Image | None:
    """RGB in sRGB by the colour profile. None: there is none that fits the picture."""
    profile = _profile(image)
    if profile is None:
        return None
    space = profile.profile.xcolor_space.strip()
    if image.mode not in _SPACES.get(space, ()):
        return None
    base = image.convert(_BASE_MODES[space])
    try:
        made = ImageCms.profileToProfile(base, profile, _srgb(), outputMode="RGB")
    except ImageCms.PyCMSError:
        return None
    return made


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The embedded profile, unless it is sRGB itself or cannot be read."""
    if image.mode == "LAB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    icc = image.info.get("icc_profile")
    if not icc:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except OSError:
        return None
    return None if "sRGB" in (profile.profile.profile_description or "") else profile


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
