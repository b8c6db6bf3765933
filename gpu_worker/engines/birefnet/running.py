"""Loading the network onto its device, and everything that the first job would pay."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gpu_worker.engines import devices
from gpu_worker.engines.birefnet import fitted, remote_code, settings, weights
from gpu_worker.engines.birefnet.graphs import Graphs
from gpu_worker.engines.birefnet.matting import Matting
from gpu_worker.engines.birefnet.network import BiRefNet
from gpu_worker.engines.birefnet.settings import Sizing, Weights

logger = logging.getLogger("gpu_worker.birefnet")


class StepByStep:
    """A network that answers with a list, the last of it what is meant."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, pictures: Tensor) -> Tensor:
        made: Tensor = self.module(pictures)[-1]
        return made


def load(device: str, chosen: Weights) -> Matting:
    """Raises EngineUnavailable."""
    dtype = devices.dtype_for(device)
    if remote_code.wanted(chosen.folder):
        assert chosen.folder is not None
        module = remote_code.read(chosen.folder, dtype).to(device).eval()
    else:
        network = weights.read(weights.file_of(chosen))
        module = fitted.fit(network, device, dtype)
    return Matting(network=StepByStep(module), device=device, dtype=dtype)


def warm_up(
    matting: Matting, sizing: Sizing, batches: Sequence[int], say: Callable[[str], None]
) -> Matting:
    """On a GPU: the graphs of a fixed size, or one pass at a dynamic one. A CPU has
    nothing to prepare."""
    if not matting.device.startswith("cuda"):
        return matting
    assert isinstance(matting.network, StepByStep)
    module = matting.network.module
    if settings.compiles() and isinstance(module, BiRefNet):
        say("compiling")
        fitted.compile_parts(module)
    height, width = sizing.height_px, sizing.width_px
    like = torch.empty(0, device=matting.device, dtype=matting.dtype)
    if sizing.is_dynamic or not isinstance(module, BiRefNet):
        matting.network(like.new_zeros(1, 3, height, width))
        return matting
    say("recording passes")
    recorded = Graphs(module)
    recorded.record(batches, height, width, like)
    return replace(matting, network=recorded)
