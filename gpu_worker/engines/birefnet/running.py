"""Loading the network onto its device, and everything that the first job would pay.

Whatever engines of a process use it share one network: it is read for the first of them
and freed with the last.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from gpu_worker.engines import devices
from gpu_worker.engines.birefnet import fitted, remote_code, settings, weights
from gpu_worker.engines.birefnet.graphs import Graphs
from gpu_worker.engines.birefnet.matting import Matting
from gpu_worker.engines.birefnet.network import BiRefNet
from gpu_worker.engines.birefnet.settings import BATCH, Sizing, Weights

logger = logging.getLogger("gpu_worker.birefnet")

RECORDED = (1, 2, 4, BATCH)
"""Sizes of batches that are recorded; one between them runs as the next larger."""


class StepByStep:
    """A network that answers with a list, the last of it what is meant."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, pictures: Tensor) -> Tensor:
        made: Tensor = self.module(pictures)[-1]
        return made


class Loaded:
    """A network for all who hold this. Another `matting` may be there after each
    `warm_up`: ask for it when it is needed."""

    def __init__(self, matting: Matting) -> None:
        self.matting = matting
        self._is_warm = False

    def warm_up(self, sizing: Sizing, say: Callable[[str], None]) -> None:
        """Once, whoever asks."""
        if not self._is_warm:
            self.matting = warm_up(self.matting, sizing, RECORDED, say)
            self._is_warm = True


_loaded: WeakValueDictionary[tuple[str, Weights], Loaded] = WeakValueDictionary()
_loading = threading.Lock()


def shared(device: str, chosen: Weights) -> Loaded:
    """The process's network of these weights, read if nobody holds it. Raises
    EngineUnavailable."""
    with _loading:
        found = _loaded.get((device, chosen))
        if found is None:
            found = _loaded[device, chosen] = Loaded(load(device, chosen))
        return found


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
        devices.check_compiler("NIJIKA_BIREFNET_COMPILE", matting.device)
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
