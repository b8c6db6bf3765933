"""Modulated deformable convolution in plain torch (Zhu et al., Deformable ConvNets v2,
arXiv 1811.11168): each tap of the kernel looks where an offset says, and counts as much
as a modulator says."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class DeformableConv2d(nn.Module):
    """Keeps height and width; the kernel's side is odd."""

    def __init__(self, inside: int, outside: int, side: int) -> None:
        super().__init__()
        taps, rim = side * side, side // 2
        self.offset_conv = nn.Conv2d(inside, 2 * taps, side, padding=rim)
        self.modulator_conv = nn.Conv2d(inside, taps, side, padding=rim)
        self.regular_conv = nn.Conv2d(inside, outside, side, padding=rim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        offsets = self.offset_conv(x)
        modulators = 2 * torch.sigmoid(self.modulator_conv(x))
        return deform_conv2d(x, offsets, modulators, self.regular_conv.weight)


def deform_conv2d(
    x: Tensor, offsets: Tensor, modulators: Tensor, weight: Tensor
) -> Tensor:
    """(B, outside, H, W) of `x` (B, inside, H, W).

    `offsets` (B, 2 * taps, H, W) are in pixels, down before across, taps in reading
    order; `modulators` (B, taps, H, W); `weight` (outside, inside, side, side). What
    lies beyond the picture is 0.
    """
    side = weight.shape[-1]
    places, smooth = _places(x), x.float()
    made = None
    for tap in range(side * side):
        row, column = tap // side - side // 2, tap % side - side // 2
        down = places[0] + row + offsets[:, 2 * tap]
        across = places[1] + column + offsets[:, 2 * tap + 1]
        seen = _sampled(smooth, down, across).to(x.dtype) * modulators[:, tap, None]
        part = functional.conv2d(
            seen, weight[:, :, tap // side, tap % side, None, None]
        )
        made = part if made is None else made + part
    assert made is not None
    return made


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    """The row and the column of each pixel, (H, 1) and (1, W)."""
    rows = torch.arange(x.shape[2], device=x.device, dtype=torch.float32)
    columns = torch.arange(x.shape[3], device=x.device, dtype=torch.float32)
    return rows[:, None], columns[None]


def _sampled(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """`x` at these places, between pixels by the four around. In half precision a place
    would be too coarse: all of it is float32."""
    height, width = x.shape[2:]
    grid = torch.stack(
        [
            across * (2 / max(width - 1, 1)) - 1,
            down * (2 / max(height - 1, 1)) - 1,
        ],
        dim=-1,
    )
    return functional.grid_sample(
        x, grid, mode="bilinear", padding_mode="zeros", align_corners=True
    )
