"""Prompts that the model would not read as they are: refused, never cut silently."""

from __future__ import annotations

from typing import Any

from gpu_worker.errors import InvalidParameters

OF_TASKS = {
    "insertion": "Put the object into the marked place, in the light, the perspective "
    "and with the shadow that belong there.",
    "removal": "Remove the object.",
    "white-balance": "Correct the white balance; change nothing else.",
}
"""For who names a task and no word."""

MOST_TOKENS = 1024
"""What the pipelines read of a prompt (diffusers, `tokenizer_max_length`)."""


def check(pipeline: Any, text: str, *, name: str = "prompt") -> None:
    """Raises InvalidParameters for a prompt that is too long, or that has a word of
    the model's own: `<|image_pad|>` would stand for an image that is not there."""
    tokenizer = pipeline.tokenizer
    for word in tokenizer.all_special_tokens:
        if word in text:
            raise InvalidParameters(f"A {name} cannot contain {word}.")
    template = pipeline.prompt_template_encode
    dropped = pipeline.prompt_template_encode_start_idx
    count = len(tokenizer(template.format(text)).input_ids) - dropped
    if count > MOST_TOKENS:
        raise InvalidParameters(
            f"The {name} has {count} tokens; the model reads at most {MOST_TOKENS}."
        )
