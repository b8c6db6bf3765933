"""Who shares a pass with whom: the real batcher over a lane that takes notes."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gpu_worker.batching import Batch, Batcher, Errand

BATCH_SIZE, OF_ONE = 8, 4


class Notes:
    """A lane that waits for `go` and writes down whom it ran together."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[str]] = []
        self.began: list[float] = []
        self.limit = BATCH_SIZE

    def start(self) -> None: ...

    def most(self, errand: Errand) -> int:
        return min(errand.together, self.limit)

    def interrupt(self) -> None: ...

    def run(self, batch: Batch) -> None:
        self.began.append(time.monotonic())
        self.go.wait(10)
        self.batches.append([errand.owner for errand in batch.errands])
        for errand in batch.errands:
            errand.future.set_result({})


@pytest.fixture
def lane() -> Notes:
    return Notes()


@pytest.fixture
def batcher(lane: Notes) -> Iterator[Batcher]:
    batcher = Batcher("test", [lane])
    batcher.start()
    assert batcher.wait_ready(5)
    yield batcher
    lane.go.set()


def errand(owner: str, **changes: Any) -> Errand:
    values: dict[str, Any] = {
        "do": "run",
        "key": ("removebg", "test"),
        "item": {"job_id": f"{owner}-{time.monotonic_ns()}"},
        "deadline": time.monotonic() + 60,
        "heard": lambda said: None,
        "together": BATCH_SIZE,
        "of_one": OF_ONE,
        "owner": owner,
    }
    return Errand(**values | changes)


def together(lane: Notes, batcher: Batcher, *errands: Errand) -> list[str]:
    """The owners in each batch of what gathered while the lane was busy."""
    first = errand("first")
    batcher.offer(first)
    while not lane.began:
        time.sleep(0.001)
    for one in errands:
        batcher.offer(one)
    lane.go.set()
    for one in (first, *errands):
        one.future.result(10)
    return ["".join(batch) for batch in lane.batches[1:]]


def many(owner: str, number: int, **changes: Any) -> list[Errand]:
    return [errand(owner, **changes) for _ in range(number)]


def test_one_user_leaves_room_for_those_who_wait(lane: Notes, batcher: Batcher) -> None:
    batches = together(lane, batcher, *many("a", 10), *many("b", 2), *many("c", 2))
    assert batches == ["aaaabbcc", "aaaaaa"]


def test_neighbours_pass_is_no_longer_for_one_user_with_many_jobs(
    lane: Notes, batcher: Batcher
) -> None:
    batches = together(lane, batcher, *many("a", 10), errand("b"))
    assert batches == ["aaaab", "aaaaaa"]


def test_user_who_is_alone_fills_the_batch(lane: Notes, batcher: Batcher) -> None:
    assert together(lane, batcher, *many("a", 9)) == ["aaaaaaaa", "a"]


def test_oldest_come_first(lane: Notes, batcher: Batcher) -> None:
    names = "abcdefghijk"
    batches = together(lane, batcher, *(errand(name) for name in names))
    assert batches == ["abcdefgh", "ijk"]


def test_kinds_are_kept_apart_and_the_oldest_decides(
    lane: Notes, batcher: Batcher
) -> None:
    mixed = [errand(name, share=name in "bd") for name in "abcd"]
    assert together(lane, batcher, *mixed) == ["ac", "bd"]


def test_lane_may_take_fewer_than_the_engine_could(
    lane: Notes, batcher: Batcher
) -> None:
    lane.limit = 2
    assert together(lane, batcher, *(errand(name) for name in "abc")) == ["ab", "c"]


def test_lone_errand_starts_within_five_milliseconds(
    lane: Notes, batcher: Batcher
) -> None:
    lane.go.set()
    delays = []
    for _ in range(30):
        time.sleep(0.005)
        offered = time.monotonic()
        one = errand("a")
        batcher.offer(one)
        one.future.result(10)
        delays.append(lane.began[-1] - offered)
    assert statistics.median(delays) < 0.005
