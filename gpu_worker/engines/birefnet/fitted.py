"""The network as it runs: the same function as `network.BiRefNet`, made once from its
weights for inference alone, so that less is computed and less goes through memory.

    normalisation    what batch normalisation does is in the convolution before it
    ending           everything after the last pyramid is linear: one channel is
                     enlarged instead of hundreds
    attention        by a kernel of our own where there is one, as are the deformable
                     convolutions (`kernels`)

All folding is computed in float32, before the weights are halved.
"""

from __future__ import annotations

import logging
from importlib import import_module

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_worker.engines.birefnet import network as plain
from gpu_worker.engines.birefnet.folding import Pyramid, conv, folded
from gpu_worker.engines.birefnet.swin import WindowAttention

logger = logging.getLogger("gpu_worker.birefnet")

MOST_SIZES = 512
"""Of compiled blocks: four stages, shifted or not, two pictures, a few batches."""
FIRST_CAPABILITY = (8, 0)
"""For an older device (a T4 is 7.5) Triton does not use the tensor cores."""


@torch.no_grad()
def fit(
    network: plain.BiRefNet, device: str, dtype: torch.dtype, *, kernels: bool = True
) -> plain.BiRefNet:
    """The network, changed in place and moved. Its own kernels run on NVIDIA GPUs in
    float16; elsewhere, or with `kernels` off, all is plain torch."""
    network = network.float().eval().requires_grad_(False)
    own = kernels and _has_kernels(network, device, dtype)
    for part in network.modules():
        if isinstance(part, WindowAttention):
            _fit_attention(part, own=own)
    network.squeeze_module[0] = _block(network.squeeze_module[0], own=own)
    decoder = network.decoder
    decoder.ending = Ending(decoder, own=own)
    for number in (4, 3, 2):
        block = _block(getattr(decoder, f"decoder_block{number}"), own=own)
        decoder.add_module(f"decoder_block{number}", block)
        before, norm, _ = getattr(decoder, f"gdt_convs_{number}")
        guide = nn.Sequential(folded(before, norm), nn.ReLU(inplace=True))
        decoder.add_module(f"gdt_convs_{number}", guide)
    network.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    return network


def compile_parts(network: plain.BiRefNet) -> None:
    """Let torch.compile fuse what lies between the large products, part by part: the
    blocks of a stage share what is compiled. Each size is compiled at its first use."""
    limits = torch._dynamo.config
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(limits, name, max(MOST_SIZES, getattr(limits, name)))
    for stage in network.bb.layers:
        for block in stage.blocks:
            block.compile(dynamic=False)
    network.decoder.compile(dynamic=False)
    network.join = torch.compile(network.join, dynamic=False)


def _has_kernels(network: plain.BiRefNet, device: str, dtype: torch.dtype) -> bool:
    """Whether the kernels run here, and as plain torch does."""
    if not device.startswith("cuda") or dtype != torch.float16:
        return False
    if torch.cuda.get_device_capability(device) < FIRST_CAPABILITY:
        return False
    try:
        # Late: it imports Triton, which is not everywhere.
        check = import_module("gpu_worker.engines.birefnet.checking")
        check.agree(network.shape, device)
    except Exception:  # no Triton, no compiler for it, or a device that it fails on
        logger.warning("plain torch instead of own kernels", exc_info=True)
        return False
    return True


def _fit_attention(part: WindowAttention, *, own: bool) -> None:
    part.kept_bias = part.bias()
    if own:
        part.attend = torch.ops.nijika.window_attention


def _block(block: plain.DecoderBlock, *, own: bool) -> DecoderBlock:
    return DecoderBlock(block, folded(block.conv_out, block.bn_out), own=own)


class DecoderBlock(nn.Module):
    """As the plain one, without its normalisations."""

    def __init__(
        self, block: plain.DecoderBlock, conv_out: nn.Conv2d, *, own: bool
    ) -> None:
        super().__init__()
        self.conv_in = folded(block.conv_in, block.bn_in)
        self.dec_att = Pyramid(block.dec_att) if own else block.dec_att
        self.conv_out = conv_out

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(
            self.dec_att(functional.relu(self.conv_in(x), inplace=True))
        )


class Ending(nn.Module):
    """The last block of the decoder and all after it, one channel wide.

    A 1 x 1 convolution and an enlargement can change places; so can it and the
    convolution before it. What the picture itself adds are two convolutions with
    nothing between them: 9 channels, one for each tap of the second, moved into place.
    """

    def __init__(self, decoder: plain.Decoder, *, own: bool) -> None:
        super().__init__()
        block, last = decoder.decoder_block1, decoder.conv_out1[0]
        many = folded(block.conv_out, block.bn_out)
        width = many.weight.shape[0]
        ours, pictures = last.weight[0, :width, 0, 0], last.weight[0, width:, 0, 0]
        one = conv(_of(ours, many.weight)[None], (ours @ many.bias)[None])
        self.block = DecoderBlock(block, one, own=own)
        image = decoder.ipt_blk1
        second = _of(pictures, image.conv_out.weight).flatten(1)
        weight = torch.einsum("mt,mihw->tihw", second, image.conv1.weight)
        self.conv = conv(weight, image.conv1.bias @ second)
        bias = last.bias + pictures @ image.conv_out.bias
        self.register_buffer("bias", bias.reshape(1, 1, 1, 1))

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        """Logits (B, 1, H, W)"""
        seen = plain.larger(self.block(x), picture)
        parts = functional.pad(self.conv(picture), (1, 1, 1, 1))
        height, width = picture.shape[2:]
        for tap in range(9):
            row, column = tap // 3, tap % 3
            seen = (
                seen + parts[:, tap, None, row : row + height, column : column + width]
            )
        return seen + self.bias


def _of(shares: Tensor, weight: Tensor) -> Tensor:
    """(inside, side, side): a convolution's channels, each by its share, added up."""
    return torch.einsum("o,oihw->ihw", shares, weight)
