"""Qwen-Image at full size, with random weights: one pass of its transformer, plain and
compiled, and the decoder of its pictures.

Needs diffusers; where it is not installed, its unpacked wheel on PYTHONPATH is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from bench.gpu import measure
from bench.gpu.measure import Memory, Report

DTYPE = torch.bfloat16
SIZES = ((1024, 1024), (1328, 1328))
LARGER = ((1664, 928), (2048, 2048))
WIDTH, BLOCKS, TEXT_WIDTH = 3072, 60, 3584
TEXT_TOKENS = 128
PIXELS_PER_TOKEN = 16 * 16
REFERENCE_TOKENS = 4096
"""Of one megapixel: what an edit's pass has for every picture that it is shown."""
LATENT_CHANNELS, TOKEN_CHANNELS = 16, 64
LORA_RANK = 64
VAE_TFLOP_PER_MP = 11.7 / 1.048576
"""Of decoding, counted on the module."""
Size = tuple[int, int]


def run(report: Report, *, quick: bool) -> None:
    torch.manual_seed(0)
    transformer = random_transformer()
    with torch.inference_mode():
        for backend in backends(quick=quick):
            if uses(transformer, backend, report):
                passes(report, transformer, backend or "plain", quick=quick)
        transformer.reset_attention_backend()
        compiled(report, transformer, quick=quick)
    del transformer
    torch.cuda.empty_cache()
    if not quick:
        decoder(report)


def backends(*, quick: bool) -> tuple[str, ...]:
    """Ways to compute attention that torch itself brings; "": what it chooses."""
    return ("",) if quick else ("", "_native_cudnn", "_native_flash")


def uses(transformer: Any, backend: str, report: Report) -> bool:
    """Have the transformer compute attention this way; False: it cannot here."""
    transformer.reset_attention_backend()
    if not backend:
        return True
    try:
        transformer.set_attention_backend(backend)
        pass_of(transformer, (512, 512))()
    except Exception as error:  # a bench says what failed and goes on
        report.say(f"{backend}: {type(error).__name__}: {error}")
        transformer.reset_attention_backend()
        return False
    return True


def random_transformer() -> Any:
    """The published architecture: 20.4 billion parameters, 41 GB."""
    from diffusers import QwenImageTransformer2DModel

    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPE)
    try:
        with torch.device("cuda"):
            transformer = QwenImageTransformer2DModel()
    finally:
        torch.set_default_dtype(before)
    return transformer.eval().requires_grad_(False)


def pass_of(transformer: Any, size: Size, *, references: int = 0) -> Callable[[], Any]:
    """One denoising pass of a picture of this size, beside so many references."""
    grid = (1, size[1] // 16, size[0] // 16)
    shapes = [[grid, *[(1, 64, 64)] * references]]
    count = math.prod(grid) + references * REFERENCE_TOKENS
    latents = torch.randn(1, count, TOKEN_CHANNELS, device="cuda", dtype=DTYPE)
    text = torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, device="cuda", dtype=DTYPE)
    time = torch.tensor([0.5], device="cuda", dtype=DTYPE)

    def call() -> Any:
        return transformer(
            hidden_states=latents,
            timestep=time,
            encoder_hidden_states=text,
            encoder_hidden_states_mask=None,
            img_shapes=shapes,
            return_dict=False,
        )[0]

    return call


def tflop(size: Size, *, references: int = 0) -> float:
    """Of one pass: twice the multiplications of the products and of attention."""
    image = math.prod(size) / PIXELS_PER_TOKEN + references * REFERENCE_TOKENS
    tokens = image + TEXT_TOKENS
    # Queries, keys, values and the way out; up to four times the width and back.
    products = 2 * 12 * WIDTH**2 * tokens
    return BLOCKS * (products + 4 * tokens**2 * WIDTH) / 1e12


def passes(report: Report, transformer: Any, name: str, *, quick: bool) -> None:
    for size in SIZES if quick else SIZES + LARGER:
        one_pass(report, transformer, name, size)
    if not quick:
        for references in (1, 3):
            one_pass(report, transformer, name, (1024, 1024), references=references)


def one_pass(
    report: Report, transformer: Any, name: str, size: Size, *, references: int = 0
) -> None:
    call = pass_of(transformer, size, references=references)
    with Memory() as memory:
        taken = measure.seconds(call, repeats=5)
    assert bool(torch.isfinite(call()).all())
    rate = tflop(size, references=references) / taken
    report.row(
        what=f"Qwen-Image pass, {name}",
        size=f"{size[0]} x {size[1]}",
        references=references,
        ms=round(taken * 1000, 1),
        tflop=round(tflop(size, references=references)),
        share=f"{rate / report.facts['peak_bf16_tflops']:.1%}",
        gigabytes=round(memory.most / 1e9, 1),
    )


def compiled(report: Report, transformer: Any, *, quick: bool) -> None:
    """The repeated block compiled once for all sixty; then with an adapter as the fast
    tier has it, not fused."""
    try:
        transformer.compile_repeated_blocks(fullgraph=True)
        passes(report, transformer, "compiled", quick=quick)
        if not quick:
            add_adapter(transformer)
            one_pass(report, transformer, "compiled, with an adapter", SIZES[0])
    except Exception as error:  # a bench says what failed and goes on
        report.say(f"compiled: {type(error).__name__}: {error}")


def add_adapter(transformer: Any) -> None:
    """Random, on what the published sets change."""
    from peft import LoraConfig

    names = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj"]
    names += ["add_v_proj", "to_add_out", "img_mlp.net.2", "txt_mlp.net.2"]
    wanted = LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=names)
    transformer.add_adapter(wanted)
    transformer.to("cuda", DTYPE)


def decoder(report: Report) -> None:
    """A picture's latents to its pixels."""
    from diffusers import AutoencoderKLQwenImage

    with torch.device("cuda"):
        autoencoder = AutoencoderKLQwenImage().to(DTYPE).eval().requires_grad_(False)
    with torch.inference_mode():
        for size in SIZES:
            _decode(report, autoencoder, size)


def _decode(report: Report, autoencoder: Any, size: Size) -> None:
    shape = (1, LATENT_CHANNELS, 1, size[1] // 8, size[0] // 8)
    latents = torch.randn(shape, device="cuda", dtype=DTYPE)
    with Memory() as memory:
        taken = measure.seconds(
            lambda: autoencoder.decode(latents, return_dict=False)[0], repeats=5
        )
    work = VAE_TFLOP_PER_MP * math.prod(size) / 1e6
    report.row(
        what="Qwen-Image decoder",
        size=f"{size[0]} x {size[1]}",
        ms=round(taken * 1000, 1),
        tflop=round(work, 1),
        share=f"{work / taken / report.facts['peak_bf16_tflops']:.1%}",
        gigabytes=round(memory.most / 1e9, 1),
    )
