"""Colour profiles made of what files say otherwise: primaries and a curve.

ICC.1:2001-04, 6.3.1 and 6.5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Curve = Callable[[Numbers], Numbers]
"""From what is stored to light, both 0 to 1."""
Points = tuple[float, ...]
"""x and y of white, red, green and blue (CIE 1931)."""

D65 = (0.3127, 0.3290)
BT709 = (*D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
DISPLAY_P3 = (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SAMPLES = 4 * 255 + 1  # so that each of 256 levels has one of its own


def of_rgb(points: Points, curve: Curve) -> bytes:
    """Raises ValueError for points that make no colours."""
    columns = _adapted(points).T
    tags = {
        name: _tag(b"XYZ ", "3i", *_fixed(column))
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    }
    drawn = _drawn(curve)
    return _file(b"RGB ", tags | {b"rTRC": drawn, b"gTRC": drawn, b"bTRC": drawn})


def of_grey(curve: Curve) -> bytes:
    return _file(b"GRAY", {b"kTRC": _drawn(curve)})


def _adapted(points: Points) -> Numbers:
    """The XYZ of the primaries beside the white of profiles, in columns."""
    white, *colours = (_xyz(*points[at : at + 2]) for at in (0, 2, 4, 6))
    matrix = np.column_stack(colours)
    matrix = matrix * np.linalg.solve(matrix, white)
    cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    made: Numbers = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ matrix
    if not (np.isfinite(made).all() and np.abs(made).max() < 100):
        raise ValueError("no colours")
    return made


def _xyz(x: float, y: float) -> Numbers:
    if y <= 0:
        raise ValueError("no colour")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _drawn(curve: Curve) -> bytes:
    light = np.clip(curve(np.linspace(0, 1, _SAMPLES)), 0, 1)
    samples = np.rint(light * 65535).astype(">u2").tobytes()
    return _tag(b"curv", "I", _SAMPLES) + samples


def _fixed(numbers: Numbers) -> list[int]:
    return [round(number * 65536) for number in numbers.tolist()]


def _tag(kind: bytes, form: str, *values: Any) -> bytes:
    return struct.pack(f">4s4x{form}", kind, *values)


def _file(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"of the file's own words\0"
    tags = tags | {
        b"desc": _tag(b"desc", f"I{len(name)}s78x", len(name), name),
        b"cprt": _tag(b"text", "4s", b"CC0\0"),
        b"wtpt": _tag(b"XYZ ", "3i", *_fixed(_D50)),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i",
        start + len(body),
        0x02400000,
        *(b"mntr", space, b"XYZ ", b"acsp"),
        *_fixed(_D50),
    )
    return head.ljust(128, b"\0") + table + body
