"""The way to a network and back: what it is asked, what is kept, what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpu_worker import finishing, pixels, registry
from gpu_worker.engines.base import Arrays, Input, Item
from gpu_worker.engines.fastsam.engine import FastSam
from gpu_worker.engines.sam2.engine import Sam2
from gpu_worker.engines.smart_mask import answering, asking, keeping
from gpu_worker.engines.smart_mask.asking import Asked
from gpu_worker.engines.smart_mask.classical import Classical
from gpu_worker.engines.smart_mask.keeping import KEPT_S, Kept
from gpu_worker.engines.smart_mask.seeing import Candidate, Seeing
from gpu_worker.errors import InvalidParameters, Stopped
from gpu_worker.settings import SettingsError
from tests.gpu_worker.engines.pictures import LEMUR, Silent, plain, refuses, save

SIZE = (440, 680)


class Known:
    """What a network saw: how often it had looked by then."""

    size_bytes = 100

    def __init__(self, number: int) -> None:
        self.number = number


class Watched:
    """A network that finds the middle of each image, and notes its passes."""

    def __init__(self) -> None:
        self.passes: list[int] = []

    def look(self, images: Sequence[Any]) -> list[Known]:
        self.passes.append(len(images))
        return [Known(len(self.passes)) for _ in images]

    def candidates(self, seen: Known, asked: Asked) -> list[Candidate]:
        mask = np.zeros((44, 68), bool)
        mask[10:30, 20:50] = True
        return [Candidate(mask=mask, score=0.9)]


class Leaving(Silent):
    """Nobody waits for these jobs any more."""

    def __init__(self, *job_ids: str) -> None:
        super().__init__()
        self.gone = job_ids

    def cancelled(self, item: Item) -> bool:
        return item.job_id in self.gone


def item_of(path: Path, name: str = "job", **wanted: Any) -> Item:
    mask = wanted.pop("mask", None)
    inputs = [Input(role="image", path=path)]
    inputs += [Input(role="mask", path=mask)] if mask else []
    return Item(job_id=name, parameters=wanted, inputs=tuple(inputs))


def read(path: Path, side_px: int = 256, **wanted: Any) -> Asked:
    return asking.asked(asking.arrays(item_of(path, **wanted), side_px))


def job(name: str, grey: int) -> Item:
    arrays = {
        "rgb": plain(20, 30, (grey,) * 3),
        "points": np.zeros((0, 3), np.float32),
        "boxes": np.zeros((0, 4), np.float32),
    }
    return Item(job_id=name, parameters={}, arrays=arrays)


def drawn_mask(folder: Path, draw: Any) -> Path:
    shown = np.zeros(SIZE, np.uint8)
    draw(shown)
    path = folder / "mask.png"
    path.write_bytes(pixels.encode(shown, "png").data)
    return path


def test_prompt_travels_as_shares_of_the_images_sides() -> None:
    asked = read(LEMUR, points=[[340, 220], [0, 439]], labels=[1, 0])
    assert asked.rgb.shape == (166, 256, 3)
    assert asked.points.tolist() == [
        [0.5, 0.5, 1],
        [0, pytest.approx(439 / 440), 0],
    ]


def test_each_box_is_an_object_with_its_own_points() -> None:
    boxes = [[0, 0, 340, 220], [340, 220, 680, 440]]
    points = [[10, 10], [600, 400], [300, 300]]
    asked = read(LEMUR, boxes=boxes, points=points, labels=[1, 1, 0])
    first, second = asked.objects()
    assert (len(first.points), len(second.points)) == (2, 2)
    assert second.box is not None
    assert second.box.tolist() == [0.5, 0.5, 1, 1]


def test_strokes_become_a_few_points_within_them(tmp_path: Path) -> None:
    def stroke(shown: Any) -> None:
        cv2.line(shown, (100, 100), (500, 300), 255, 9)

    mask = drawn_mask(tmp_path, stroke)
    asked = read(LEMUR, mask=mask)
    assert asked.guide is None
    assert 3 <= len(asked.points) <= asking.MOST_STROKE_POINTS
    shown = pixels.decode(mask)
    for x, y, on_object in asked.points:
        assert on_object == 1
        assert shown[int(y * 440), int(x * 680)].max() == 255


def test_painted_object_is_a_guide(tmp_path: Path) -> None:
    def painted(shown: Any) -> None:
        cv2.circle(shown, (300, 200), 120, 255, -1)

    asked = read(LEMUR, mask=drawn_mask(tmp_path, painted))
    assert len(asked.points) == 0
    assert asked.guide is not None
    assert asked.guide.shape == (166, 256)
    assert asked.guide.mean() == pytest.approx(np.pi * 120**2 / 440 / 680, rel=0.02)
    places = asked.inner[:, :2] * [680, 440]
    assert 1 <= len(places) <= asking.MOST_INNER_POINTS
    assert (np.linalg.norm(places - [300, 200], axis=1) < 70).all()
    (whole,) = asked.objects()
    part = whole.as_part()
    assert (part.guide, part.points.tolist()) == (None, asked.inner.tolist())


def test_prompt_that_does_not_go_with_the_image_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="680 x 440"):
        read(LEMUR, points=[[700, 10]])


def test_image_is_looked_at_once_whatever_is_asked() -> None:
    network = Watched()
    seeing = Seeing(network, 1000)
    outcomes = seeing.run([job("a", 1), job("b", 2), job("c", 1)], Silent())
    assert network.passes == [2]
    assert [one.details["reused"] for one in outcomes] == [False] * 3  # type: ignore[union-attr]
    (again,) = seeing.run([job("d", 2)], Silent())
    assert network.passes == [2]
    assert isinstance(again, Arrays)
    assert again.details["reused"] is True


def test_another_image_of_the_same_size_is_another_image() -> None:
    network = Watched()
    seeing = Seeing(network, 1000)
    seeing.run([job("a", 1)], Silent())
    seeing.run([job("b", 3)], Silent())
    assert network.passes == [1, 1]
    turned = plain(20, 30).swapaxes(0, 1)
    assert len(set(keeping.keys_of([plain(20, 30), turned]))) == 2


def test_image_that_nobody_waits_for_is_not_looked_at() -> None:
    network = Watched()
    outcomes = Seeing(network, 1000).run([job("a", 1), job("b", 2)], Leaving("a"))
    assert network.passes == [1]
    assert isinstance(outcomes[0], Stopped)
    assert isinstance(outcomes[1], Arrays)


def test_device_short_of_memory_gets_back_what_was_kept() -> None:
    network = Watched()
    seeing = Seeing(network, 1000)
    seeing.run([job("a", 1)], Silent())

    def full(images: Sequence[Any]) -> Any:
        raise MemoryError

    network.look = full  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        seeing.run([job("b", 2)], Silent())
    with pytest.raises(MemoryError):
        seeing.run([job("a", 1)], Silent())


def test_what_was_seen_is_kept_for_15_minutes_after_the_last_click() -> None:
    now = [0.0]
    kept: Kept[Known] = Kept(1000, clock=lambda: now[0])
    kept.put(b"a", Known(1))
    now[0] = KEPT_S - 1
    assert kept.find(b"a") is not None
    now[0] += KEPT_S - 1
    assert kept.find(b"a") is not None
    now[0] += KEPT_S
    assert kept.find(b"a") is None
    assert len(kept) == 0


def test_longest_unused_goes_where_there_is_no_room() -> None:
    kept: Kept[Known] = Kept(250)
    kept.put(b"a", Known(1))
    kept.put(b"b", Known(2))
    kept.find(b"a")
    kept.put(b"c", Known(3))
    assert [kept.find(one) is not None for one in (b"a", b"b", b"c")] == [
        True,
        False,
        True,
    ]


def found(*shapes: tuple[int, int, int, int]) -> Arrays:
    masks = np.zeros((len(shapes), 44, 68), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, shapes, strict=True):
        mask[top:bottom, left:right] = 1
    scores = [0.9, 0.8, 0.7][: len(shapes)]
    arrays: dict[str, Any] = {"masks": masks} if shapes else {}
    return Arrays(arrays=arrays, details={"scores": scores, "reused": False})


def test_mask_is_drawn_at_the_images_size_with_a_soft_edge() -> None:
    wanted = item_of(LEMUR, points=[[340, 220]])
    (picture,) = answering.pictures(wanted, found((20, 10, 50, 30)))
    assert picture.pixels.shape == SIZE
    assert (picture.pixels[200, 340], picture.pixels[20, 20]) == (255, 0)
    assert picture.details["scores"] == [0.9]
    assert picture.details["box"] == pytest.approx([200, 100, 500, 300], abs=15)
    soft = (picture.pixels > 0) & (picture.pixels < 255)
    assert soft.any()


def test_as_many_candidates_as_were_asked_for_and_found() -> None:
    three = found((20, 10, 50, 30), (10, 5, 60, 40), (30, 15, 40, 25))
    for asked_for, made in [(1, 1), (2, 2), (3, 3)]:
        wanted = item_of(LEMUR, points=[[340, 220]], candidates=asked_for)
        assert len(answering.pictures(wanted, three)) == made
    wanted = item_of(LEMUR, points=[[340, 220]], candidates=3)
    pictures = answering.pictures(wanted, three)
    assert [one.details["score"] for one in pictures] == [0.9, 0.8, 0.7]
    areas = [one.details["area_px"] for one in pictures]
    assert areas[1] > areas[0] > areas[2]
    assert len(answering.pictures(wanted, found((20, 10, 50, 30)))) == 1


def test_border_and_blur_are_those_of_the_classical_engine() -> None:
    def area(**wanted: Any) -> Any:
        made = found((20, 10, 50, 30))
        (picture,) = answering.pictures(
            item_of(LEMUR, points=[[340, 220]], **wanted), made
        )
        return picture.pixels

    plain_area = (area() > 127).sum()
    assert (area(border_adjustment=8) > 127).sum() > plain_area
    assert (area(border_adjustment=-8) > 127).sum() < plain_area
    assert half(area(blur=True)) > 1.2 * half(area())


def half(shown: Any) -> Any:
    """How many pixels are neither on the object nor beside it."""
    return ((shown > 8) & (shown < 247)).sum()


def test_where_the_network_found_nothing_the_classical_engine_answers() -> None:
    wanted = item_of(LEMUR, points=[[339, 275]], format="png")
    (picture,) = answering.pictures(wanted, found())
    assert picture.details["engine"] == "classical"
    assert picture.details["reason"] == "no_candidate"
    assert picture.pixels[275, 339] == 255
    (file,) = finishing.finish(wanted, (picture,), Silent())
    assert file.content_type == "image/png"


@pytest.mark.parametrize("engine", [FastSam, Sam2])
def test_engines_with_a_network_take_what_the_classical_takes_and_candidates(
    engine: Any,
) -> None:
    assert not refuses(engine, points=[[1, 1]], labels=[1], candidates=3, blur=True)
    assert refuses(engine, points=[[1, 1]], candidates=4)
    assert refuses(Classical, points=[[1, 1]], candidates=2)
    assert engine.spec.queue == "t4"


def test_fastsam_is_off_until_its_licence_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("NIJIKA_FASTSAM_LICENSE", raising=False)
    assert FastSam.available() == "license_not_acknowledged"
    monkeypatch.setenv("NIJIKA_FASTSAM_LICENSE", "yes")
    assert FastSam.available() == "license_not_acknowledged"
    monkeypatch.setenv("NIJIKA_FASTSAM_LICENSE", "AGPL-3.0")
    assert FastSam.available() in {"extra_missing", "weights_missing"}
    assert FastSam.spec.licence == "AGPL-3.0"


@pytest.mark.parametrize("side", ["1000", "0", "-32"])
def test_size_that_the_network_cannot_take_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    monkeypatch.setenv("NIJIKA_FASTSAM_LICENSE", "AGPL-3.0")
    monkeypatch.setenv("NIJIKA_FASTSAM_SIZE", side)
    with pytest.raises(SettingsError, match="multiple of 32"):
        FastSam.available()


def test_worker_announces_what_it_has_in_name_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("NIJIKA_FASTSAM_LICENSE", raising=False)
    registry._specs.cache_clear()
    specs = {one.engine: one.unavailable for one in registry.specs_of("t4")}
    registry._specs.cache_clear()
    assert specs["fastsam"] == "license_not_acknowledged"
    assert specs["sam2"] in {"extra_missing", "weights_missing"}


def test_wide_image_of_a_row_can_be_asked_about(tmp_path: Path) -> None:
    asked = read(save(tmp_path, plain(4, 3000)), points=[[1500, 2]])
    assert asked.rgb.shape[1] == 256
    assert asked.rgb.shape[0] >= 1
