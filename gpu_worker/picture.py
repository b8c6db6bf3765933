"""A picture as engines hand it on: what `pixels` reads and writes. Light to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A result that is not encoded yet, so that steps can follow.

    `pixels`: uint8 of (height, width), (height, width, 3) or (height, width, 4), sRGB
    unless `icc` is the profile they are in. `frames`: the further frames of an
    animation, all of one size; `delays_ms` has one for each frame, the first included;
    `loop` 0 repeats for ever. `metadata`: what the input said of itself (`exif`,
    `xmp`), kept for those who ask for it.
    """

    pixels: Pixels
    details: dict[str, Any] = field(default_factory=dict)
    frames: tuple[Pixels, ...] = ()
    delays_ms: tuple[int, ...] = ()
    loop: int = 0
    icc: bytes | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)
