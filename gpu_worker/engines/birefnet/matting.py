"""Pictures in, cut-outs out: resizing, the network, opacity and colours on the device,
bytes alone over the bus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gpu_worker.engines.birefnet import colours

Pixels = NDArray[np.uint8]
Network = Callable[[Tensor], Tensor]
"""Logits (B, 1, H, W) of normalised pictures (B, 3, H, W)."""

# Of ImageNet, which the published weights were trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEAST_ALPHA, LEAST_SHARE = 0.5, 0.001
"""Less than this, in opacity or in area, is no subject but noise."""
WHITE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """`rgba` is uint8 (H, W, 4)."""

    rgba: Pixels
    subject_found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matting:
    """A network on its device. For several threads, whose passes take turns."""

    network: Network
    device: str
    dtype: Any
    # What a recorded pass made is there until the next one.
    _turn: Any = field(default_factory=threading.Lock)

    @torch.no_grad()
    def cut_out(
        self, pictures: Sequence[Pixels], width_px: int, height_px: int
    ) -> list[Cutout]:
        """All in one pass of the network, each seen at this size; (H, W, 3) or (H, W,
        4) of any sizes, whose own transparency stays."""
        wholes = [self._moved(picture) for picture in pictures]
        alphas = self._passed(wholes, width_px, height_px)
        return [self._cut(*pair) for pair in zip(wholes, alphas, strict=True)]

    @torch.no_grad()
    def opacities(
        self, pictures: Sequence[Pixels], width_px: int, height_px: int
    ) -> list[Pixels]:
        """How much of each pixel is the subject, uint8 (H, W) of each picture's own
        size, likewise in one pass."""
        wholes = [self._moved(picture) for picture in pictures]
        alphas = self._passed(wholes, width_px, height_px)
        return [
            _bytes(_enlarged(alpha, whole))[0, 0].cpu().numpy()
            for whole, alpha in zip(wholes, alphas, strict=True)
        ]

    def _passed(
        self, wholes: Sequence[Tensor], width_px: int, height_px: int
    ) -> list[Tensor]:
        """The opacity of each, float32 (1, 1, height_px, width_px)."""
        size = [height_px, width_px]
        seen = torch.cat([self._seen(whole, size) for whole in wholes])
        with self._turn:
            alphas = self.network(seen).float().sigmoid()
        return list(alphas[:, None])

    def _moved(self, picture: Pixels) -> Tensor:
        """uint8 (1, channels, H, W) on the device."""
        whole = torch.tensor(picture, device=self.device)  # arrays may be read-only
        return whole.permute(2, 0, 1)[None]

    def _seen(self, whole: Tensor, size: list[int]) -> Tensor:
        """(1, 3, H, W) as the network was trained to see it, over white."""
        shown = whole.float() / 255
        if shown.shape[1] == 4:
            shown = shown[:, :3] * shown[:, 3:] + WHITE * (1 - shown[:, 3:])
        # As Pillow's BILINEAR, with which the published weights were trained.
        small = functional.interpolate(shown, size, mode="bilinear", antialias=True)
        mean, deviation = (
            torch.tensor(values, device=self.device)[None, :, None, None]
            for values in (MEAN, DEVIATION)
        )
        return ((small - mean) / deviation).to(self.dtype)

    def _cut(self, whole: Tensor, alpha: Tensor) -> Cutout:
        sure = alpha > LEAST_ALPHA
        found = bool(sure.float().mean() > LEAST_SHARE)
        alpha = _enlarged(alpha, whole)
        shown = whole[:, :3].float() / 255
        if whole.shape[1] == 4:
            alpha = alpha * whole[:, 3:] / 255
        rgba = torch.cat([colours.foreground(shown, alpha), alpha], 1)
        pixels = _bytes(rgba)[0].permute(1, 2, 0)
        return Cutout(rgba=pixels.contiguous().cpu().numpy(), subject_found=found)


def _enlarged(alpha: Tensor, whole: Tensor) -> Tensor:
    """The opacity (1, 1, h, w) at the picture's size."""
    size = whole.shape[2:]
    return functional.interpolate(alpha, size, mode="bilinear", antialias=True).clamp(
        0, 1
    )


def _bytes(shares: Tensor) -> Tensor:
    return (shares * 255).round().to(torch.uint8)
