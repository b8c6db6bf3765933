"""Which of the masks that a network found are meant: a picture of few parts.

backdrop   all of it but the person
person     coat, head and bag together; coat, head, bag: parts of the person
dog        beside the person
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_worker.engines.smart_mask import choosing
from gpu_worker.engines.smart_mask.choosing import Found

SIDE = 100
NAMES = ("backdrop", "person", "coat", "head", "bag", "dog")
# x_min, y_min, x_max, y_max, and how sure the network is.
PARTS = {
    "backdrop": ((0, 0, 100, 100), 0.95),
    "person": ((30, 10, 60, 90), 0.9),
    "coat": ((30, 40, 60, 90), 0.8),
    "head": ((38, 10, 52, 30), 0.85),
    "bag": ((50, 60, 60, 80), 0.7),
    "dog": ((65, 60, 95, 90), 0.88),
}
ON_COAT, ON_HEAD, ON_BAG, ON_DOG = (0.4, 0.5), (0.45, 0.2), (0.55, 0.7), (0.8, 0.8)
NOWHERE = (0.01, 0.01)


def shape(name: str) -> Any:
    left, top, right, bottom = PARTS[name][0]
    made = np.zeros((SIDE, SIDE), bool)
    made[top:bottom, left:right] = True
    if name == "backdrop":
        made &= ~shape("person")
    return made


def found(
    points: Any = (), *, names: tuple[str, ...] = NAMES, guide: Any = None
) -> Found:
    masks = np.stack([shape(name) for name in names])
    rim = np.concatenate([masks[:, 0], masks[:, :, 0], masks[:, :, -1]], axis=1)
    at = [(int(y * SIDE), int(x * SIDE)) for x, y in points]
    held = [[mask[place] for place in at] for mask in masks]
    guided = None
    if guide is not None:
        shared, union = (masks & guide).sum(axis=(1, 2)), (masks | guide).sum((1, 2))
        guided = (shared / union).astype(np.float32)
    return Found(
        scores=np.array([PARTS[name][1] for name in names], np.float32),
        areas=masks.mean(axis=(1, 2)).astype(np.float32),
        boxes=np.array([PARTS[name][0] for name in names], np.float32) / SIDE,
        borders=rim.mean(axis=1).astype(np.float32),
        held=np.array(held, bool).reshape(len(names), len(at)),
        guided=guided,
    )


def chosen(
    *on_object: Any,
    beside: Any = (),
    box: Any = None,
    is_subject: bool = False,
    **how: Any,
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Names of what is joined and what is cut out, the best pick first."""
    names = how.get("names", NAMES)
    made = choosing.picks(
        found([*on_object, *beside], **how),
        np.array([True] * len(on_object) + [False] * len(beside), bool),
        None if box is None else np.array(box, np.float32) / SIDE,
        is_subject=is_subject,
    )
    return [
        (tuple(names[n] for n in one.add), tuple(names[n] for n in one.without))
        for one in made
    ]


def test_point_is_the_surest_mask_that_holds_it_then_its_parts() -> None:
    assert chosen(ON_COAT) == [(("person",), ()), (("coat",), ())]
    assert chosen(ON_BAG) == [(("person",), ()), (("coat",), ()), (("bag",), ())]


def test_two_points_are_the_mask_that_holds_both() -> None:
    assert chosen(ON_COAT, ON_HEAD)[0] == (("person",), ())


def test_points_on_several_masks_join_them() -> None:
    assert chosen(ON_COAT, ON_DOG)[0] == (("person", "dog"), ())


def test_point_beside_rules_out_what_holds_it() -> None:
    assert chosen(ON_COAT, beside=[ON_HEAD]) == [(("coat",), ())]


def test_point_beside_cuts_a_part_out_where_no_mask_is_without_it() -> None:
    without_coat = tuple(name for name in NAMES if name != "coat")
    picks = chosen(ON_COAT, beside=[ON_BAG], names=without_coat)
    assert picks == [(("person",), ("bag",))]


def test_points_that_these_masks_cannot_tell_apart_are_left_to_others() -> None:
    assert chosen(ON_COAT, beside=[(0.42, 0.5)]) == []


def test_point_on_nothing_is_left_to_others() -> None:
    assert chosen(NOWHERE, names=NAMES[1:]) == []
    assert chosen(ON_DOG, NOWHERE, names=NAMES[1:]) == []


def test_box_is_the_mask_that_fills_it() -> None:
    assert chosen(box=(28, 9, 63, 92))[0] == (("person",), ())
    assert chosen(box=(29, 39, 61, 91))[0] == (("coat",), ())
    assert chosen(box=(1, 1, 12, 12)) == []


def test_box_of_a_mask_of_nothing_is_no_answer() -> None:
    whole = found()
    empty = np.array([name == "person" for name in NAMES])
    holed = replace(
        whole,
        areas=np.where(empty, 0, whole.areas).astype(np.float32),
        scores=np.where(empty, 0, whole.scores).astype(np.float32),
    )
    box = np.array((28, 9, 63, 92), np.float32) / SIDE
    picks = choosing.picks(holed, np.zeros(0, bool), box)
    assert [NAMES[pick.add[0]] for pick in picks] == ["coat"]


def test_box_with_a_point_beside_the_object_is_without_that_part() -> None:
    assert chosen(beside=[ON_HEAD], box=(28, 9, 63, 92))[0] == (("coat",), ())
    without_coat = tuple(name for name in NAMES if name != "coat")
    picks = chosen(beside=[ON_HEAD], box=(28, 9, 63, 92), names=without_coat)
    assert picks == [(("person",), ("head",))]


def test_guide_is_the_mask_that_it_overlaps_most() -> None:
    rough = np.zeros((SIDE, SIDE), bool)
    rough[62:95, 63:93] = True
    assert chosen(guide=rough)[0] == (("dog",), ())
    assert chosen(ON_BAG, guide=rough)[0] == (("dog", "bag"), ())


def test_subject_is_neither_the_backdrop_nor_at_the_side() -> None:
    assert chosen(is_subject=True)[0] == (("person",), ())


def test_nothing_found_is_left_to_others() -> None:
    assert chosen(ON_COAT, names=("dog",)) == []
    empty = found((), names=("dog",))
    nothing = Found(
        scores=empty.scores[:0],
        areas=empty.areas[:0],
        boxes=empty.boxes[:0],
        borders=empty.borders[:0],
        held=empty.held[:0],
    )
    assert choosing.picks(nothing, np.zeros(0, bool), None, is_subject=True) == []


def test_joined_masks_are_less_sure_than_the_least_of_them() -> None:
    points = np.array([True, True])
    [pick] = choosing.picks(found([ON_COAT, ON_DOG]), points, None)
    assert pick.score == pytest.approx(0.88 * choosing.JOINED)
