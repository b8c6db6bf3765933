"""A JPEG made of a much larger one, without a picture in between.

    file, 64 kB at a time -> rows of brightness and colours, reduced by the decoder
                          -> three planes, the colours' at half the size
                          -> each plane scaled by itself -> file

That is how a JPEG holds a picture anyway. It takes less than half of the memory that
`decode` and `encode` take for the same, and a tenth more time, or a quarter where the
decoder only halves: what has been read is given back to the kernel and got anew.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from gpu_worker.pixels import colours, decoding, header, scaling
from gpu_worker.pixels.arrays import Pixels, as_stored
from gpu_worker.pixels.encoding import FULL_COLOUR_QUALITY, QUALITY, Encoded
from gpu_worker.pixels.formats import CONTENT_TYPES

Size = tuple[int, int]

# A colour that stands for more than a pixel has to be near its place all the same.
LEAST_SIDE_PX = 16
# Before so many rows are there, handling them costs more than they take.
FEWEST_ROWS = 16


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
        enough = size_px[::-1] if turn >= 5 else size_px
        if not _is_suitable(image, enough):
            return None
        photo = decoding.photo_px(image.size, decoding.jpeg_shrink(image.size, enough))
        if image.draft("YCbCr", enough) is None:
            return None
        try:
            planes = _planes(image, photo, turn)
        except OSError:
            return None  # damaged, or RGB inside: it is for `decode` to say
    planes.scale(size_px)
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
    return colours.kept(image.mode, image.info.get("icc_profile")) is None


@dataclass(slots=True)
class _Planes:
    """Of an upright picture: uint8 (H, W), and twice (H/2, W/2), rounded up."""

    luma: Pixels
    blue: Pixels
    red: Pixels
    photo: tuple[float, float]
    """How much of the brightness is the photo, across and down."""
    begin: tuple[float, float]
    """Where in it the photo begins: further in where a turn puts the far end first."""

    def scale(self, size_px: Size) -> None:
        """The small ones first: the less there is beside the large one, the better."""
        factors = size_px[0] / self.photo[0], size_px[1] / self.photo[1]
        half = (size_px[0] + 1) // 2, (size_px[1] + 1) // 2
        begin = self.begin[0] / 2, self.begin[1] / 2
        self.blue = _fitted(_scaled(self.blue, half, factors, begin), half)
        self.red = _fitted(_scaled(self.red, half, factors, begin), half)
        luma = scaling.scaled(self.luma, size_px, factors, self.begin)
        self.luma = _fitted(luma, size_px)


def _planes(image: Image.Image, photo: tuple[float, float], turn: int) -> _Planes:
    """What is in a file that is not read yet, of which so much is the photo. Raises
    OSError."""
    width, height = image.size if turn < 5 else image.size[::-1]
    half = (height + 1) // 2, (width + 1) // 2
    made = _Planes(
        np.empty((height, width), np.uint8),
        np.empty(half, np.uint8),
        np.empty(half, np.uint8),
        photo if turn < 5 else photo[::-1],
        (0, 0),
    )
    luma, blue, red = (as_stored(one, turn) for one in (made.luma, made.blue, made.red))
    # Where a turn puts the last row or column first, pairs are counted from there.
    top, left = (
        length % 2 if stride < 0 else 0
        for length, stride in zip(luma.shape, luma.strides, strict=True)
    )
    right = (left + luma.shape[1]) % 2
    before = [
        length - there if stride < 0 else 0
        for length, there, stride in zip(
            image.size, photo, luma.strides[::-1], strict=True
        )
    ]
    made.begin = (before[0], before[1]) if turn < 5 else (before[1], before[0])

    def take(rows: Pixels, at: int) -> None:
        above = 0 if at else top
        below = (rows.shape[0] + above) % 2
        luma[at : at + rows.shape[0]] = cv2.extractChannel(rows, 0)
        if above or below or left or right:
            rows = cv2.copyMakeBorder(
                rows, above, below, left, right, cv2.BORDER_REPLICATE
            )
        size = rows.shape[1] // 2, rows.shape[0] // 2
        small = cv2.resize(rows, size, interpolation=cv2.INTER_AREA)
        at = (at + top) // 2
        blue[at : at + size[1]] = cv2.extractChannel(small, 1)
        red[at : at + size[1]] = cv2.extractChannel(small, 2)

    _decode(image, take, odd=top)
    return made


def _decode(
    image: Image.Image, take: Callable[[Pixels, int], None], *, odd: int
) -> None:
    """Give `take` the rows (n, W, 4) of Y, Cb, Cr from number `at` on, and forget them.

    After each call but the last an even number of rows has been taken; an odd one, if
    `odd`. Raises OSError.
    """
    width, height = image.size
    memory = mmap.mmap(-1, width * height * 4)
    # Pillow writes into its own image's memory. This one's is ours, and it is filled
    # from above while the file is read.
    rows = np.frombuffer(memory, np.uint8).reshape(height, width, 4)
    image.im = Image.frombuffer("RGBX", image.size, rows, "raw", "RGBX", 0, 1).im
    taken, given_back = 0, 0

    def harvest() -> None:
        nonlocal taken, given_back
        there = taken
        # The fourth byte of a pixel is zero until Pillow writes it.
        while there < height and rows[there, -1, 3]:
            there += 1
        if there < height:
            there -= (there - odd) % 2
        if there - taken < (FEWEST_ROWS if there < height else 1):
            return
        take(rows[taken:there], taken)
        taken = there
        end = taken * width * 4 // mmap.PAGESIZE * mmap.PAGESIZE
        if end > given_back:
            memory.madvise(mmap.MADV_DONTNEED, given_back, end - given_back)
            given_back = end

    image.fp = _Watched(image.fp, harvest)  # type: ignore[attr-defined]
    image.load()
    harvest()
    if taken < height:
        raise OSError("The decoder has left rows out.")


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


def _scaled(
    plane: Pixels,
    size_px: Size,
    factors: tuple[float, float],
    begin: tuple[float, float],
) -> Pixels:
    """Colours by these factors from where the brightness begins; by areas, which take
    the least time, if that is a corner."""
    if any(begin) or min(factors) >= scaling.NEARLY:
        return scaling.scaled(plane, size_px, factors, begin)
    across, down = factors
    made = cv2.resize(plane, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)
    return np.asarray(made, np.uint8)


def _fitted(plane: Pixels, size_px: Size) -> Pixels:
    """With what rounding left out or put on at the far ends; in memory that goes on to
    an even number of rows and columns, which libjpeg-turbo reads of the brightness."""
    width, height = size_px
    plane = plane[:height, :width]
    missing = [
        (0, side + side % 2 - there)
        for side, there in zip((height, width), plane.shape, strict=True)
    ]
    if any(after for _, after in missing):
        plane = np.pad(plane, missing, "edge")
    return plane[:height, :width]
