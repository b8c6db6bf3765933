"""A FastSAM of 0.2 million parameters: the packaged architecture, very narrow.

Its weights are random, by a seed, but its signals do not fade from layer to layer, and
scores are lifted, so that it finds masks at all, some surer than others. What
they show means nothing; everything around them is real.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIDE_PX = 256


def build(file: Path, seed: int = 0) -> Path:
    """Write the checkpoint."""
    from gpu_worker.engines.fastsam import network

    network.prepare()
    import torch
    from ultralytics.nn.tasks import SegmentationModel, yaml_model_load

    torch.manual_seed(seed)
    plan = yaml_model_load("yolov8n-seg.yaml") | {"nc": 1}
    plan["scales"] = {"n": [0.33, 0.0625, 1024]}
    layers = SegmentationModel(plan, nc=1, verbose=False)
    layers.names, layers.task = {0: "object"}, "segment"
    for branch in layers.model[-1].cv3:
        branch[-1].weight.data *= 3
        branch[-1].bias.data.fill_(1.0)
    _calibrated(layers)
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {"task": "segment", "imgsz": SIDE_PX}
    torch.save({"model": layers, "train_args": said, "version": "8.4.190"}, file)
    return file


def _calibrated(layers: Any) -> None:
    """Have each normalisation know what reaches it, as after a training."""
    import torch

    for one in layers.modules():
        if isinstance(one, torch.nn.BatchNorm2d):
            one.momentum = 1.0
    with torch.no_grad():
        layers.train()(torch.rand(4, 3, SIDE_PX, SIDE_PX))
    layers.eval()
