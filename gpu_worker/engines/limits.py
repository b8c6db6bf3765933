"""The largest picture that is made, asked before memory is taken for it."""

from __future__ import annotations

from gpu_worker.errors import LimitExceeded
from gpu_worker.pixels import MOST_PIXELS, MOST_SIDE_PX


def check(width_px: int, height_px: int) -> None:
    """Raises LimitExceeded for what would be too large."""
    if max(width_px, height_px) > MOST_SIDE_PX or width_px * height_px > MOST_PIXELS:
        raise LimitExceeded(
            f"It would be {width_px} x {height_px} pixels; at most "
            f"{MOST_PIXELS // 1_000_000} megapixels and {MOST_SIDE_PX} pixels a side "
            "are made."
        )
