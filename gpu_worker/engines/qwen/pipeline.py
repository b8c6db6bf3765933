"""A pipeline of diffusers: read, put where there is room, and freed again.

resident     all parts stay on the device: the fastest, 58 GB for the 20 B models
offload      each part comes to the device when its turn is: the transformer's
             41 GB must fit, the rest waits in the machine's memory
quantised    the big parts are stored in 8 bits and computed in 16: about 30 GB,
             somewhat slower; needs no hardware for 8 bits
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_worker.engines import devices, torchvision_shim
from gpu_worker.engines.qwen import settings
from gpu_worker.errors import EngineUnavailable

logger = logging.getLogger("gpu_worker.engines.qwen")

CLASSES = {
    "qwen-image": "QwenImagePipeline",
    "qwen-image-edit": "QwenImageEditPlusPipeline",
}
PARTS = {
    "transformer": ("diffusers", "QwenImageTransformer2DModel"),
    "text_encoder": ("transformers", "Qwen2_5_VLForConditionalGeneration"),
}
"""What is large enough to be told of, and who knows it."""
ENCODED_SHARE = 384 / 1024
"""How much smaller the side is at which the text encoder sees a reference."""
MOST_COMPILED = 64
TILED_FROM_PIXELS = 2_100_000
FAST_SHIFT = math.log(3)
FAST_SCHEDULE = {
    "base_shift": FAST_SHIFT,
    "max_shift": FAST_SHIFT,
    "shift": 1.0,
    "shift_terminal": None,
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
}
"""The schedule that the Lightning sets were distilled with (their model card)."""
Say = Callable[[str], None]


def load(name: settings.Name, *, say: Say) -> Any:
    """The engine's pipeline on its device. Raises EngineUnavailable."""
    source = settings.source(name)
    if source is None:
        raise EngineUnavailable(f"There are no weights of {name}.")
    torchvision_shim.ensure()
    device = devices.device()
    pipeline = _read(name, source, dtype=devices.dtype_for(device, wide=True), say=say)
    pipeline.set_progress_bar_config(disable=True)
    if pipeline.transformer.config.guidance_embeds:
        # It would want a scale of another kind, and ignore the one that we promise.
        raise EngineUnavailable(f"{name}: guidance-distilled models are not served.")
    return pipeline


def settle(pipeline: Any, *, say: Say) -> Any:
    """Bring a pipeline, with its adapters, to the device as the settings say. Raises
    EngineUnavailable."""
    device, recipe, backend = devices.device(), settings.memory(), settings.compiler()
    if backend:
        devices.check_compiler("NIJIKA_QWEN_COMPILE", device, backend=backend)
    say(f"moving to {device} ({recipe})")
    if recipe == "quantised":
        _store_in_eight_bits(pipeline)
    if recipe == "offload":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    if backend:
        say("compiling")
        _compile(pipeline.transformer, backend)
    return pipeline


def _compile(transformer: Any, backend: str) -> None:
    import torch

    # Each choice of adapters is compiled for itself, and past the limit a job fails.
    torch._dynamo.config.recompile_limit = MOST_COMPILED
    transformer.compile_repeated_blocks(fullgraph=True, backend=backend)


def fast_scheduler(pipeline: Any) -> Any:
    """The pipeline's scheduler with the few steps' own schedule."""
    scheduler = pipeline.scheduler
    return type(scheduler).from_config(dict(scheduler.config) | FAST_SCHEDULE)


def tile(pipeline: Any, size_px: settings.Size) -> None:
    """Decode in tiles where the whole picture would take too much memory."""
    if math.prod(size_px) > TILED_FROM_PIXELS:
        pipeline.vae.enable_tiling()
    else:
        pipeline.vae.disable_tiling()


def clean_up(pipeline: Any) -> None:
    """After a call that was ended: what it would have done by itself."""
    pipeline.maybe_free_model_hooks()


def free() -> None:
    """Give back what nobody refers to any more."""
    gc.collect()
    devices.free_memory()


def _read(name: settings.Name, source: settings.Source, *, dtype: Any, say: Say) -> Any:
    """The big parts one by one, so that who waits sees it go on."""
    import diffusers
    import transformers

    if name == "qwen-image-edit":
        set_reference_size(settings.reference_px())
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"local_files_only": Path(source.place).is_dir()}
    if source.revision:
        options["revision"] = source.revision
    parts = {}
    for number, (part, (library, kind)) in enumerate(PARTS.items(), start=1):
        say(f"reading weights, {number} of {len(PARTS) + 1}: {part.replace('_', ' ')}")
        cls = getattr({"diffusers": diffusers}.get(library, transformers), kind)
        parts[part] = cls.from_pretrained(
            source.place, subfolder=part, dtype=dtype, **options
        )
    say(f"reading weights, {len(PARTS) + 1} of {len(PARTS) + 1}: the rest")
    whole = getattr(diffusers, CLASSES[name])
    return whole.from_pretrained(source.place, dtype=dtype, **parts, **options)


def set_reference_size(side_px: int) -> None:
    """The pipeline has no parameter for it, only constants of its module."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    module.VAE_IMAGE_SIZE = side_px**2
    module.CONDITION_IMAGE_SIZE = round((side_px * ENCODED_SHARE) ** 2)


def _store_in_eight_bits(pipeline: Any) -> None:
    import torch
    from diffusers.hooks import apply_layerwise_casting

    for part in (pipeline.transformer, pipeline.text_encoder):
        apply_layerwise_casting(
            part,
            storage_dtype=torch.float8_e4m3fn,
            compute_dtype=part.dtype,
            # Small, and where the eight bits would show.
            skip_modules_pattern=(
                *("norm", "embed", "lora_", "^img_in$", "^txt_in$", "^proj_out$"),
                *("lm_head", "rotary"),
            ),
        )
