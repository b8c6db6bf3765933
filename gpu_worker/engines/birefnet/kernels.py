# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""Two kernels for NVIDIA GPUs, in Triton, of what plain torch does with much traffic
through the device's memory.

    attend    `swin.attend`: rolling, cutting into windows, padding, attention and all
              of it back, in one pass over queries, keys and values
    pyramid   `network.Pyramid` between its convolutions: samples are multiplied as soon
              as they are taken, and no branch's result is ever written

Imported only where Triton is. Both take float16 and add up in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

SMALLEST = 16
"""The least side of a matrix that the tensor cores take."""
# Which of them is the fastest depends on the device: tried once, at warm-up.
ATTENDING = [
    triton.Config({"rows": rows}, num_warps=warps, num_stages=1)
    for rows, warps in ((64, 4), (32, 2), (128, 8), (16, 1))
]
SAMPLING = [
    triton.Config({"block": block}, num_warps=warps, num_stages=stages)
    for block, warps, stages in ((64, 8, 2), (64, 4, 2), (128, 8, 2), (32, 4, 1))
]


@torch.library.custom_op("nijika::window_attention", mutates_args=())
def attend(
    qkv: Tensor, beyond: Tensor, bias: Tensor, window: int, shift: int
) -> Tensor:
    """As `swin.attend`, of contiguous tensors."""
    batch, height, width, channels = qkv.shape
    heads, pixels = bias.shape[0], window * window
    first = 1 << (pixels.bit_length() - 1)
    rest = pixels - first
    windows = -(-height // window) * -(-width // window)
    made = qkv.new_empty(batch, height, width, channels // 3)
    lanes = batch * windows * heads
    _attend[lambda chosen: (lanes * triton.cdiv(pixels, chosen["rows"]),)](
        qkv,
        beyond,
        bias,
        made,
        height,
        width,
        heads,
        (channels // 3 // heads) ** -0.5,
        window=window,
        shift=shift,
        dim=channels // 3 // heads,
        first=first,
        rest=max(SMALLEST, triton.next_power_of_2(rest)) if rest else 0,
    )
    return made


@attend.register_fake
def _(qkv: Tensor, beyond: Tensor, bias: Tensor, window: int, shift: int) -> Tensor:
    return qkv.new_empty(*qkv.shape[:3], qkv.shape[3] // 3)


@triton.jit
def _place(number, left, top, height, width, across, down, shift, window: tl.constexpr):
    """Where the window's pixel is in the picture, whether it is in it at all, and from
    which end of the rolled picture it comes."""
    y = top + number // window
    x = left + number % window
    part = 3 * ((y >= down - window).to(tl.int32) + (y >= down - shift))
    part += (x >= across - window).to(tl.int32) + (x >= across - shift)
    y += shift
    x += shift
    y = tl.where(y >= down, y - down, y)
    x = tl.where(x >= across, x - across, x)
    return y * width + x, (y < height) & (x < width), part


@triton.jit
def _tokens(start, places, inside, beyond, stride, dim: tl.constexpr):
    """(tokens, dim) of queries, keys or values; beyond the picture always the same."""
    channels = tl.arange(0, dim)
    found = tl.load(
        start + places[:, None] * stride + channels[None], mask=inside[:, None], other=0
    )
    other = tl.load(beyond + channels)
    return tl.where(inside[:, None], found, other[None])


@triton.jit
def _scores(
    queries,
    keys,
    bias,
    number,
    part,
    other,
    other_part,
    scale,
    pixels,
    shift: tl.constexpr,
):
    """float32 (rows, columns), minus infinity where nothing is attended to."""
    made = tl.dot(queries, tl.trans(keys)) * scale
    real = (number < pixels)[:, None] & (other < pixels)[None]
    made += tl.load(
        bias + number[:, None] * pixels + other[None], mask=real, other=0
    ).to(tl.float32)
    seen = (other < pixels)[None]
    if shift:
        seen = seen & (part[:, None] == other_part[None])
    return tl.where(seen, made, -float("inf"))


@triton.autotune(ATTENDING, key=["window", "dim"])
@triton.jit
def _attend(
    qkv,
    beyond,
    bias,
    made,
    height,
    width,
    heads,
    scale,
    window: tl.constexpr,
    shift: tl.constexpr,
    dim: tl.constexpr,
    first: tl.constexpr,
    rest: tl.constexpr,
    rows: tl.constexpr,
):
    """One head, some rows of one window; its columns in one part or in two."""
    pixels: tl.constexpr = window * window
    parts: tl.constexpr = (pixels + rows - 1) // rows
    wide = (width + window - 1) // window
    high = (height + window - 1) // window
    across, down = wide * window, high * window
    program = tl.program_id(0)
    head, program = program % heads, program // heads
    block, program = program % parts, program // parts
    left, program = (program % wide) * window, program // wide
    top, batch = (program % high) * window, (program // high).to(tl.int64)
    channels = heads * dim
    qkv += batch * height * width * 3 * channels + head * dim
    made += batch * height * width * channels + head * dim
    beyond += head * dim
    bias += head * pixels * pixels

    number = block * rows + tl.arange(0, rows)
    place, inside, part = _place(
        number, left, top, height, width, across, down, shift, window
    )
    inside = inside & (number < pixels)
    queries = _tokens(qkv, place, inside, beyond, 3 * channels, dim)

    one = tl.arange(0, first)
    one_place, one_inside, one_part = _place(
        one, left, top, height, width, across, down, shift, window
    )
    keys = _tokens(
        qkv + channels, one_place, one_inside, beyond + channels, 3 * channels, dim
    )
    scores = _scores(
        queries, keys, bias, number, part, one, one_part, scale, pixels, shift
    )
    most = tl.max(scores, 1)
    if rest:
        two = first + tl.arange(0, rest)
        two_place, two_inside, two_part = _place(
            two, left, top, height, width, across, down, shift, window
        )
        two_inside = two_inside & (two < pixels)
        keys = _tokens(
            qkv + channels, two_place, two_inside, beyond + channels, 3 * channels, dim
        )
        others = _scores(
            queries, keys, bias, number, part, two, two_part, scale, pixels, shift
        )
        most = tl.maximum(most, tl.max(others, 1))
    # Rows beyond the window's last may see nothing: any finite number will do there.
    most = tl.where(most == -float("inf"), 0.0, most)
    weights = tl.exp(scores - most[:, None])
    total = tl.sum(weights, 1)
    values = _tokens(
        qkv + 2 * channels,
        one_place,
        one_inside,
        beyond + 2 * channels,
        3 * channels,
        dim,
    )
    found = tl.dot(weights.to(values.dtype), values)
    if rest:
        weights = tl.exp(others - most[:, None])
        total += tl.sum(weights, 1)
        values = _tokens(
            qkv + 2 * channels,
            two_place,
            two_inside,
            beyond + 2 * channels,
            3 * channels,
            dim,
        )
        found += tl.dot(weights.to(values.dtype), values)
    found = found / tl.where(total == 0, 1.0, total)[:, None]
    tl.store(
        made + place[:, None] * channels + tl.arange(0, dim)[None],
        found.to(made.dtype.element_ty),
        mask=inside[:, None],
    )


@torch.library.custom_op("nijika::deformable_pyramid", mutates_args=())
def pyramid(
    x: Tensor,
    looks: list[Tensor],
    taps: Tensor,
    biases: Tensor,
    last: Tensor,
    rest: Tensor,
) -> Tensor:
    """(B, H, W, inner) of `x`, the same.

    `looks`: for each of the four branches, of 1, 1, 9 and 49 taps, (B, H, W, n), of
    which the first 3 * taps are offset down, offset across and modulator before its
    sigmoid, tap by tap. `taps` (60, inner, width), `biases` (4, width), `last`
    (4, width, inner); `rest` (B, inner) is what the mean of the picture adds.
    """
    batch, height, width, inner = x.shape
    made = torch.empty_like(x)
    pixels = batch * height * width
    _pyramid[lambda chosen: (triton.cdiv(pixels, chosen["block"]),)](
        x,
        *looks,
        taps,
        biases,
        last,
        rest,
        made,
        pixels,
        height,
        width,
        *(one.shape[-1] for one in looks),
        inner=inner,
        wide=biases.shape[1],
    )
    return made


@pyramid.register_fake
def _(
    x: Tensor,
    looks: list[Tensor],
    taps: Tensor,
    biases: Tensor,
    last: Tensor,
    rest: Tensor,
) -> Tensor:
    return torch.empty_like(x)


@triton.jit
def _corner(x, y, across, height, width, share, seen, inner: tl.constexpr):
    """float32 (pixels, inner): one of the four pixels around, by its share."""
    real = seen & (y >= 0) & (y < height) & (across >= 0) & (across < width)
    at = x + (y * width + across)[:, None] * inner + tl.arange(0, inner)[None]
    return tl.load(at, mask=real[:, None], other=0).to(tl.float32) * share[:, None]


@triton.jit
def _added(
    total, x, look, stride, taps, biases, last, number, row, column, height, width,
    seen, branch: tl.constexpr, begin: tl.constexpr, side: tl.constexpr,
    inner: tl.constexpr, wide: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """`total`, float32 (pixels, inner), and what one branch adds: a deformable
    convolution, never below 0, and its part of the convolution over all branches."""
    made = tl.zeros((block, wide), tl.float32)
    look += number * stride
    ins, outs = tl.arange(0, inner), tl.arange(0, wide)
    taps += begin * inner * wide
    for tap in range(side * side):
        down = tl.load(look + 3 * tap, mask=seen, other=0).to(tl.float32)
        right = tl.load(look + 3 * tap + 1, mask=seen, other=0).to(tl.float32)
        share = tl.load(look + 3 * tap + 2, mask=seen, other=0).to(tl.float32)
        share = 2 / (1 + tl.exp(-share))
        down += row + (tap // side - side // 2)
        right += column + (tap % side - side // 2)
        upper, lefter = tl.floor(down), tl.floor(right)
        below, beside = down - upper, right - lefter
        y, z = upper.to(tl.int32), lefter.to(tl.int32)
        above, before = share * (1 - below), 1 - beside
        below = share * below
        found = _corner(x, y, z, height, width, above * before, seen, inner)
        found += _corner(x, y, z + 1, height, width, above * beside, seen, inner)
        found += _corner(x, y + 1, z, height, width, below * before, seen, inner)
        found += _corner(x, y + 1, z + 1, height, width, below * beside, seen, inner)
        weight = tl.load(taps + (tap * inner + ins[:, None]) * wide + outs[None])
        made = tl.dot(found.to(weight.dtype), weight, made)
    made = tl.maximum(made + tl.load(biases + branch * wide + outs)[None], 0)
    weight = tl.load(last + (branch * wide + outs[:, None]) * inner + ins[None])
    return tl.dot(made.to(weight.dtype), weight, total)


@triton.autotune(SAMPLING, key=["inner", "wide"])
@triton.jit
def _pyramid(
    x, look0, look1, look2, look3, taps, biases, last, rest, made,
    pixels, height, width, stride0, stride1, stride2, stride3,
    inner: tl.constexpr, wide: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(0) * block + tl.arange(0, block)
    seen = number < pixels
    batch = number // (height * width)
    place = number - batch * height * width
    row, column = place // width, place % width
    start = x + (batch.to(tl.int64) * height * width * inner)[:, None]
    ins = tl.arange(0, inner)
    number = number.to(tl.int64)
    total = tl.zeros((block, inner), tl.float32)
    total = _added(
        total, start, look0, stride0, taps, biases, last, number, row, column, height,
        width, seen, 0, 0, 1, inner, wide, block,
    )  # fmt: skip
    total = _added(
        total, start, look1, stride1, taps, biases, last, number, row, column, height,
        width, seen, 1, 1, 1, inner, wide, block,
    )  # fmt: skip
    total = _added(
        total, start, look2, stride2, taps, biases, last, number, row, column, height,
        width, seen, 2, 2, 3, inner, wide, block,
    )  # fmt: skip
    total = _added(
        total, start, look3, stride3, taps, biases, last, number, row, column, height,
        width, seen, 3, 11, 7, inner, wide, block,
    )  # fmt: skip
    total += tl.load(
        rest + batch[:, None] * inner + ins[None], mask=seen[:, None], other=0
    )
    tl.store(
        made + number[:, None] * inner + ins[None],
        tl.maximum(total, 0).to(made.dtype.element_ty),
        mask=seen[:, None],
    )
