"""The published files as a network. What it looks like is read from the tensors
themselves, so that a file needs no configuration beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gpu_worker.engines.birefnet.network import BiRefNet, Shape
from gpu_worker.engines.birefnet.settings import MODEL_FILE, Weights
from gpu_worker.errors import EngineUnavailable

Sizes = Mapping[str, Sequence[int]]
MOST_NAMED = 3


def file_of(weights: Weights) -> Path:
    """Where the tensors are. Raises EngineUnavailable."""
    if weights.folder is not None:
        return weights.folder / MODEL_FILE
    from huggingface_hub import hf_hub_download

    try:
        found = hf_hub_download(weights.name, MODEL_FILE, revision=weights.revision)
    except Exception as error:  # of several libraries: offline, unknown, refused
        raise EngineUnavailable(f"{weights.name} could not be fetched.") from error
    return Path(found)


def read(path: Path) -> BiRefNet:
    """The network of a safetensors file; every tensor has its place and every place a
    tensor. Raises EngineUnavailable."""
    try:
        with safe_open(path, "pt") as opened:
            names = opened.keys()  # it is no mapping
            sizes = {name: opened.get_slice(name).get_shape() for name in names}
        tensors = load_file(path)
    except Exception as error:  # the library has no errors of its own for damage
        raise EngineUnavailable(f"{path.name} could not be read.") from error
    return _filled(sizes, tensors)


def shape_of(sizes: Sizes) -> Shape:
    """What network the tensors are of. Raises EngineUnavailable."""
    try:
        stages = [_depth(sizes, stage) for stage in range(_stages(sizes))]
        tables = [
            sizes[f"bb.layers.{stage}.blocks.0.attn.relative_position_bias_table"]
            for stage in range(len(stages))
        ]
        return Shape(
            width=sizes["bb.patch_embed.proj.weight"][0],
            depths=tuple(stages),
            heads=tuple(table[1] for table in tables),
            window=(round(tables[0][0] ** 0.5) + 1) // 2,
            inner=sizes["squeeze_module.0.conv_in.weight"][0],
            aspp=sizes["squeeze_module.0.dec_att.conv1.weight"][1] // 5,
            guide=sizes["decoder.gdt_convs_4.0.weight"][0],
        )
    except (KeyError, IndexError) as error:
        text = "The file has no BiRefNet with a Swin backbone in it."
        raise EngineUnavailable(text) from error


def _filled(sizes: Sizes, tensors: dict[str, torch.Tensor]) -> BiRefNet:
    with torch.device("meta"):
        network = BiRefNet(shape_of(sizes))
    wanted = network.state_dict()
    wrong = [*(wanted.keys() ^ tensors.keys())]
    wrong += [
        name
        for name in wanted.keys() & tensors.keys()
        if wanted[name].shape != tensors[name].shape
    ]
    if wrong:
        named = ", ".join(sorted(wrong)[:MOST_NAMED])
        raise EngineUnavailable(f"{len(wrong)} tensors do not fit, as {named}.")
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _stages(sizes: Sizes) -> int:
    return next(n for n in count() if f"bb.norm{n}.weight" not in sizes)


def _depth(sizes: Sizes, stage: int) -> int:
    start = f"bb.layers.{stage}.blocks"
    return next(n for n in count() if f"{start}.{n}.norm1.weight" not in sizes)
