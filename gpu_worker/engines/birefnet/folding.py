"""Parts of the network as they run: convolutions with the normalisation after them, and
a pyramid for the kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_worker.engines.birefnet import network as plain
from gpu_worker.engines.birefnet.deformable import DeformableConv2d

CHANNEL_MULTIPLE = 8
"""Of the convolutions' results, for the tensor cores."""


def folded(before: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The convolution with the normalisation after it."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = 0 if before.bias is None else before.bias
    return conv(
        before.weight * scale[:, None, None, None],
        (bias - norm.running_mean) * scale + norm.bias,
    )


def conv(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution that keeps the size, with this weight (outside, inside, side, side)
    and bias."""
    outside, inside, side = weight.shape[:3]
    made = nn.Conv2d(inside, outside, side, padding=side // 2, bias=bias is not None)
    made.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.contiguous(), requires_grad=False)
    return made


class Pyramid(nn.Module):
    """The four branches and what follows them, for the kernel."""

    def __init__(self, part: plain.Pyramid) -> None:
        super().__init__()
        self.run = torch.ops.nijika.deformable_pyramid
        branches = [part.aspp1, *part.aspp_deforms]
        convs = [folded(one.atrous_conv.regular_conv, one.bn) for one in branches]
        # (outside, inside, side, side) -> (taps, inside, outside)
        taps = [one.weight.flatten(2).permute(2, 1, 0) for one in convs]
        self.register_buffer("taps", torch.cat(taps).contiguous())
        self.register_buffer("biases", torch.stack([one.bias for one in convs]))
        self.looks = nn.ModuleList(_looking(one.atrous_conv) for one in branches)
        self.mean = folded(part.global_avg_pool[1], part.global_avg_pool[2])
        last = folded(part.conv1, part.bn1)
        width = self.biases.shape[1]
        parts = last.weight[:, :, 0, 0].T.unflatten(0, (-1, width))
        self.register_buffer("last", parts[: len(branches)].contiguous())
        self.of_mean = conv(parts[-1].T[..., None, None], last.bias)

    def forward(self, x: Tensor) -> Tensor:
        looks = [look(x).permute(0, 2, 3, 1).contiguous() for look in self.looks]
        mean = functional.relu(self.mean(x.mean((2, 3), keepdim=True)))
        rest = self.of_mean(mean).flatten(1).contiguous()
        x = x.permute(0, 2, 3, 1).contiguous()
        made = self.run(x, looks, self.taps, self.biases, self.last, rest)
        return made.permute(0, 3, 1, 2)


def _looking(part: DeformableConv2d) -> nn.Conv2d:
    """One convolution for offsets and modulators: three channels for each tap, then
    empty ones up to the multiple."""
    taps = part.modulator_conv.weight.shape[0]
    inside, side = part.modulator_conv.weight.shape[1:3]
    channels = -(-3 * taps // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE
    weight, bias = torch.zeros(channels, inside, side, side), torch.zeros(channels)
    for of, offsets, modulators in (
        (weight, part.offset_conv.weight, part.modulator_conv.weight),
        (bias, part.offset_conv.bias, part.modulator_conv.bias),
    ):
        of[0 : 3 * taps : 3], of[1 : 3 * taps : 3] = offsets[0::2], offsets[1::2]
        of[2 : 3 * taps : 3] = modulators
    return conv(weight, bias)
