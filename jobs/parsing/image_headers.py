"""How large a picture is, read from a file's header in a few seeks.

By hand and not by a decoder: some decoders take memory for all that a 34-byte header
claims, decode while "opening" (Pillow's ICO), or copy every one of 65 000 overlapping
tags (its TIFF and EXIF). Here nothing is read but what the size needs, and every loop
over a stranger's file has an end.

Each reader takes the file and gives the upright (width, height) of its first picture;
it raises ValueError, KeyError, IndexError or struct.error for a header that is broken.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

Size = tuple[int, int]
Box = tuple[bytes, bytes]
MOST_PARTS = 10_000
BEYOND_ANY_FILE = 1 << 40
# A HEIF's meta box holds an entry per tile and property: kilobytes, not megabytes.
MOST_META_BYTES = 4 << 20


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    found = _peek(file, at, length)
    if len(found) < length:
        raise ValueError("the file ends within its header")
    return found


def _peek(file: BinaryIO, at: int, length: int) -> bytes:
    """Up to `length` bytes; fewer, or none, at the file's end."""
    if at >= BEYOND_ANY_FILE:
        return b""
    file.seek(at)
    return file.read(length)


def _turned(size: Size, orientation: int) -> Size:
    return size[::-1] if orientation in (5, 6, 7, 8) else size


# TIFF 6.0, section 2, BigTIFF, and EXIF, which is a TIFF without a picture

WIDTH_TAG, HEIGHT_TAG, ORIENTATION_TAG = 256, 257, 274


def tiff(file: BinaryIO) -> Size:
    tags = _tiff_tags(file, 0)
    return _turned((tags[WIDTH_TAG], tags[HEIGHT_TAG]), tags.get(ORIENTATION_TAG, 1))


def _tiff_tags(file: BinaryIO, start: int) -> dict[int, int]:
    """The whole numbers of the first directory of the TIFF that begins at `start`."""
    head = _read(file, start, 16)
    order, big = ("<" if head[:2] == b"II" else ">"), head[2:4] in (b"+\0", b"\0+")
    form, entry_form = ("Q", "HHQ8s") if big else ("I", "HHI4s")
    offset = struct.unpack_from(order + form, head, 8 if big else 4)[0]
    count_form = order + ("Q" if big else "H")
    count_size, entry_size = (
        struct.calcsize(count_form),
        struct.calcsize("<" + entry_form),
    )
    (count,) = struct.unpack(count_form, _read(file, start + offset, count_size))
    tags: dict[int, int] = {}
    for number in range(min(count, MOST_PARTS)):
        at = start + offset + count_size + number * entry_size
        entry = struct.unpack(order + entry_form, _read(file, at, entry_size))
        tag, kind, values, content = entry
        if kind in INTEGERS and values == 1:
            tags.setdefault(tag, _integer(order, kind, content))
    return tags


INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _integer(order: str, kind: int, content: bytes) -> int:
    number: int = struct.unpack_from(order + INTEGERS[kind], content)[0]
    return number


def _orientation(file: BinaryIO, start: int) -> int:
    """The orientation that EXIF at `start` gives; damaged EXIF turns nothing."""
    try:
        if _read(file, start, 6) == b"Exif\0\0":
            start += 6
        return _tiff_tags(file, start).get(ORIENTATION_TAG, 1)
    except (ValueError, struct.error):
        return 1


# JPEG: ITU T.81, annex B

FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
APP1 = 0xE1


def jpeg(file: BinaryIO) -> Size:
    orientation = 1
    for marker, at in _jpeg_segments(file):
        if marker in FRAMES:
            height, width = struct.unpack(">HH", _read(file, at + 3, 4))
            return _turned((width, height), orientation)
        if marker == APP1 and _read(file, at + 2, 6) == b"Exif\0\0":
            orientation = _orientation(file, at + 2)
    raise ValueError("no frame header")


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Each marker, and where its segment (length first) begins, up to the pixels."""
    at = 2
    for _ in range(MOST_PARTS):
        first, marker = _read(file, at, 2)
        if first != 0xFF or marker in (0xD9, 0xDA):
            return
        if marker == 0xFF:  # fill bytes may come before a marker
            at += 1
            continue
        at += 2
        yield marker, at
        at += struct.unpack(">H", _read(file, at, 2))[0]


# PNG: W3C PNG (third edition), section 5


def png(file: BinaryIO) -> Size:
    header = _read(file, 8, 25)
    if header[:8] != b"\0\0\0\rIHDR" or _crc(header[4:21]) != header[21:]:
        raise ValueError("no sound IHDR")
    width, height = struct.unpack(">II", header[8:16])
    return _turned((width, height), _png_orientation(file))


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def _png_orientation(file: BinaryIO) -> int:
    at = 33
    for _ in range(MOST_PARTS):
        head = _peek(file, at, 8)
        if len(head) < 8 or head[4:] == b"IEND":
            break
        if head[4:] == b"eXIf":
            return _orientation(file, at + 8)
        at += 12 + int.from_bytes(head[:4], "big")
    return 1


# GIF89a, section 18; BMP; ICO


def gif(file: BinaryIO) -> Size:
    """The screen, or the first picture where that reaches beyond it."""
    width, height, flags = struct.unpack("<HHB", _read(file, 6, 5))
    at = _gif_picture(file, 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    left, top, inner_width, inner_height = struct.unpack("<4H", _read(file, at, 8))
    return max(width, left + inner_width), max(height, top + inner_height)


def _gif_picture(file: BinaryIO, at: int) -> int:
    """Where the first image descriptor begins, past the extensions before it."""
    for _ in range(MOST_PARTS):
        kind = _read(file, at, 1)
        if kind == b",":
            return at + 1
        if kind != b"!":
            break
        at += 2
        for _ in range(MOST_PARTS):
            (length,) = _read(file, at, 1)
            at += 1 + length
            if not length:
                break
    raise ValueError("no picture")


def bmp(file: BinaryIO) -> Size:
    if _read(file, 14, 4) == b"\x0c\0\0\0":
        return struct.unpack("<HH", _read(file, 18, 4))
    width, height = struct.unpack("<ii", _read(file, 18, 8))
    return width, abs(height)  # a negative height says that the first row is on top


def ico(file: BinaryIO) -> Size:
    """The largest picture in it."""
    count = int.from_bytes(_read(file, 4, 2), "little")
    sizes = [_ico_picture(file, 6 + 16 * number) for number in range(min(count, 256))]
    return max(sizes, key=lambda size: size[0] * size[1])


def _ico_picture(file: BinaryIO, at: int) -> Size:
    entry = _read(file, at, 16)
    start = _read(file, int.from_bytes(entry[12:16], "little"), 24)
    if start.startswith(b"\x89PNG"):  # its own header counts, whatever the entry says
        return struct.unpack(">II", start[16:24])
    return entry[0] or 256, entry[1] or 256


# WebP: RFC 9649, section 2


def webp(file: BinaryIO) -> Size:
    size, orientation = None, 1
    for name, at in _webp_chunks(file):
        if size is None:
            size = _webp_size(name, _read(file, at, 10))
        elif name == b"EXIF":
            orientation = _orientation(file, at)
    if size is None:
        raise ValueError("no picture")
    return _turned(size, orientation)


def _webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The name of each chunk and where its content begins."""
    at = 12
    for _ in range(MOST_PARTS):
        header = _peek(file, at, 8)
        if len(header) < 8:
            return
        yield header[:4], at + 8
        length = int.from_bytes(header[4:], "little")
        at += 8 + length + length % 2


def _webp_size(name: bytes, start: bytes) -> Size | None:
    if name == b"VP8X":
        width, height = start[4:7], start[7:10]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if name == b"VP8L" and start[0] == 0x2F:
        bits = int.from_bytes(start[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and start[3:6] == b"\x9d\x01\x2a":
        width_bits, height_bits = struct.unpack("<HH", start[6:10])
        return width_bits & 0x3FFF, height_bits & 0x3FFF
    return None


# Boxes: ISO/IEC 14496-12. JPEG 2000: ITU T.800, annexes A and I


def _file_box(file: BinaryIO, wanted: bytes) -> bytes:
    """The content of the first box of that name at the top of the file."""
    at = 0
    for _ in range(64):
        header = _peek(file, at, 16)
        length, name, skip = int.from_bytes(header[:4], "big"), header[4:8], 8
        if length == 1:
            length, skip = int.from_bytes(header[8:16], "big"), 16
        if name == wanted:
            most = min(length or MOST_META_BYTES, MOST_META_BYTES)
            return _peek(file, at + skip, most - skip)
        if length < skip:
            break
        at += length
    raise ValueError(f"no {wanted!r} box")


def _boxes(content: bytes) -> Iterator[Box]:
    at = 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length < 8:
            raise ValueError("a box shorter than its header")
        yield content[at + 4 : at + 8], content[at + 8 : at + length]
        at += length


def jpeg2000(file: BinaryIO) -> Size:
    header = dict(_boxes(_file_box(file, b"jp2h")))
    height, width = struct.unpack(">II", header[b"ihdr"][:8])
    return width, height


def jpeg2000_codestream(file: BinaryIO) -> Size:
    right, bottom, left, top = struct.unpack(">4I", _read(file, 8, 16))
    return right - left, bottom - top


# HEIF and AVIF: items and their properties, ISO/IEC 23008-12. EXIF turns nothing here.


def avif(file: BinaryIO) -> Size:
    """Its decoder turns the picture by `irot`, and does not cut it to `clap`."""
    properties = _primary_properties(_file_box(file, b"meta")[4:])
    return _by_irot(_extent(properties), properties)


def heif(file: BinaryIO) -> Size:
    properties = _primary_properties(_file_box(file, b"meta")[4:])
    size = _extent(properties)
    if clap := dict(properties).get(b"clap"):
        width, width_by, height, height_by = struct.unpack(">4I", clap[:16])
        if width_by and height_by:
            size = min(size[0], width // width_by), min(size[1], height // height_by)
    return _by_irot(size, properties)


def _extent(properties: list[Box]) -> Size:
    width, height = struct.unpack(">II", dict(properties)[b"ispe"][4:12])
    return width, height


def _by_irot(size: Size, properties: list[Box]) -> Size:
    quarter_turns = dict(properties).get(b"irot", b"\0")[0] & 3
    return size[::-1] if quarter_turns % 2 else size


def _primary_properties(meta: bytes) -> list[Box]:
    """The properties (size, turn, ...) of the picture that the file is about."""
    boxes = dict(_boxes(meta))
    primary = boxes[b"pitm"]
    item = int.from_bytes(primary[4 : 6 if primary[0] == 0 else 8], "big")
    parts = dict(_boxes(boxes[b"iprp"]))
    known = list(_boxes(parts[b"ipco"]))
    return [known[at - 1] for at in _associations(parts[b"ipma"], item) if at]


def _associations(ipma: bytes, wanted: int) -> list[int]:
    """The 1-based numbers of an item's properties."""
    id_bytes, wide = (2 if ipma[0] == 0 else 4), ipma[3] & 1
    count, at = int.from_bytes(ipma[4:8], "big"), 8
    for _ in range(min(count, MOST_PARTS)):
        item = int.from_bytes(ipma[at : at + id_bytes], "big")
        at += id_bytes + 1
        size = ipma[at - 1] * (1 + wide)
        if item == wanted:
            return _numbers(ipma[at : at + size], wide=bool(wide))
        at += size
    raise ValueError("the primary item has no properties")


def _numbers(entries: bytes, *, wide: bool) -> list[int]:
    """The first bit of each says only whether the property must be understood."""
    if not wide:
        return [entry & 0x7F for entry in entries]
    pairs = zip(entries[::2], entries[1::2], strict=True)
    return [(high & 0x7F) << 8 | low for high, low in pairs]
