"""How large the network sees a picture."""

from __future__ import annotations

from gpu_worker.engines.birefnet.settings import MULTIPLE, Sizing

LEAST_SIDE, MOST_SIDE = 256, 2304
"""What the dynamic checkpoints were trained with (model card of BiRefNet_dynamic)."""


def seen_size(width_px: int, height_px: int, sizing: Sizing) -> tuple[int, int]:
    """The width and height, in multiples of 32, in which the network sees a picture."""
    if not sizing.is_dynamic:
        return sizing.width_px, sizing.height_px
    pixels = sizing.width_px * sizing.height_px
    scale = (pixels / (width_px * height_px)) ** 0.5
    return _side(width_px * scale), _side(height_px * scale)


def _side(length: float) -> int:
    whole = round(length / MULTIPLE) * MULTIPLE
    return min(MOST_SIDE, max(LEAST_SIDE, whole))
