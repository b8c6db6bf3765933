"""BiRefNet (Zheng et al., arXiv 2401.03407; MIT), the network that finds the subject of
a picture: an encoder that sees it twice, whole and at half its size, and a decoder that
sees the picture itself again at every step.

Written for nijika after the paper and the published weights: the names of modules and
parameters are theirs, so that they load strictly. What only training needs (side
outputs and what judges gradients) is there as parameters and is not run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_worker.engines.birefnet.deformable import DeformableConv2d
from gpu_worker.engines.birefnet.swin import Swin

SIDE_MULTIPLE = 32
"""Both sides of the input are multiples of it."""
KERNELS = (1, 3, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What distinguishes the published networks. `width` is that of the first stage;
    `inner`, `aspp` and `guide` are those of all of them, and smaller in tests."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    inner: int = 64
    aspp: int = 256
    guide: int = 16


LARGE = Shape(width=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12)
TINY = Shape(width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7)
"""The backbones of BiRefNet and of BiRefNet_lite."""


class BiRefNet(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.join = _joined
        channels = [2 * shape.width * 2**n for n in (3, 2, 1, 0)]
        self.bb = Swin(shape.width, shape.depths, shape.heads, shape.window)
        self.squeeze_module = nn.Sequential(
            DecoderBlock(sum(channels), channels[0], shape)
        )
        self.decoder = Decoder(channels, shape)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """A list of one: logits (B, 1, H, W) of a normalised picture (B, 3, H, W)."""
        features = self._encoded(picture)
        deepest = features[-1]
        context = [larger(one, deepest) for one in features[:-1]]
        features[-1] = self.squeeze_module(torch.cat([*context, deepest], 1))
        return [self.decoder(picture, features)]

    def _encoded(self, picture: Tensor) -> list[Tensor]:
        """Features at 1/4 to 1/32, of the picture and of it at half its size."""
        whole, half = self.bb(picture), self.bb(halved(picture))
        return self.join(whole, half)


def _joined(whole: list[Tensor], half: list[Tensor]) -> list[Tensor]:
    return [
        torch.cat([one, larger(other, one)], 1)
        for one, other in zip(whole, half, strict=True)
    ]


def halved(picture: Tensor) -> Tensor:
    size = picture.shape[2] // 2, picture.shape[3] // 2
    return functional.interpolate(picture, size, mode="bilinear", align_corners=True)


def larger(x: Tensor, than: Tensor) -> Tensor:
    """`x` in the height and width of `than`."""
    if x.shape[2:] == than.shape[2:]:
        return x
    return functional.interpolate(
        x, than.shape[2:], mode="bilinear", align_corners=True
    )


def patches(picture: Tensor, like: Tensor) -> Tensor:
    """The picture cut into tiles of the height and width of `like`, one over another:
    (B, 3 * tiles, height, width)."""
    rows, columns = (picture.shape[n] // like.shape[n] for n in (2, 3))
    tiles = picture.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
    return tiles.transpose(3, 4).flatten(1, 3)


class Decoder(nn.Module):
    """From the deepest features up to the picture's size. `channels` of the features,
    the deepest first."""

    def __init__(self, channels: list[int], shape: Shape) -> None:
        super().__init__()
        c4, c3, c2, c1 = channels
        inner = shape.inner
        self.ipt_blk5 = ImageBlock(3 * 32**2, c4 // 8, inner)
        self.ipt_blk4 = ImageBlock(3 * 16**2, c4 // 8, inner)
        self.ipt_blk3 = ImageBlock(3 * 8**2, c3 // 8, inner)
        self.ipt_blk2 = ImageBlock(3 * 4**2, c2 // 8, inner)
        self.ipt_blk1 = ImageBlock(3, c1 // 8, inner)
        self.decoder_block4 = DecoderBlock(c4 + c4 // 8, c3, shape)
        self.decoder_block3 = DecoderBlock(c3 + c4 // 8, c2, shape)
        self.decoder_block2 = DecoderBlock(c2 + c3 // 8, c1, shape)
        self.decoder_block1 = DecoderBlock(c1 + c2 // 8, c1 // 2, shape)
        self.conv_out1 = nn.Sequential(nn.Conv2d(c1 // 2 + c1 // 8, 1, 1))
        self.ending: nn.Module | None = None  # see `fitted`
        for number, made in ((4, c3), (3, c2), (2, c1)):
            self.add_module(f"lateral_block{number}", LateralBlock(made))
            self.add_module(f"conv_ms_spvn_{number}", nn.Conv2d(made, 1, 1))
            self.add_module(f"gdt_convs_{number}", _guide(made, shape.guide))
            self.add_module(f"gdt_convs_pred_{number}", _head(shape.guide))
            self.add_module(f"gdt_convs_attn_{number}", _head(shape.guide))

    def forward(self, picture: Tensor, features: list[Tensor]) -> Tensor:
        """Logits (B, 1, H, W); `features` from 1/4 to 1/32 of the picture."""
        x = self._with_picture(features[3], self.ipt_blk5, picture)
        x = self._guided(self.decoder_block4(x), 4)
        x = larger(x, features[2]) + self.lateral_block4(features[2])
        x = self._with_picture(x, self.ipt_blk4, picture)
        x = self._guided(self.decoder_block3(x), 3)
        x = larger(x, features[1]) + self.lateral_block3(features[1])
        x = self._with_picture(x, self.ipt_blk3, picture)
        x = self._guided(self.decoder_block2(x), 2)
        x = larger(x, features[0]) + self.lateral_block2(features[0])
        x = self._with_picture(x, self.ipt_blk2, picture)
        if self.ending is not None:
            return self.ending(x, picture)
        x = larger(self.decoder_block1(x), picture)
        return self.conv_out1(self._with_picture(x, self.ipt_blk1, picture))

    def _with_picture(self, x: Tensor, block: nn.Module, picture: Tensor) -> Tensor:
        return torch.cat([x, block(patches(picture, x))], 1)

    def _guided(self, x: Tensor, number: int) -> Tensor:
        seen = getattr(self, f"gdt_convs_{number}")(x)
        return x * getattr(self, f"gdt_convs_attn_{number}")(seen).sigmoid()


def _guide(inside: int, outside: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


def _head(inside: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, 1, 1))


class LateralBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ImageBlock(nn.Module):
    """Two convolutions, without anything between them, of the picture's tiles."""

    def __init__(self, inside: int, outside: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, inner, 3, padding=1)
        self.conv_out = nn.Conv2d(inner, outside, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv1(x))


class DecoderBlock(nn.Module):
    def __init__(self, inside: int, outside: int, shape: Shape) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inside, shape.inner, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(shape.inner)
        self.dec_att = Pyramid(shape.inner, shape.aspp)
        self.conv_out = nn.Conv2d(shape.inner, outside, 3, padding=1)
        self.bn_out = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dec_att(functional.relu(self.bn_in(self.conv_in(x))))
        return self.bn_out(self.conv_out(x))


class Pyramid(nn.Module):
    """Deformable convolutions of several sizes side by side, and the mean of all."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.aspp1 = Branch(inner, width, 1)
        self.aspp_deforms = nn.ModuleList(Branch(inner, width, k) for k in KERNELS)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d(width * (2 + len(KERNELS)), inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)

    def forward(self, x: Tensor) -> Tensor:
        seen = [branch(x) for branch in (self.aspp1, *self.aspp_deforms)]
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        return functional.relu(self.bn1(self.conv1(torch.cat([*seen, mean], 1))))


class Branch(nn.Module):
    def __init__(self, inside: int, outside: int, side: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv2d(inside, outside, side)
        self.bn = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.atrous_conv(x)))
