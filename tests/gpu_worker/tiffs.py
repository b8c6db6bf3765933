"""TIFFs of any samples, which no library here writes (TIFF 6.0, sections 2 and 18)."""

import struct
from typing import Any

import numpy as np

GREY, WHITE_IS_ZERO, RGB, CMYK, LAB, ICC_LAB = 1, 0, 2, 5, 8, 9
UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2
HEIGHT, WIDTH = 24, 32
_KINDS = {"u": 1, "i": 2, "f": 3}


def tiff(
    samples: np.ndarray,
    photometric: int,
    *,
    extra: int | None = None,
    planar: bool = False,
    order: str = "<",
    big: bool = False,
    **more: tuple[int, str, Any],
) -> bytes:
    """An uncompressed file of (H, W, C) samples; `more` are further tags."""
    height, width, count = samples.shape
    data = (np.moveaxis(samples, -1, 0) if planar else samples).astype(
        samples.dtype.newbyteorder(order)
    )
    plane = data.nbytes // (count if planar else 1)
    head = 16 if big else 8
    strips = [head + at * plane for at in range(count if planar else 1)]
    bits = samples.dtype.itemsize * 8
    entries = [
        (256, "I", [width]), (257, "I", [height]), (258, "H", [bits] * count),
        (259, "H", [1]), (262, "H", [photometric]), (273, "I", strips),
        (277, "H", [count]), (278, "I", [height]), (279, "I", [plane] * len(strips)),
        (284, "H", [2 if planar else 1]),
        (339, "H", [_KINDS[samples.dtype.kind]] * count),
    ]  # fmt: skip
    if extra is not None:
        entries.append((338, "H", [extra]))
    entries += list(more.values())
    return _file(data.tobytes(), sorted(entries), order, big=big)


def _file(data: bytes, entries: list[Any], order: str, *, big: bool) -> bytes:
    kinds = {"B": 1, "H": 3, "I": 4}
    word, counter = ("Q", "Q") if big else ("I", "H")
    inline = struct.calcsize(word)
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 16 + len(data)) if big else b""
    head += b"" if big else struct.pack(order + "I", 8 + len(data))
    at = len(head) + len(data) + struct.calcsize(counter)
    at += len(entries) * (4 + 2 * inline) + inline
    table, behind = struct.pack(order + counter, len(entries)), b""
    for tag, kind, values in entries:
        value = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(value) > inline:
            value, behind = struct.pack(order + word, at + len(behind)), behind + value
        table += struct.pack(f"{order}HH{word}", tag, kinds[kind], len(values))
        table += value.ljust(inline, b"\0")
    return head + data + table + struct.pack(order + word, 0) + behind


def ramps(count: int, white: float = 1.0) -> np.ndarray:
    """(H, W, count) from 0 to white, each band another way."""
    across = np.linspace(0, 1, WIDTH)[None].repeat(HEIGHT, 0)
    down = np.linspace(0, 1, HEIGHT)[:, None].repeat(WIDTH, 1)
    bands = [across, down, 1 - across, 1 - down, (across + down) / 2]
    return np.dstack(bands[:count]) * white
