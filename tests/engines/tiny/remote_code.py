"""A folder with code of its own, as transformers loads it: a network of one weight."""

from __future__ import annotations

import json
from pathlib import Path

CONFIGURATION = """
from transformers import PretrainedConfig

class {kind}Config(PretrainedConfig):
    model_type = "{kind}-matting"
"""
MODEL = """
import torch
from transformers import PreTrainedModel
from .configuration_tiny import {kind}Config

class {kind}Matting(PreTrainedModel):
    config_class = {kind}Config

    def __init__(self, config):
        super().__init__(config)
        self.conv = torch.nn.Conv2d(3, 1, 1)
        {post_init}

    def forward(self, pictures):
        return [None, self.conv(pictures)]
"""


def build(
    folder: Path, *, kind: str = "Tiny", post_init: str = "self.post_init()"
) -> Path:
    """`kind` names the classes: transformers keeps what it has seen under a name."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configuration_tiny.py").write_text(CONFIGURATION.format(kind=kind))
    (folder / "modeling_tiny.py").write_text(
        MODEL.format(kind=kind, post_init=post_init)
    )
    maps = {
        "AutoConfig": f"configuration_tiny.{kind}Config",
        "AutoModelForImageSegmentation": f"modeling_tiny.{kind}Matting",
    }
    config = {"model_type": f"{kind}-matting", "auto_map": maps}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {"conv.weight": torch.ones(1, 3, 1, 1), "conv.bias": torch.zeros(1)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
