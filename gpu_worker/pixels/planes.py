"""A JPEG made of a much larger one, without a picture in between.

    file, piece by piece -> rows of brightness and colours, reduced by the decoder
                         -> three planes, the colours' at half the size
                         -> each plane scaled by itself -> upright -> file

That is how a JPEG holds a picture anyway. It takes less than half of the memory that
`decode` and `encode` take for the same: what has been read is given back to the kernel
and got anew. That costs a twentieth more time, or a tenth where much is left to
scale.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from gpu_worker.pixels import colours, decoding, header, scaling
from gpu_worker.pixels.arrays import Pixels, puts_last_first, upright
from gpu_worker.pixels.encoding import FULL_COLOUR_QUALITY, QUALITY, Encoded
from gpu_worker.pixels.formats import CONTENT_TYPES

Size = tuple[int, int]
Numbers = tuple[float, float]
"""Across and down."""
Take = Callable[[Pixels, int], None]

# A colour that stands for more than a pixel has to be near its place all the same.
LEAST_SIDE_PX = 16
# About so many rows are read, taken and forgotten at a time; if there are fewer, then
# not before there are so many. Fewer take more time, more take more memory.
ROWS_AT_ONCE, FEWEST_ROWS = 48, 16
# However much or little of the file that is.
LEAST_BYTES, MOST_BYTES = 1 << 12, 1 << 17
MADV_POPULATE_WRITE = 23  # of Linux 5.14


def smaller(
    source: Path, size_px: Size, *, quality: int | None = None
) -> Encoded | None:
    """A plain JPEG of this upright size, as `decode` and `encode` make it but for what
    rounding does. Raises InvalidImage.

    None: not of this file, or not at this size or quality.
    """
    quality = quality or QUALITY["jpeg"]
    if quality >= FULL_COLOUR_QUALITY or min(size_px) < LEAST_SIDE_PX:
        return None
    with header.opened(source) as image:
        turn = header.orientation(image)
        stored_px = size_px[::-1] if turn >= 5 else size_px
        if not _is_suitable(image, stored_px):
            return None
        shrink = decoding.jpeg_shrink(image.size, stored_px)
        photo = decoding.photo_px(image.size, shrink)
        if image.draft("YCbCr", stored_px) is None:
            return None
        try:
            planes = _decoded(image)
        except OSError:
            return None  # damaged, or RGB inside: it is for `decode` to say
    factors = stored_px[0] / photo[0], stored_px[1] / photo[1]
    planes.scale(stored_px, factors, turn)
    data = simplejpeg.encode_jpeg_yuv_planes(
        planes.luma, planes.blue, planes.red, quality=quality
    )
    return Encoded(
        data=data,
        content_type=CONTENT_TYPES["jpeg"],
        width_px=size_px[0],
        height_px=size_px[1],
    )


def _is_suitable(image: Image.Image, enough: Size) -> bool:
    is_jpeg = image.format in ("JPEG", "MPO") and image.mode == "RGB"
    if not is_jpeg or decoding.jpeg_shrink(image.size, enough) == 1:
        return False
    if "progressive" in image.info:
        return False  # all of it is in memory before there is a row
    return colours.kept(image.mode, image.info.get("icc_profile")) is None


@dataclass(slots=True)
class _Planes:
    """As the file has them: uint8 (H, W), and twice (H/2, W/2), rounded up."""

    luma: Pixels
    blue: Pixels
    red: Pixels

    def put(self, rows: Pixels, at: int) -> None:
        """Rows as `_Rows` gives them, from number `at` on."""
        cv2.extractChannel(rows, 0, self.luma[at : at + rows.shape[0]])
        below, right = rows.shape[0] % 2, rows.shape[1] % 2
        if below or right:
            rows = cv2.copyMakeBorder(rows, 0, below, 0, right, cv2.BORDER_REPLICATE)
        size = rows.shape[1] // 2, rows.shape[0] // 2
        small = cv2.resize(rows, size, interpolation=cv2.INTER_AREA)
        there = slice(at // 2, at // 2 + size[1])
        cv2.extractChannel(small, 1, self.blue[there])
        cv2.extractChannel(small, 2, self.red[there])

    def scale(self, size_px: Size, factors: Numbers, turn: int) -> None:
        """To this size before the turn, then turned. The small ones first: the less
        there is beside the large one, the better."""
        half = (size_px[0] + 1) // 2, (size_px[1] + 1) // 2
        begin = _begin_of_colours(size_px, factors, turn)
        blue = _fitted(_scaled(self.blue, half, factors, begin), half)
        self.blue = upright(blue, turn)
        red = _fitted(_scaled(self.red, half, factors, begin), half)
        self.red = upright(red, turn)
        self.luma = _fitted(scaling.scaled(self.luma, size_px, factors), size_px)
        self.luma = _even(upright(self.luma, turn))


def _begin_of_colours(size_px: Size, factors: Numbers, turn: int) -> Numbers:
    """Where in the file's own those of the result begin. Pairs are counted from where
    the result begins: of an odd side that a turn puts last first, the file's first
    pixel is half of a pair."""
    is_last_first = puts_last_first(turn)
    across, down = (
        -0.5 / factor if side % 2 and turned else 0.0
        for side, factor, turned in zip(size_px, factors, is_last_first, strict=True)
    )
    return across, down


def _decoded(image: Image.Image) -> _Planes:
    """What is in a file that is not read yet. Raises OSError."""
    width, height = image.size
    half = (height + 1) // 2, (width + 1) // 2
    planes = _Planes(
        luma=np.empty((height, width), np.uint8),
        blue=np.empty(half, np.uint8),
        red=np.empty(half, np.uint8),
    )
    _decode(image, planes.put)
    return planes


def _decode(image: Image.Image, take: Take) -> None:
    """Give `take` all rows. Raises OSError."""
    rows = _Rows(image.size, take)
    # Pillow writes into its own image's memory. This one's is ours, and it is filled
    # from above while the file is read.
    there = rows.pixels
    image.im = Image.frombuffer("RGBX", image.size, there, "raw", "RGBX", 0, 1).im
    file: BinaryIO = image.fp  # type: ignore[attr-defined]  # of one from a file
    wanted = os.fstat(file.fileno()).st_size * ROWS_AT_ONCE // image.height
    some = min(max(wanted, LEAST_BYTES), MOST_BYTES)
    image.decodermaxblock = some  # type: ignore[attr-defined]
    image.fp = _Watched(file, rows.harvest)  # type: ignore[attr-defined]
    image.load()
    rows.harvest()
    if rows.taken < image.height:
        raise OSError("The decoder has left rows out.")


class _Rows:
    """Of an image that is being decoded: only those are in memory that are written and
    not taken.

    `pixels`: uint8 (H, W, 4) of Y, Cb, Cr and what is not zero once it is written.
    `take` is given rows (n, W, 4) from an even number on, and but for the last an even
    number of them.
    """

    def __init__(self, size: Size, take: Take) -> None:
        width, height = size
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        # Of shared memory nothing would be given back, only be out of sight.
        self._memory = mmap.mmap(-1, width * height * 4, flags=private)
        whole = np.frombuffer(self._memory, np.uint8)
        self.pixels = whole.reshape(height, width, 4)
        self.taken = 0
        self._take = take
        self._given_back = 0

    def harvest(self) -> None:
        """Take what is new, and forget it."""
        end = self._written()
        if end - self.taken < (FEWEST_ROWS if end < len(self.pixels) else 1):
            return
        self._take(self.pixels[self.taken : end], self.taken)
        self.taken = end
        self._forget()

    def _written(self) -> int:
        end, height = self.taken, len(self.pixels)
        while end < height and self.pixels[end, -1, 3]:
            end += 1
        return end if end == height else end - end % 2

    def _forget(self) -> None:
        row = self.pixels.strides[0]
        end = self.taken * row // mmap.PAGESIZE * mmap.PAGESIZE
        if end > self._given_back:
            length = end - self._given_back
            self._memory.madvise(mmap.MADV_DONTNEED, self._given_back, length)
            self._given_back = end
        if self.taken < len(self.pixels):
            # To get the next ones at once takes half of the time of a fault for each.
            with suppress(OSError):
                self._memory.madvise(MADV_POPULATE_WRITE, end, ROWS_AT_ONCE * row)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A file that says when more of it is wanted."""

    file: Any
    told: Callable[[], None]

    def read(self, size: int) -> bytes:
        self.told()
        data: bytes = self.file.read(size)
        return data

    def seek(self, offset: int) -> int:
        at: int = self.file.seek(offset)
        return at


def _scaled(plane: Pixels, size_px: Size, factors: Numbers, begin: Numbers) -> Pixels:
    """Colours by these factors from where they begin; if that is a corner, in what
    takes the least time and leaves no pixel out."""
    if any(begin) or min(factors) >= scaling.NEARLY:
        return scaling.scaled(plane, size_px, factors, begin)
    across, down = factors
    how = cv2.INTER_LINEAR if min(factors) >= 0.5 else cv2.INTER_AREA
    made = cv2.resize(plane, None, fx=across, fy=down, interpolation=how)
    return np.asarray(made, np.uint8)


def _fitted(plane: Pixels, size_px: Size) -> Pixels:
    """With what rounding left out or put on at the far ends."""
    width, height = size_px
    missing = [
        (0, max(0, side - there))
        for side, there in zip((height, width), plane.shape, strict=True)
    ]
    if any(after for _, after in missing):
        plane = np.pad(plane, missing, "edge")
    return plane[:height, :width]


def _even(plane: Pixels) -> Pixels:
    """In memory that goes on to an even number of rows and columns, which libjpeg-turbo
    reads of the brightness."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, [(0, side % 2) for side in plane.shape], "edge")
    return plane[:height, :width]
