"""A BiRefNet of 1.5 million parameters, random by a seed, in published form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIDE_PX = 128


def shape() -> Any:
    from gpu_worker.engines.birefnet.network import Shape

    return Shape(
        width=8,
        depths=(2, 2, 2, 2),
        heads=(1, 2, 2, 4),
        window=4,
        inner=16,
        aspp=16,
        guide=4,
    )


def network(seed: int = 0) -> Any:
    """With normalisations that do something, and opacities that differ."""
    import torch

    from gpu_worker.engines.birefnet.network import BiRefNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = BiRefNet(shape()).eval().requires_grad_(False)
        for name, value in made.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                value.uniform_(-0.3, 0.3)
        _spread(made)
    return made


def _spread(network: Any) -> None:
    """Have it find about half of a picture."""
    import torch

    logits = network(torch.randn(1, 3, SIDE_PX, SIDE_PX))[0]
    last = network.decoder.conv_out1[0]
    last.weight.mul_(3 / logits.std())
    last.bias.sub_(logits.median()).mul_(3 / logits.std())


def build(folder: Path, seed: int = 0) -> Path:
    """Write model.safetensors."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(network(seed).state_dict(), folder / "model.safetensors")
    return folder
