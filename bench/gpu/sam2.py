"""SAM 2 at full size, with random weights: the encoder over a batch, and one click."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench.gpu import measure
from bench.gpu.fastsam import BATCH, SIDE, inference, photos
from bench.gpu.measure import Memory, Report
from gpu_worker.engines import torchvision_shim
from gpu_worker.engines.sam2.network import Sam2
from gpu_worker.engines.smart_mask.asking import Asked

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "large": {
        "hidden_size": 144,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 6, 36, 4],
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
}
"""The backbone of published checkpoints, where it differs from the smallest
(config.json of facebook/sam2.1-hiera-*)."""


def run(report: Report, *, quick: bool) -> None:
    for name in ("tiny",) if quick else SHAPES:
        network = Sam2(random_model(name))
        for batch in (BATCH,) if quick else (1, BATCH):
            _encoder(report, network, name, batch)
        _click(report, network, name)
        del network
        torch.cuda.empty_cache()


def random_model(name: str) -> Any:
    torchvision_shim.ensure()
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(0)
    shape = SHAPES[name]
    backbone = {"model_type": "sam2_hiera_det_model", **shape}
    widths = shape.get("embed_dim_per_stage", [96, 192, 384, 768])
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": widths[::-1],
    }
    with torch.device("cuda"):
        return Sam2Model(Sam2Config(vision_config=vision))


def _encoder(report: Report, network: Sam2, name: str, batch: int) -> None:
    images = photos(batch)
    with Memory() as memory:
        taken = measure.seconds(inference(lambda: network.look(images)))
    report.row(
        what=f"SAM 2 {name}, pixels to embeddings, {SIDE} x {SIDE}",
        batch=batch,
        ms=round(taken * 1000, 1),
        images_per_s=round(batch / taken, 1),
        gigabytes=round(memory.most / 1e9, 1),
    )


def _click(report: Report, network: Sam2, name: str) -> None:
    (image,) = photos(1)
    (seen,) = network.look([image])
    places = np.array([[0.4, 0.6, 1]], np.float32)
    asked = Asked(rgb=image, points=places, boxes=np.zeros((0, 4), np.float32))
    taken = measure.seconds(lambda: network.candidates(seen, asked)) * 1000
    report.row(what=f"SAM 2 {name}, a click", batch=1, ms=round(taken, 1))
