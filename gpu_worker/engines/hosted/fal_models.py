"""fal's models whose parameters we know, as data: endpoints come and go.

`pictures` is the argument that takes the input pictures, `image_url` a single one;
`members` are parameters of ours beyond the prompt that the model honours, by
`arguments` under the name that fal has for them. A path that is not here is asked with
the prompt and the pictures alone.

Not tried against the service itself: a wrong argument shows as `invalid_request`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ARGUMENTS = {"n": "num_images", "seed": "seed", "negative_prompt": "negative_prompt"}
# The later Qwen-Image-Edits (2509, which fal calls plus, and 2511) take several.
SINGLE = re.compile("flux-kontext|qwen-image-edit(?!-plus|-25)|image-to-image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    title: str
    members: tuple[str, ...] = ("n", "seed")
    pictures: str = "image_urls"


def model_of(operation: str, path: str) -> Model:
    """What is known of a path, or the guess for an unknown one."""
    known = MODELS[operation].get(path)
    if known is not None:
        return known
    one = SINGLE.search(path)
    return Model(title=path, members=(), pictures="image_url" if one else "image_urls")


QWEN = ("n", "seed", "negative_prompt")
MODELS: dict[str, dict[str, Model]] = {
    "edit": {
        "fal-ai/nano-banana/edit": Model(title="Nano Banana at fal", members=("n",)),
        "fal-ai/qwen-image-edit": Model(
            title="Qwen-Image-Edit at fal", members=QWEN, pictures="image_url"
        ),
        "fal-ai/qwen-image-edit-2511": Model(
            title="Qwen-Image-Edit 2511 at fal", members=QWEN
        ),
        "fal-ai/bytedance/seedream/v4/edit": Model(title="Seedream 4 at fal"),
        "fal-ai/flux-kontext/dev": Model(
            title="FLUX.1 Kontext [dev] at fal", pictures="image_url"
        ),
        "fal-ai/flux-pro/kontext": Model(
            title="FLUX.1 Kontext [pro] at fal", pictures="image_url"
        ),
    },
    "generate": {
        "fal-ai/flux/dev": Model(title="FLUX.1 [dev] at fal"),
        "fal-ai/qwen-image": Model(title="Qwen-Image at fal", members=QWEN),
        "fal-ai/nano-banana": Model(title="Nano Banana at fal", members=("n",)),
    },
}
