"""What a process keeps of the database for a while."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from jobs.workers.kept import Kept


class Looking:
    """Counts looks, and who looked."""

    def __init__(self) -> None:
        self.by: list[int] = []

    def __call__(self) -> int:
        self.by.append(threading.get_ident())
        return len(self.by)


@pytest.fixture
def look() -> Looking:
    return Looking()


@pytest.fixture
def kept(look: Looking) -> Kept[int]:
    return Kept(look, unknown=0)


def test_look_is_kept_as_long_as_it_may_be_old(kept: Kept[int]) -> None:
    assert [kept.get(fresh_s=60), kept.get(fresh_s=60)] == [1, 1]
    assert kept.get(fresh_s=0) == 2
    kept.forget()
    assert kept.get(fresh_s=60) == 3


def test_event_loop_takes_what_is_kept_and_has_a_thread_look(
    kept: Kept[int], look: Looking
) -> None:
    async def ask() -> int:
        return kept.get(fresh_s=0)

    assert asyncio.run(ask()) == 0
    eventually(lambda: len(look.by) == 1)
    assert asyncio.run(ask()) == 1
    eventually(lambda: len(look.by) == 2)
    assert threading.get_ident() not in look.by


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)
