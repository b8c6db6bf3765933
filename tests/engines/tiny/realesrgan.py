"""Networks of the architectures behind the five names, a few channels wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def build(folder: Path) -> Path:
    """An x4 and an x2 of one architecture, the general one of another with its twin."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(rrdb(scale=4), folder / "RealESRGAN_x4plus.safetensors")
    pickled({"params_ema": rrdb(scale=2)}, folder / "RealESRGAN_x2plus.pth")
    for seed, name in enumerate(("realesr-general-x4v3", "realesr-general-wdn-x4v3")):
        pickled({"params": compact(seed)}, folder / f"{name}.pth")
    return folder


def pickled(tensors: Any, path: Path) -> None:
    import torch

    torch.save(tensors, path)


def rrdb(*, scale: int, seed: int = 0) -> dict[str, Any]:
    """Of RRDBNet (ESRGAN): names and shapes of its tensors; the input's nearest
    neighbours, nearly, so that a picture stays one."""
    import torch

    torch.manual_seed(seed)
    width, growth = 8, 32
    inside = 3 * (16 if scale == 1 else 4 if scale == 2 else 1)
    shapes = {"conv_first": (width, inside)}
    for part in range(3):
        start = f"body.0.rdb{part + 1}.conv"
        for number in range(4):
            shapes[f"{start}{number + 1}"] = (growth, width + number * growth)
        shapes[f"{start}5"] = (width, width + 4 * growth)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        shapes[name] = (width, width)
    shapes["conv_last"] = (3, width)
    tensors = {}
    for name, (outside, into) in shapes.items():
        tensors[f"{name}.weight"] = torch.randn(outside, into, 3, 3) * 0.02
        tensors[f"{name}.bias"] = torch.zeros(outside)
        if "body" not in name:
            for channel in range(3):
                tensors[f"{name}.weight"][channel, channel, 1, 1] += 1
    return tensors


def compact(seed: int = 0) -> dict[str, Any]:
    """Of SRVGGNetCompact, four times as large, two layers deep."""
    import torch

    torch.manual_seed(seed)
    width, made = 8, 3 * 16
    tensors = {}
    for number, (outside, into) in enumerate(
        ((width, 3), (width, width), (made, width))
    ):
        tensors[f"body.{2 * number}.weight"] = torch.randn(outside, into, 3, 3) * 0.05
        tensors[f"body.{2 * number}.bias"] = torch.full((outside,), 0.1 * seed)
    for number in range(2):
        tensors[f"body.{2 * number + 1}.weight"] = torch.full((width,), 0.2)
    return tensors
