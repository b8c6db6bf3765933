"""Who is let in, and who waits."""

import threading

import pytest

from gpu_worker.gate import Draining, Gate


def test_gate_has_a_place_per_slot() -> None:
    gate = Gate(2)
    enter(gate, count=2)
    assert gate.free_slots == 0
    assert is_kept_waiting(gate)


def test_gate_lets_as_many_again_in_ahead() -> None:
    gate = Gate(2)
    enter(gate, count=4, ahead=True)
    assert is_kept_waiting(gate, ahead=True)


def test_place_is_free_again_when_somebody_leaves() -> None:
    gate = Gate(1)
    enter(gate)
    waiting = Visitor(gate)
    gate.leave()
    assert waiting.is_in_soon()


def test_one_that_is_alone_waits_until_all_have_left() -> None:
    gate = Gate(2)
    enter(gate)
    alone = Visitor(gate, alone=True)
    assert not alone.is_in_soon()
    gate.leave()
    assert alone.is_in_soon()


def test_nobody_enters_while_one_waits_or_is_alone() -> None:
    gate = Gate(2)
    enter(gate)
    alone, other = Visitor(gate, alone=True), Visitor(gate)
    assert not other.is_in_soon()
    assert gate.free_slots == 0
    gate.leave()
    assert alone.is_in_soon()
    assert not other.is_in_soon()
    gate.leave()
    assert other.is_in_soon()


def test_closed_gate_refuses_those_who_wait() -> None:
    gate = Gate(1)
    enter(gate)
    waiting = [Visitor(gate), Visitor(gate, alone=True)]
    gate.close()
    assert all(visitor.was_refused() for visitor in waiting)
    with pytest.raises(Draining):
        gate.enter(alone=False, ahead=False)


class Visitor:
    """Somebody who enters in a thread."""

    def __init__(self, gate: Gate, *, alone: bool = False, ahead: bool = False) -> None:
        self._gate, self._alone, self._ahead = gate, alone, ahead
        self._is_in, self._refused = threading.Event(), threading.Event()
        threading.Thread(target=self._enter, daemon=True).start()
        self._is_in.wait(0.05)

    def is_in_soon(self) -> bool:
        return self._is_in.wait(0.2)

    def was_refused(self) -> bool:
        return self._refused.wait(2)

    def _enter(self) -> None:
        try:
            self._gate.enter(alone=self._alone, ahead=self._ahead)
            self._is_in.set()
        except Draining:
            self._refused.set()


def enter(gate: Gate, *, count: int = 1, ahead: bool = False) -> None:
    for _ in range(count):
        assert Visitor(gate, ahead=ahead).is_in_soon()


def is_kept_waiting(gate: Gate, *, ahead: bool = False) -> bool:
    return not Visitor(gate, ahead=ahead).is_in_soon()
