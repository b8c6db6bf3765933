"""What a file is, from its content: the name and the declared type count for nothing.

Formats are those of `gpu_worker.pixels`, which decodes them later in a child process. A
moving or many-paged file counts as its first picture. Sizes are upright, as the decoder
will turn the picture, and are held against the limits before anything is decoded.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from django.conf import settings

from jobs.errors import ImageTooLarge, InvalidImage, UnsupportedImage
from jobs.parsing import image_headers as headers
from nijika import held

Reader = Callable[[BinaryIO], headers.Size]
HEAD_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sniffed:
    """An image that we read: its own content type and upright size."""

    content_type: str
    width_px: int
    height_px: int


def sniff(file: BinaryIO) -> Sniffed:
    """What `file` is; leaves it at its beginning.

    Raises UnsupportedImage, InvalidImage for a known format with a broken header, and
    ImageTooLarge.
    """
    file.seek(0)
    content_type, measure = _reader(file.read(HEAD_BYTES))
    try:
        width_px, height_px = measure(file)
    except (ValueError, LookupError, struct.error, OverflowError) as error:
        raise InvalidImage from error
    finally:
        file.seek(0)
    if width_px < 1 or height_px < 1:
        raise InvalidImage
    _check_size(width_px, height_px)
    return Sniffed(content_type=content_type, width_px=width_px, height_px=height_px)


def sha256_of(file: BinaryIO) -> str:
    """The digest of `file`, which stands at its beginning before and after."""
    digest = hashlib.sha256()
    for piece in held.pieces(file):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()


def _check_size(width_px: int, height_px: int) -> None:
    most_px, most_side_px = settings.IMAGE_LIMIT_PIXELS, settings.IMAGE_LIMIT_SIDE_PX
    if max(width_px, height_px) > most_side_px or width_px * height_px > most_px:
        raise ImageTooLarge(
            f"The image has {width_px} x {height_px} pixels; at most {most_px} pixels"
            f" and sides of {most_side_px} are taken here."
        )


MAGIC: list[tuple[bytes, str, Reader]] = [
    (b"\xff\xd8\xff", "image/jpeg", headers.jpeg),
    (b"\x89PNG\r\n\x1a\n", "image/png", headers.png),
    (b"GIF87a", "image/gif", headers.gif),
    (b"GIF89a", "image/gif", headers.gif),
    (b"II*\0", "image/tiff", headers.tiff),
    (b"MM\0*", "image/tiff", headers.tiff),
    (b"II+\0", "image/tiff", headers.tiff),
    (b"MM\0+", "image/tiff", headers.tiff),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2", headers.jpeg2000),
    (b"\xff\x4f\xff\x51", "image/jp2", headers.jpeg2000_codestream),
    (b"\0\0\1\0", "image/vnd.microsoft.icon", headers.ico),
]
# "BM" alone begins many a text: the size of the second header is one of these.
DIB_HEADERS = {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def _reader(head: bytes) -> tuple[str, Reader]:
    """The content type and the header reader for a file that begins so."""
    for magic, content_type, reader in MAGIC:
        if head.startswith(magic):
            return content_type, reader
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp", headers.webp
    if head[:2] == b"BM" and head[14:18] in DIB_HEADERS:
        return "image/bmp", headers.bmp
    brands = _brands(head)
    if brands & AVIF_BRANDS:
        return "image/avif", headers.avif
    if brands & HEIF_BRANDS:
        return "image/heif", headers.heif
    raise UnsupportedImage


def _brands(head: bytes) -> set[bytes]:
    """What an ISO base media file says it is; empty for any other file."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}
