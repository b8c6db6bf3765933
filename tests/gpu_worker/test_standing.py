"""What a worker tells of its engines, and when."""

from __future__ import annotations

import time

import pytest

from gpu_worker import standing
from gpu_worker.standing import Standing

KEY = ("removebg", "birefnet")


@pytest.fixture
def engines() -> Standing:
    made = Standing()
    made.is_in(KEY, "warm")
    return made


def state(engines: Standing) -> list[str]:
    """What a call would tell now, and does."""
    tidings = engines.tidings()
    engines.told(tidings)
    return [one.state for one in tidings.states]


def test_state_is_told_once(engines: Standing) -> None:
    assert [state(engines), state(engines)] == [["warm"], []]


def test_state_whose_call_was_lost_is_told_again(engines: Standing) -> None:
    assert [len(engines.tidings().states) for _ in range(2)] == [1, 1]


def test_engine_that_runs_is_hot_and_cools_down_later(
    engines: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "HOT_S", 0.05)
    engines.begins(KEY)
    assert state(engines) == ["hot"]
    engines.ends(KEY)
    assert state(engines) == []
    time.sleep(0.06)
    assert state(engines) == ["warm"]


def test_news_of_a_state_wakes_the_link(engines: Standing) -> None:
    heard: list[bool] = []
    engines.wake = lambda: heard.append(True)
    engines.is_in(KEY, "loading", "weights, 1 of 2")
    engines.begins(KEY)
    assert heard == [True]


def test_times_are_means_and_a_batch_is_shared(engines: Standing) -> None:
    engines.took(KEY, size_mp=4, run_ms=800, together=8)
    engines.took(KEY, size_mp=4, run_ms=1800, together=8)
    [told] = engines.tidings().measures
    assert (told.size_mp, told.run_ms, told.share_ms) == (4, 1100, 138)


def test_first_time_of_a_size_is_told_at_once(engines: Standing) -> None:
    engines.took(KEY, size_mp=1, run_ms=10, together=1)
    engines.told(engines.tidings())
    engines.took(KEY, size_mp=1, run_ms=10, together=1)
    engines.took(KEY, size_mp=4, run_ms=30, together=1)
    assert {one.size_mp for one in engines.tidings().measures} == {1, 4}
    engines.told(engines.tidings())
    engines.took(KEY, size_mp=4, run_ms=30, together=1)
    assert engines.tidings().measures == ()


def test_runs_that_have_become_much_longer_are_told_at_once(engines: Standing) -> None:
    engines.took(KEY, size_mp=1, run_ms=1, together=1)
    engines.told(engines.tidings())
    engines.took(KEY, size_mp=1, run_ms=20, together=1)
    assert engines.tidings().measures == ()
    engines.took(KEY, size_mp=1, run_ms=100, together=1)
    [told] = engines.tidings().measures
    assert told.share_ms == 35


def test_times_are_told_now_and_then(
    engines: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.took(KEY, size_mp=1, run_ms=10, together=1)
    engines.told(engines.tidings())
    engines.took(KEY, size_mp=1, run_ms=10, together=1)
    assert engines.tidings().measures == ()
    monkeypatch.setattr(standing, "MEASURES_EVERY_S", 0.0)
    assert len(engines.tidings().measures) == 1
