"""TIFF of more kinds than Pillow has modes for.

libvips reads the others: floats and 32 bits of colour, alpha beside CMYK or deep grey,
Lab of 16 bits, WebP inside. They have 8 bits once they are loaded. Floats, CMYK and Lab
are sRGB then too: Pillow has no mode for them, or none that is as exact.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from gpu_worker.errors import InvalidImage
from gpu_worker.pixels import colours, libvips
from gpu_worker.pixels.arrays import Pixels, upright

# By what libvips says that the samples mean. There may be more of them in a file.
_COLOURS = {
    "b-w": 1, "grey16": 1, "srgb": 3, "rgb16": 3, "scrgb": 3, "lab": 3, "labs": 3,
    "cmyk": 4,
}  # fmt: skip

# TIFF 6.0: PhotometricInterpretation, ExtraSamples and SampleFormat
_GREYS, _CMYK = (0, 1), 5
_ALPHAS = (1, 2)
_FLOAT = 3

_BIG_OF_MOTOROLA = b"MM\0+"  # Pillow looks for its offsets where those of Intel are
_MOST = 1e30

# What libvips and libtiff say of files that are whole.
_UNSUPPORTED = re.compile(
    r"not supported|not configured|not implemented|samples out of range"
    r"|not a whole number of bytes|bad labq format"
)


class UnsupportedTiff(InvalidImage):
    """A TIFF of this kind is not supported."""


class TiffFile(TiffImagePlugin.TiffImageFile):
    """Pillow's own, and by libvips what that one cannot read. Raises InvalidImage."""

    def _open(self) -> None:
        assert self.fp is not None
        if self.fp.read(4) == _BIG_OF_MOTOROLA:
            raise UnsupportedTiff
        self.fp.seek(0)
        super()._open()

    def _setup(self) -> None:
        tags = self.tag_v2
        turn = tags.get(ExifTags.Base.Orientation, 1)
        self._turn = turn if turn in range(1, 9) else 1
        # Pillow's own reader of planes knows few of them, and none of 16 bits.
        TiffImagePlugin.READ_LIBTIFF = self._has_planes()
        try:
            super()._setup()
            if self._is_misread():
                raise SyntaxError
        except (SyntaxError, KeyError):
            size = tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
            self._size = size[::-1] if self._turn >= 5 else size
            kind = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
            self._mode = ("L" if kind in _GREYS else "RGB") + "A" * self._has_alpha()
            self.tile = []
            if kind != _CMYK and self._form() != _FLOAT:
                self.info["icc_profile"] = self._icc()

    def load(self) -> Any:
        with suppress(OSError, ValueError):
            return super().load()
        try:
            pixels = self._by_libvips()
        except libvips.Error as error:
            if "out of memory" in str(error):
                raise MemoryError from error
            if _UNSUPPORTED.search(str(error)):
                raise UnsupportedTiff from error
            raise
        pixels = upright(pixels, self._turn)
        made = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])
        self.im, self._mode, self._size = made.im, made.mode, made.size
        return super().load()

    def _is_misread(self) -> bool:
        """Whether Pillow takes it for another kind that it knows."""
        if self._has_planes() and self.mode in ("LA", "PA", "LAB"):
            return True
        kind = self.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
        return self.mode.startswith("I") and (kind == 0 or self._is_unsigned_long())

    def _is_unsigned_long(self) -> bool:
        bits = self.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
        return self._form() == 1 and bits[0] == 32

    def _has_planes(self) -> bool:
        return bool(self.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2)

    def _has_alpha(self) -> bool:
        return self.tag_v2.get(TiffImagePlugin.EXTRASAMPLES, (0,))[0] in _ALPHAS

    def _form(self) -> int:
        form: int = self.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0]
        return form

    def _icc(self) -> bytes | None:
        icc: bytes | None = self.tag_v2.get(TiffImagePlugin.ICCPROFILE)
        return icc

    def _by_libvips(self) -> Pixels:
        """(H, W, 1 to 4), not turned."""
        image = self._opened()
        count = _COLOURS.get(image.interpretation)
        if {image.width, image.height} != set(self._size):
            raise InvalidImage  # the limits were held against another size
        if count is None or image.bands < count + self._has_alpha():
            raise UnsupportedTiff
        if self._has_planes() and not _are_planes_read(image):
            raise UnsupportedTiff
        image = image[: count + self._has_alpha()]
        if image.interpretation in ("lab", "labs"):
            image = image.colourspace("srgb")
        elif image.format == "float":
            image = self._of_floats(image, count)
        elif image.interpretation == "cmyk":
            pixels = image.cast("uchar", shift=True).numpy()
            made = colours.of_array(pixels[..., :4], "CMYK", self._icc())
            return np.dstack([made, pixels[..., 4:]])
        pixels = image.cast("uchar", shift=True).numpy()
        return np.reshape(pixels, (image.height, image.width, image.bands))

    def _of_floats(self, image: Any, count: int) -> Any:
        """In sRGB of 8 bits, or as it was in 16 if there is no profile."""
        # The greatest and the mean value, of a file that is read twice for that.
        seen = _finite(self._opened()[:count]).stats()
        white = colours.white_of_floats(seen(1, 0)[0], mean=seen(4, 0)[0])
        made = (_finite(image[:count]) * (65535 / white)).cast("ushort")
        made = made.copy(interpretation="rgb16" if count == 3 else "grey16")
        with suppress(libvips.Error):
            made = made.icc_transform("srgb", embedded=True, intent="perceptual")
        made = made.cast("uchar", shift=True)
        if image.bands == count:
            return made
        return made.bandjoin((_finite(image[count]) * 255).cast("uchar"))

    def _opened(self) -> Any:
        assert self.fp is not None
        how = {"access": "sequential", "fail_on": "error"}
        if isinstance(self.fp, io.BytesIO):
            return libvips.Image.tiffload_buffer(self.fp.getvalue(), **how)
        return libvips.Image.tiffload(os.fspath(self.fp.name), **how)


def _are_planes_read(image: Any) -> bool:
    """Whether libvips reads each as long as it is (8.18 does not of the others)."""
    if image.interpretation == "scrgb":
        return bool(image.get("bits-per-sample") == 32)
    return image.interpretation in ("srgb", "rgb16", "cmyk")


def _finite(image: Any) -> Any:
    """Without what is no number, or none that counts."""
    return (image.abs() < _MOST).ifthenelse(image, 0)
