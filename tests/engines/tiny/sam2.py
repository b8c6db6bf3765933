"""A SAM 2 of 0.1 million parameters and images of 256 pixels, random by a seed."""

from __future__ import annotations

from pathlib import Path

SIDE_PX = 256


def build(folder: Path, seed: int = 0) -> Path:
    """Write config.json and model.safetensors."""
    from gpu_worker.engines import torchvision_shim

    torchvision_shim.ensure()
    import torch
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(seed)
    model = Sam2Model(Sam2Config(**_config()))
    model.save_pretrained(folder)
    return folder


def _config() -> dict[str, object]:
    widths = [8, 16, 32, 64]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SIDE_PX, SIDE_PX],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 8, 4],
        "global_attention_blocks": [3],
    }
    return {
        "vision_config": {
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[SIDE_PX // n] * 2 for n in (4, 8, 16)],
            "fpn_hidden_size": 32,
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE_PX},
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    }
