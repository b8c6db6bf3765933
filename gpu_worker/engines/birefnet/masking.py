"""Masks of what was pointed at: looks at parts of the images (`pointing`), as many in
one pass as fit, until every object is found or there is nowhere left to look.

What was seen in a part stays for 15 minutes, so that a second click on the same subject
needs no second pass.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpu_worker.engines import devices
from gpu_worker.engines.base import Arrays, DeviceOutcome, Hooks, Item
from gpu_worker.engines.birefnet import pointing
from gpu_worker.engines.birefnet.pointing import Found, Place
from gpu_worker.engines.birefnet.running import Loaded
from gpu_worker.engines.birefnet.settings import BATCH, Sizing
from gpu_worker.engines.birefnet.sizing import seen_size
from gpu_worker.engines.smart_mask import asking
from gpu_worker.engines.smart_mask.asking import Asked, Object
from gpu_worker.engines.smart_mask.keeping import Kept, keys_of
from gpu_worker.errors import OutOfMemory, Stopped
from gpu_worker.pixels import Pixels

logger = logging.getLogger("gpu_worker.birefnet")

KEEP_BYTES = 128 * 10**6
"""Of the machine's memory, not the device's: at least 80 looks."""
STEPS = 3


@dataclass(frozen=True, slots=True)
class Opacity:
    """What the network saw in a part of an image, uint8 (height, width) of its size."""

    pixels: Pixels

    @property
    def size_bytes(self) -> int:
        return self.pixels.nbytes


@dataclass(slots=True)
class Search:
    """One object: where it is still to be looked for, or what was found."""

    wanted: Object
    places: list[Place]
    found: Found | None = None

    @property
    def is_open(self) -> bool:
        return self.found is None and bool(self.places)


@dataclass(slots=True)
class Job:
    """One item, with a search for each object that it means."""

    item: Item
    asked: Asked
    searches: list[Search]
    reused: bool = True
    """Whether all that was looked at had been seen before."""


Look = tuple[Job, Search, Pixels]
"""Whose look it is, for what, and the part of the image."""


@dataclass(slots=True)
class Masking:
    """The network, and what it saw lately. For one thread."""

    loaded: Loaded
    sizing: Sizing
    _kept: Kept[Opacity] = field(default_factory=lambda: Kept(KEEP_BYTES))
    _most: int = BATCH

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[DeviceOutcome]:
        """What each item points at; Stopped for those that nobody waits for."""
        jobs = [_job(item) for item in batch]
        for job in jobs:
            hooks.progress(job.item, 1, STEPS, "looking at the image")
        while looks := _looks(jobs, hooks):
            self._look(looks)
        return [_outcome(job, hooks) for job in jobs]

    def _look(self, looks: Sequence[Look]) -> None:
        """One look for each search, the new ones in passes of the network."""
        keys = keys_of([part for _, _, part in looks])
        parts = dict(zip(keys, (part for _, _, part in looks), strict=True))
        seen = {key: self._kept.find(key) for key in parts}
        new = {key: part for key, part in parts.items() if seen[key] is None}
        seen |= self._passed(new)
        for key, (job, search, _) in zip(keys, looks, strict=True):
            job.reused &= key not in new
            opacity, place = seen[key], search.places.pop(0)
            assert opacity is not None
            search.found = pointing.found(
                opacity.pixels, place, search.wanted, _size(job.asked)
            )

    def _passed(self, parts: dict[bytes, Pixels]) -> dict[bytes, Opacity]:
        """What is seen in each: those that are seen at one size in one pass."""
        made: dict[bytes, Opacity] = {}
        sizes = {key: self._seen_size(part) for key, part in parts.items()}
        for size in dict.fromkeys(sizes.values()):
            same = [key for key in parts if sizes[key] == size]
            opacities = self._opacities([parts[key] for key in same], size)
            made |= dict(zip(same, map(Opacity, opacities), strict=True))
        for key, opacity in made.items():
            self._kept.put(key, opacity)
        return made

    def _opacities(
        self, parts: Sequence[Pixels], size: tuple[int, int]
    ) -> list[Pixels]:
        """A job may mean many parts: so many at once as there is memory for."""
        made: list[Pixels] = []
        while len(made) < len(parts):
            some = parts[len(made) : len(made) + self._most]
            try:
                made += self.loaded.matting.opacities(some, *size)
            except Exception as error:
                is_short = isinstance(devices.error_of(error), OutOfMemory)
                if not is_short or len(some) == 1:
                    raise
                self._most = len(some) // 2
                devices.free_memory()
            else:
                logger.info("%d parts in one pass", len(some))
        return made

    def _seen_size(self, part: Pixels) -> tuple[int, int]:
        return seen_size(part.shape[1], part.shape[0], self.sizing)


def _job(item: Item) -> Job:
    asked = asking.asked(item.arrays)
    size = _size(asked)
    return Job(
        item,
        asked,
        [Search(one, pointing.places(one, size)) for one in asked.objects()],
    )


def _looks(jobs: Sequence[Job], hooks: Hooks) -> list[Look]:
    """The next look of every search that is open and that somebody waits for."""
    return [
        (job, search, _part(job.asked.rgb, search.places[0]))
        for job in jobs
        if not hooks.cancelled(job.item)
        for search in job.searches
        if search.is_open
    ]


def _part(rgb: Pixels, place: Place) -> Pixels:
    left, top, right, bottom = place
    return rgb[top:bottom, left:right]


def _outcome(job: Job, hooks: Hooks) -> DeviceOutcome:
    """The objects together; nothing where one of them was not found."""
    if hooks.cancelled(job.item):
        return Stopped()
    hooks.progress(job.item, STEPS, STEPS, "drawing the edge")
    found = [one.found for one in job.searches if one.found]
    if len(found) < len(job.searches):
        return Arrays(arrays={}, details={"scores": [], "reused": job.reused})
    return Arrays(
        arrays={"opacity": np.maximum.reduce([one.opacity for one in found])},
        details={
            "scores": [round(min(one.score for one in found), 3)],
            "reused": job.reused,
        },
    )


def _size(asked: Asked) -> pointing.Size:
    height, width = asked.rgb.shape[:2]
    return width, height
