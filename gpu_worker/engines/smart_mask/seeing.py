"""A network beside its device: one pass over the images that are new, then a choice for
each job by what it pointed at.

An image that was seen in the last 15 minutes, or that is in the batch twice, is not
looked at again. The masks get their soft edges in a child, at the size of the image
(`answering`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines import devices
from gpu_worker.engines.base import Arrays, DeviceOutcome, Hooks, Item
from gpu_worker.engines.smart_mask import asking
from gpu_worker.engines.smart_mask.asking import Asked
from gpu_worker.engines.smart_mask.keeping import Kept, Sized, keys_of
from gpu_worker.errors import OutOfMemory, Stopped
from gpu_worker.pixels import Pixels

STEPS = 3
Seen = TypeVar("Seen", bound=Sized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A mask of the whole image at any size, and how sure it is, 0 to 1."""

    mask: NDArray[np.bool_]
    score: float


class Network(Protocol[Seen]):
    """A loaded network on its device."""

    def look(self, images: Sequence[Pixels]) -> list[Seen]:
        """One pass over images of any sizes: what it saw in each."""

    def candidates(self, seen: Seen, asked: Asked) -> list[Candidate]:
        """What is meant, the best first, in an image that was seen; empty where
        nothing that was seen fits."""


class Seeing(Generic[Seen]):
    """The network, and what it saw lately. For the one thread of the device."""

    def __init__(self, network: Network[Seen], keep_bytes: int) -> None:
        self._network = network
        self._kept: Kept[Seen] = Kept(keep_bytes)

    def warm_up(self, side_px: int, counts: Sequence[int]) -> None:
        image = np.full((side_px, side_px, 3), 127, np.uint8)
        nothing = np.zeros((0, 4), np.float32)
        asked = Asked(rgb=image, points=nothing[:, :3], boxes=nothing)
        for count in counts:
            seen = self._network.look([image] * count)
            self._network.candidates(seen[0], asked)

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[DeviceOutcome]:
        """What each item points at; Stopped for those that nobody waits for."""
        asked = [asking.asked(item.arrays) for item in batch]
        keys = keys_of([one.rgb for one in asked])
        wanted = [
            (key, one.rgb)
            for item, one, key in zip(batch, asked, keys, strict=True)
            if not hooks.cancelled(item)
        ]
        for item in batch:
            hooks.progress(item, 1, STEPS, "looking at the image")
        seen, new = self._look(dict(wanted))
        return [
            self._outcome(item, one, seen.get(key), hooks, reused=key not in new)
            for item, one, key in zip(batch, asked, keys, strict=True)
        ]

    def _look(
        self, images: dict[bytes, Pixels]
    ) -> tuple[dict[bytes, Seen], set[bytes]]:
        """What is seen in each image, and in which it had to be looked for."""
        kept = {key: self._kept.find(key) for key in images}
        seen = {key: one for key, one in kept.items() if one is not None}
        new = [key for key in images if key not in seen]
        if new:
            looked = self._passed([images[key] for key in new])
            for key, one in zip(new, looked, strict=True):
                seen[key] = one
                self._kept.put(key, one)
        return seen, set(new)

    def _passed(self, images: Sequence[Pixels]) -> list[Seen]:
        try:
            return self._network.look(images)
        except Exception as error:
            # Whoever tries again with fewer images finds the memory that is kept here.
            if isinstance(devices.error_of(error), OutOfMemory):
                self._kept.forget()
            raise

    def _outcome(
        self, item: Item, asked: Asked, seen: Seen | None, hooks: Hooks, *, reused: bool
    ) -> DeviceOutcome:
        if seen is None or hooks.cancelled(item):
            return Stopped()
        hooks.progress(item, 2, STEPS, "choosing the object")
        made = _made(self._network.candidates(seen, asked), reused=reused)
        hooks.progress(item, STEPS, STEPS, "drawing the edge")
        return made


def _made(found: Sequence[Candidate], *, reused: bool) -> Arrays:
    """Masks as uint8 (n, height, width); none at all where nothing fits."""
    details = {"scores": [round(one.score, 3) for one in found], "reused": reused}
    masks = [one.mask.astype(np.uint8) for one in found]
    return Arrays(arrays={"masks": np.stack(masks)} if masks else {}, details=details)
