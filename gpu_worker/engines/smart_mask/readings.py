"""Paint read in two ways by a network, as `cutting` does without one: as the object
painted over, and as a part of what may be larger. The image's edges decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from gpu_worker.engines.smart_mask import evidence
from gpu_worker.engines.smart_mask.asking import Asked
from gpu_worker.engines.smart_mask.cutting import overlap
from gpu_worker.engines.smart_mask.prompts import Mask
from gpu_worker.engines.smart_mask.source import work_size

Choice = TypeVar("Choice")

# Masks that overlap so much are the same answer.
SAME = 0.9


def likelier_first(
    asked: Asked,
    whole: Sequence[Choice],
    part: Callable[[], Sequence[Choice]],
    mask_of: Callable[[Choice], Mask],
) -> list[Choice]:
    """The choices for paint over the whole object, behind the best of those for paint
    on a part of it where that is the likelier. `part` is called where it may be."""
    assert asked.guide is not None
    if not whole:
        return list(part())
    paint = evidence.Paint(work_size(asked.rgb), asked.guide > 0, mask_of(whole[0]))
    if paint.is_the_object():
        return list(whole)
    for one in part():
        larger = mask_of(one)
        if paint.is_part_of(larger):
            rest = [one for one in whole if overlap(mask_of(one), larger) < SAME]
            return [one, *rest]
    return list(whole)
