"""Ids that are made here, not by the database: UUIDv7, so that rows lie in time order.

Random bytes are drawn for many ids at once: each call of `os.urandom` lets go of the
interpreter lock, which in a busy process costs more than the bytes.
"""

import os
import time
from uuid import UUID

DRAWN_AT_ONCE = 256
RANDOM_BYTES = 10
VERSION_7 = 0x7 << 76
VARIANT = 0x2 << 62
RANDOM_A = ((1 << 12) - 1) << 64
RANDOM_B = (1 << 62) - 1

_drawn: list[int] = []
# A forked child must not hand out the ids of its parent.
os.register_at_fork(after_in_child=_drawn.clear)


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    chance = _random()
    value = milliseconds << 80 | VERSION_7 | chance & RANDOM_A | VARIANT
    return UUID(int=value | chance & RANDOM_B)


def new_ids(count: int) -> list[UUID]:
    return [new_id() for _ in range(count)]


def _random() -> int:
    # Two threads may find the list empty at once; then both fill it, which is harmless.
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            _draw()


def _draw() -> None:
    drawn = os.urandom(RANDOM_BYTES * DRAWN_AT_ONCE)
    for start in range(0, len(drawn), RANDOM_BYTES):
        _drawn.append(int.from_bytes(drawn[start : start + RANDOM_BYTES]))
