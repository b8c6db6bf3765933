"""Whether the kernels make what plain torch makes, tried before they are trusted: they
are compiled for a device that nobody may have run them on."""

from __future__ import annotations

import torch
from torch import Tensor

from gpu_worker.engines.birefnet import kernels, swin
from gpu_worker.engines.birefnet.folding import Pyramid as Fast
from gpu_worker.engines.birefnet.network import Pyramid, Shape

SIDE = 96
"""Large enough that the fastest variant here is the fastest in earnest."""
HEADS = 8
MOST_ERROR = 0.05
"""Of the spread of the numbers: float16 has 3 digits."""


@torch.no_grad()
def agree(shape: Shape, device: str) -> None:
    """Raises RuntimeError where they do not, and whatever compiling them raises."""
    with torch.random.fork_rng(devices=[device]):
        torch.manual_seed(0)
        for shift in (0, shape.window // 2):
            _same("attention", *_attended(shape, device, shift))
        _same("pyramid", *_pyramids(shape, device))


def _attended(shape: Shape, device: str, shift: int) -> tuple[Tensor, Tensor]:
    channels = HEADS * shape.width // shape.heads[0]
    drawn = [
        (2, SIDE, SIDE, 3 * channels),
        (3 * channels,),
        (HEADS, shape.window**2, shape.window**2),
    ]
    qkv, beyond, bias = (torch.randn(size, device=device).half() for size in drawn)
    made = kernels.attend(qkv, beyond, bias, shape.window, shift)
    expected = swin.attend(
        qkv.float(), beyond.float(), bias.float(), shape.window, shift
    )
    return made, expected


def _pyramids(shape: Shape, device: str) -> tuple[Tensor, Tensor]:
    pyramid = Pyramid(shape.inner, shape.aspp).eval().requires_grad_(False)
    fast = Fast(pyramid).to(device, torch.float16)
    x = torch.randn(2, shape.inner, SIDE, SIDE, device=device).half()
    return fast(x), pyramid.to(device)(x.float())


def _same(name: str, made: Tensor, expected: Tensor) -> None:
    error = (made.float() - expected).abs().max() / expected.std()
    if not error < MOST_ERROR:  # nor NaN
        raise RuntimeError(f"the kernel for {name} is off by {float(error):.3f}")
