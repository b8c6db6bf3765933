"""What a PNG says of its colours, as a profile (PNG, third edition, 4.3).

cICP counts before iCCP, that before sRGB, and that before gAMA with cHRM. As in
browsers gAMA alone is held against 2.2, cHRM alone counts for nothing, and what is
nearly sRGB is sRGB.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from gpu_worker.pixels import icc
from gpu_worker.pixels.icc import Curve, Numbers, Points

_GREYS = ("L", "LA", "1", "I", "I;16", "I;16B")
_MAGIC = b"\x89PNG\r\n\x1a\n"
_USUAL = 2.2
# As libpng has it: so much is no difference that anybody sees.
_SLIGHT_POWER, _SLIGHT_SHIFT = 0.05, 0.001


def _power(exponent: float) -> Curve:
    return lambda stored: stored**exponent


def _srgb(stored: Numbers) -> Numbers:
    dark = stored / 12.92
    bright = ((stored + 0.055) / 1.055) ** 2.4
    light: Numbers = np.where(stored <= 0.04045, dark, bright)
    return light


def _bt709(stored: Numbers) -> Numbers:
    dark = stored / 4.5
    bright = ((stored + 0.099) / 1.099) ** (1 / 0.45)
    light: Numbers = np.where(stored < 0.081, dark, bright)
    return light


# ITU-T H.273, tables 2 and 3: what a standard range has. PQ and HLG are not among them.
_PRIMARIES: dict[int, Points] = {1: icc.BT709, 9: icc.BT2020, 12: icc.DISPLAY_P3}
_CURVES: dict[int, Curve] = {
    1: _bt709, 4: _power(2.2), 5: _power(2.8), 6: _bt709, 8: _power(1), 13: _srgb,
    14: _bt709, 15: _bt709,
}  # fmt: skip
_SRGB = 1, 13


def profile_of(file: BinaryIO, mode: str, info: dict[Any, Any]) -> bytes | None:
    """Of a file whose picture has this Pillow mode and info. None: it is sRGB."""
    primaries, transfer, matrix, is_full = _cicp(file)
    if primaries in _PRIMARIES and transfer in _CURVES and (matrix, is_full) == (0, 1):
        if (primaries, transfer) == _SRGB:
            return None
        return _made(mode, _PRIMARIES[primaries], _CURVES[transfer])
    if "icc_profile" in info or "srgb" in info or "gamma" not in info:
        found: bytes | None = info.get("icc_profile")
        return found
    with suppress(ValueError, ArithmeticError):
        return _by_gamma(mode, info["gamma"], info.get("chromaticity"))
    return None


def _by_gamma(mode: str, gamma: float, points: Points | None) -> bytes | None:
    """Raises ValueError and ArithmeticError for what means nothing."""
    power = 1 / (gamma * _USUAL)
    is_srgb = points is None or np.allclose(points, icc.BT709, atol=_SLIGHT_SHIFT)
    if is_srgb and abs(power - 1) < _SLIGHT_POWER:
        return None
    if points is None:
        return _made(mode, icc.BT709, lambda stored: _srgb(stored**power))
    return _made(mode, points, _power(1 / gamma))


def _made(mode: str, points: Points, curve: Curve) -> bytes:
    return icc.of_grey(curve) if mode in _GREYS else icc.of_rgb(points, curve)


def _cicp(file: BinaryIO) -> tuple[int, ...]:
    """Four numbers, all zero where there are none. The file is left where it stood."""
    at = file.tell()
    file.seek(len(_MAGIC))
    try:
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"cICP" and length == 4:
                return tuple(file.read(4))
            if name == b"IDAT":
                break
            file.seek(length + 4, os.SEEK_CUR)
        return (0, 0, 0, 0)
    finally:
        file.seek(at)
