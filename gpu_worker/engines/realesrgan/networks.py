"""A file as a network on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpu_worker.engines import devices, torchvision_shim
from gpu_worker.engines.realesrgan import files
from gpu_worker.errors import EngineUnavailable

torchvision_shim.ensure()

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from spandrel import ImageModelDescriptor, ModelLoader  # noqa: E402

WRAPPERS = ("params_ema", "params")
"""Under which training keeps the tensors in a .pth file, the averaged ones first."""


def read(name: str, device: str) -> Any:
    """A spandrel descriptor: called with (1, 3, H, W), 0 to 1, it gives `scale` times
    that. Raises EngineUnavailable."""
    path = files.file_of(name)
    if path is None:
        raise EngineUnavailable(f"There is no file of {name}.")
    tensors = _tensors(path)
    twin = files.file_of(files.TWINS.get(name, ""))
    if twin is not None:
        tensors = _between(tensors, _tensors(twin), name)
    try:
        network = ModelLoader().load_from_state_dict(tensors)
    except Exception as error:  # of an unknown architecture, or of no network at all
        raise EngineUnavailable(f"{path.name} is no network for upscaling.") from error
    if not isinstance(network, ImageModelDescriptor) or network.input_channels != 3:
        raise EngineUnavailable(f"{path.name} is no network for upscaling.")
    dtype = devices.dtype_for(device) if network.supports_half else torch.float32
    return network.to(device, dtype).eval()


def _tensors(path: Path) -> dict[str, Any]:
    """What a file holds, and never code: a .pth is read for its tensors alone."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the libraries have no errors of their own for damage
        raise EngineUnavailable(f"{path.name} could not be read.") from error
    for wrapper in WRAPPERS:
        found = found.get(wrapper, found)
    return dict(found)


def _between(one: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, Any]:
    if one.keys() != other.keys():
        raise EngineUnavailable(f"{name} and its twin are not of one network.")
    return {key: (value + other[key]) / 2 for key, value in one.items()}
