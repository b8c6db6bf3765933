"""A network's masks as pictures: soft edges at the image's size, moved and blurred. One
that tells opacities (`opacity`, of the source's middle size) has soft edges of its own.

In a child, where the image's pixels are. Where the network found nothing that fits, the
classical engine answers the same prompt, and the details say so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_worker.engines.base import Arrays, Item, Picture
from gpu_worker.engines.smart_mask import masking, outline, prompts, source
from gpu_worker.engines.smart_mask.cutting import Cut
from gpu_worker.engines.smart_mask.outline import Change
from gpu_worker.engines.smart_mask.source import Source


def pictures(item: Item, made: Arrays) -> tuple[Picture, ...]:
    """As many masks as the item asks for and there are, the best first."""
    image = source.read(item.inputs[0].path)
    wanted = item.parameters
    change = Change(
        grow_px=wanted.get("border_adjustment", 0), blur=wanted.get("blur", False)
    )
    said: dict[str, Any] = {"reused": made.details["reused"]}
    if not made.arrays:
        cuts = masking.find(image, prompts.read(item, image.size_px))
        said |= {"engine": "classical", "reason": "no_candidate"}
        return (_picture(image, cuts, change, said),)
    said["scores"] = made.details["scores"]
    if "opacity" in made.arrays:
        drawn = outline.changed(image, made.arrays["opacity"], change)
        seen = masking.details(drawn, said["scores"])
        return (Picture(pixels=drawn, details=seen | said),)
    count = min(wanted.get("candidates", 1), len(made.arrays["masks"]))
    return tuple(
        _picture(image, [_cut(image, made, row)], change, said) for row in range(count)
    )


def _cut(image: Source, made: Arrays, row: int) -> Cut:
    height, width = image.rgb.shape[:2]
    return Cut(
        place=(0, 0, width, height),
        mask=made.arrays["masks"][row].astype(np.bool_),
        score=made.details["scores"][row],
    )


def _picture(
    image: Source, cuts: list[Cut], change: Change, said: dict[str, Any]
) -> Picture:
    drawn = outline.drawn(image, cuts, change)
    return Picture(
        pixels=drawn, details=masking.details(drawn, masking.scores_of(cuts)) | said
    )
