"""The Swin transformer (Liu et al., arXiv 2103.14030) as BiRefNet's encoder: four
stages, each a picture of half the side and twice the channels of the one before.

The names of modules and parameters are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Swin(nn.Module):
    """The features of a picture at 1/4, 1/8, 1/16 and 1/32 of its size."""

    def __init__(
        self, width: int, depths: Sequence[int], heads: Sequence[int], window: int
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(width)
        widths = [width * 2**n for n in range(len(depths))]
        last = len(depths) - 1
        self.layers = nn.ModuleList(
            Stage(widths[n], depths[n], heads[n], window, halves=n < last)
            for n in range(len(depths))
        )
        for number, channels in enumerate(widths):
            self.add_module(f"norm{number}", nn.LayerNorm(channels))

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(B, channels, height, width) for each stage of a (B, 3, H, W) picture."""
        x = self.patch_embed(picture)
        features = []
        for number, stage in enumerate(self.layers):
            seen, x = stage(x)
            norm = getattr(self, f"norm{number}")
            features.append(norm(seen).permute(0, 3, 1, 2))
        return features


class PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, H/4, W/4, width)"""
        return self.norm(self.proj(picture).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks whose windows are shifted every other time; then, but for the last stage,
    a picture of half the side."""

    def __init__(
        self, width: int, depth: int, heads: int, window: int, *, halves: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, window, shift=window // 2 * (n % 2))
            for n in range(depth)
        )
        self.downsample = PatchMerging(width) if halves else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the stage saw, and the input of the next one."""
        for block in self.blocks:
            x = block(x)
        return x, x if self.downsample is None else self.downsample(x)


class PatchMerging(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(merged(x)))


def merged(x: Tensor) -> Tensor:
    """(B, H/2, W/2, 4 C): the pixels of each square, column by column."""
    x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return torch.cat(corners, dim=-1)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, window: int, *, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window, shift=shift)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class WindowAttention(nn.Module):
    """Each pixel attends to those of its window; a shift moves the windows' grid."""

    def __init__(self, width: int, heads: int, window: int, *, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.attend = attend
        self.register_buffer("kept_bias", None, persistent=False)  # see `fitted`
        distances = (2 * window - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(distances, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_places(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) of the same."""
        bias = self.bias() if self.kept_bias is None else self.kept_bias
        seen = self.attend(self.qkv(x), self.qkv.bias, bias, self.window, self.shift)
        return self.proj(seen)

    def bias(self) -> Tensor:
        """(heads, pixels, pixels): what is added for how two pixels lie."""
        pixels = self.window**2
        index = self.relative_position_index.view(-1)
        found = self.relative_position_bias_table[index]
        return found.view(pixels, pixels, -1).permute(2, 0, 1).contiguous()


def attend(
    qkv: Tensor, beyond: Tensor, bias: Tensor, window: int, shift: int
) -> Tensor:
    """(B, H, W, C) of queries, keys and values (B, H, W, 3 C): attention in windows.

    Where a window reaches beyond the picture the pixels are `beyond` (3 C): they are
    attended to like others, as in the published network.
    """
    batch, height, width, channels = qkv.shape
    rows, columns = (-(-side // window) * window for side in (height, width))
    whole = beyond.expand(batch, rows, columns, channels).clone()
    whole[:, :height, :width] = qkv
    if shift:
        whole = torch.roll(whole, (-shift, -shift), (1, 2))
        apart = _apart(rows, columns, window, shift, like=qkv)
        bias = (bias + apart[:, None]).repeat(batch, 1, 1, 1)
    heads = bias.shape[-3]
    tokens = _windows(whole, window).unflatten(-1, (3, heads, -1))
    queries, keys, values = tokens.permute(2, 0, 3, 1, 4)
    seen = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=bias
    )
    whole = _joined(seen.transpose(1, 2).flatten(2), batch, rows, columns, window)
    if shift:
        whole = torch.roll(whole, (shift, shift), (1, 2))
    return whole[:, :height, :width]


def relative_places(window: int) -> Tensor:
    """int64 (pixels, pixels): how two pixels of a window lie, as a number."""
    sides = torch.arange(window)
    rows, columns = sides.repeat_interleave(window), sides.repeat(window)
    down = rows[:, None] - rows[None] + window - 1
    across = columns[:, None] - columns[None] + window - 1
    return down * (2 * window - 1) + across


def _windows(x: Tensor, window: int) -> Tensor:
    """(B * windows, pixels, C)"""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return (
        x.transpose(2, 3)
        .flatten(3, 4)
        .flatten(0, 2)
        .reshape(-1, window**2, x.shape[-1])
    )


def _joined(x: Tensor, batch: int, rows: int, columns: int, window: int) -> Tensor:
    """The inverse of `_windows`."""
    grid = (batch, rows // window, columns // window, window, window, x.shape[-1])
    return x.view(grid).transpose(2, 3).reshape(batch, rows, columns, -1)


def _apart(rows: int, columns: int, window: int, shift: int, *, like: Tensor) -> Tensor:
    """(windows, pixels, pixels): minus infinity for two pixels that the shift brought
    into one window from opposite ends of the picture."""
    parts = [_parts(side, window, shift, like.device) for side in (rows, columns)]
    number = (3 * parts[0][:, None] + parts[1][None])[None, ..., None]
    number = _windows(number, window)[..., 0]
    differs = number[:, :, None] != number[:, None]
    apart = torch.zeros(differs.shape, dtype=like.dtype, device=like.device)
    return apart.masked_fill(differs, float("-inf"))


def _parts(side: int, window: int, shift: int, device: torch.device) -> Tensor:
    places = torch.arange(side, device=device)
    return (places >= side - window).int() + (places >= side - shift).int()
