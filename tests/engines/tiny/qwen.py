"""Qwen pipelines with random weights: the real classes, 2.7 MB each on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpu_worker.engines import torchvision_shim

SPECIAL = (
    *("<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>"),
    "<|video_pad|>",
)
END = "<|endoftext|>"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
)
PATCH_PX = 28
LOUDER = 3.0

SETTINGS = {
    "NIJIKA_QWEN_SIZES": "64x64,96x64,64x96",
    "NIJIKA_QWEN_REFERENCE_PX": "96",
}
"""What makes a picture cheap enough for a test."""


def generating(folder: Path, *, seed: int = 0) -> Path:
    """A text-to-image pipeline in `folder`."""
    torchvision_shim.ensure()
    import torch
    from diffusers import QwenImagePipeline

    torch.manual_seed(seed)
    QwenImagePipeline(**_parts()).save_pretrained(folder)
    return folder


def editing(folder: Path, *, seed: int = 0) -> Path:
    """An editing pipeline of several references in `folder`."""
    torchvision_shim.ensure()
    import torch
    from diffusers import QwenImageEditPlusPipeline

    torch.manual_seed(seed)
    parts = _parts()
    processor = _processor(parts["tokenizer"])
    pipeline = QwenImageEditPlusPipeline(**parts, processor=processor)
    pipeline.save_pretrained(folder)
    return folder


def lora(file: Path, *, seed: int, strength: float = 1.0) -> Path:
    """A LoRA of the tiny transformer that changes what it paints."""
    torchvision_shim.ensure()
    import torch
    from diffusers import QwenImagePipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(seed)
    transformer = _transformer()
    transformer.add_adapter(
        LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v"])
    )
    for name, parameter in transformer.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=strength)
    file.parent.mkdir(parents=True, exist_ok=True)
    QwenImagePipeline.save_lora_weights(
        str(file.parent),
        transformer_lora_layers=get_peft_model_state_dict(transformer),
        weight_name=file.name,
    )
    return file


def _parts() -> dict[str, Any]:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler

    tokenizer = _tokenizer()
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.5,
            max_shift=0.9,
            shift_terminal=0.02,
        ),
        "vae": AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 2, 4],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        "text_encoder": _text_encoder(tokenizer),
        "tokenizer": tokenizer,
        "transformer": _transformer(),
    }


def _transformer() -> Any:
    import torch
    from diffusers import QwenImageTransformer2DModel

    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    # As initialised it hardly looks at what it is told.
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim == 2:
                parameter.mul_(LOUDER)
    return transformer


def _tokenizer() -> Any:
    """One token per byte, and the model's own words."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return Qwen2Tokenizer(
        vocab={one: number for number, one in enumerate([*alphabet, END])},
        merges=[],
        unk_token=END,
        eos_token="<|im_end|>",
        pad_token=END,
        extra_special_tokens=list(SPECIAL),
    )


def _text_encoder(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    def number(token: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(token))

    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [2, 3, 3],
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        vision_token_id=number("<|vision_pad|>"),
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        eos_token_id=number("<|im_end|>"),
        bos_token_id=number(END),
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _processor(tokenizer: Any) -> Any:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            min_pixels=PATCH_PX**2 * 4, max_pixels=PATCH_PX**2 * 16
        ),
        video_processor=Qwen2VLVideoProcessor(),
        tokenizer=tokenizer,
        chat_template=CHAT,
    )
