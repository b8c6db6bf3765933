"""What a network saw in the last images, so that a second click needs no second pass.

Kept by what an image shows, never by a name: nobody's click meets another picture. The
sums are made of the pixels here, not taken from the child that decoded them.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

import numpy as np

from gpu_worker.pixels import Pixels

KEPT_S = 15 * 60.0


class Sized(Protocol):
    """Something that takes memory."""

    @property
    def size_bytes(self) -> int: ...


Seen = TypeVar("Seen", bound=Sized)


class Kept(Generic[Seen]):
    """Up to `most_bytes` of them, each for 15 minutes since it was last used. For one
    thread."""

    def __init__(
        self, most_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_bytes, self._clock = most_bytes, clock
        self._kept: OrderedDict[bytes, tuple[float, Seen]] = OrderedDict()
        self._bytes = 0

    def find(self, key: bytes) -> Seen | None:
        self._drop_old()
        if key not in self._kept:
            return None
        _, seen = self._kept.pop(key)
        self._kept[key] = self._clock(), seen
        return seen

    def put(self, key: bytes, seen: Seen) -> None:
        """Keep it; the longest unused go where there is no room."""
        self._drop(key)
        self._kept[key] = self._clock(), seen
        self._bytes += seen.size_bytes
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def forget(self) -> None:
        self._kept.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def _drop_old(self) -> None:
        """The order is that of use, so the oldest come first."""
        before = self._clock() - KEPT_S
        while self._kept and next(iter(self._kept.values()))[0] <= before:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        if key in self._kept:
            self._bytes -= self._kept.pop(key)[1].size_bytes


_threads = ThreadPoolExecutor(8, thread_name_prefix="sums")


def keys_of(images: Sequence[Pixels]) -> list[bytes]:
    """What each image is known by: a digest of its size and pixels. hashlib lets go of
    the interpreter meanwhile, so a batch takes as long as one image."""
    if len(images) == 1:
        return [_key(images[0])]
    return list(_threads.map(_key, images))


def _key(image: Pixels) -> bytes:
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
