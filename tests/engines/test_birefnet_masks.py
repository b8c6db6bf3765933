"""smart-mask/birefnet: what is pointed at, by a network that only knows subjects.

The tiny network's masks mean nothing. So that a prompt can be held against what comes
of it, most tests here have a network in its place that finds what is red, unless it is
too small beside what it is shown: as one that was trained to find subjects does.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from gpu_worker import pixels
from gpu_worker.engines.base import Arrays, Input, Item, Picture
from gpu_worker.engines.birefnet import masking, pointing, running, settings
from gpu_worker.engines.birefnet.engine import Removebg
from gpu_worker.engines.birefnet.mask_engine import SmartMask
from gpu_worker.engines.smart_mask.asking import Object
from gpu_worker.errors import Stopped
from gpu_worker.testing import Case, EngineContract, picture
from tests.engines.tiny import birefnet as tiny
from tests.gpu_worker.engines.pictures import Silent
from tests.gpu_worker.engines.test_mask_network import Leaving

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, SMALL = (60, 60, 140, 220), (240, 80, 340, 240), (370, 20, 386, 36)
"""Three red things: two that are seen at once, and one that is too small for that."""
LEAST_PX = 7


def inside(box: tuple[int, int, int, int]) -> list[int]:
    return [(box[0] + box[2]) // 2, (box[1] + box[3]) // 2]


class Red:
    """Finds what is red; `passes` are the pictures of each pass."""

    def __init__(self) -> None:
        self.passes: list[int] = []

    def __call__(self, shown: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(shown))
        red = (shown[:, :1] - shown[:, 1:2] - 2) * 8
        smaller = -functional.max_pool2d(-red, LEAST_PX, 1, LEAST_PX // 2)
        return functional.max_pool2d(smaller, LEAST_PX, 1, LEAST_PX // 2)


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("weights")
    tiny.build(folder / "birefnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIJIKA_WEIGHTS", str(folder))
        patch.setenv("NIJIKA_BIREFNET_SIZE", "128x128")
        yield


@pytest.fixture
def engine() -> SmartMask:
    made = SmartMask()
    made.load()
    made.warm_up()
    loaded = running.Loaded(
        replace(made._masking.loaded.matting, network=Red()),
    )
    made._masking = masking.Masking(loaded, settings.sizing())
    return made


def passes(engine: SmartMask) -> list[int]:
    network: Any = engine._masking.loaded.matting.network
    seen: list[int] = network.passes
    return seen


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shown = np.full((HEIGHT, WIDTH, 3), (90, 110, 100), np.uint8)
    for left, top, right, bottom in (LEFT, RIGHT, SMALL):
        shown[top:bottom, left:right] = (220, 30, 40)
    path = tmp_path_factory.mktemp("photo") / "red.png"
    path.write_bytes(pixels.encode(shown, "png").data)
    return path


def item(
    photo: Path, name: str = "job", guide: Path | None = None, **wanted: Any
) -> Item:
    inputs = [Input(role="image", path=photo)]
    inputs += [Input(role="mask", path=guide)] if guide else []
    asked = Item(job_id=name, parameters=wanted, inputs=tuple(inputs))
    return replace(asked, arrays=SmartMask.decode(asked))


def mask_of(engine: SmartMask, one: Item) -> Picture:
    (made,) = engine.run([one], Silent())
    assert isinstance(made, Arrays)
    (shown,) = SmartMask.encode(one, made)
    assert shown.pixels.shape == (HEIGHT, WIDTH)
    return shown


def held(shown: Picture) -> list[bool]:
    """Which of the three things the mask holds."""
    middles = [inside(box) for box in (LEFT, RIGHT, SMALL)]
    return [bool(shown.pixels[y, x] > 127) for x, y in middles]


@pytest.mark.parametrize(
    ("prompt", "things"),
    [
        ({"auto": True}, [True, True, False]),
        ({"points": [inside(LEFT)]}, [True, False, False]),
        ({"points": [inside(RIGHT)]}, [False, True, False]),
        ({"points": [inside(LEFT), inside(RIGHT)]}, [True, True, False]),
        (
            {"points": [inside(LEFT), inside(RIGHT)], "labels": [1, 0]},
            [True, False, False],
        ),
        ({"box": [230, 70, 350, 250]}, [False, True, False]),
        ({"box": [364, 12, 392, 44]}, [False, False, True]),
        ({"points": [inside(SMALL)]}, [False, False, True]),
        (
            {"boxes": [[50, 50, 150, 230], [364, 12, 392, 44]]},
            [True, False, True],
        ),
    ],
)
def test_mask_is_what_was_pointed_at(
    engine: SmartMask, photo: Path, prompt: dict[str, Any], things: list[bool]
) -> None:
    shown = mask_of(engine, item(photo, **prompt))
    assert held(shown) == things
    assert "engine" not in shown.details
    assert 0.5 < shown.details["score"] <= 1


def test_box_cuts_away_what_lies_outside(engine: SmartMask, photo: Path) -> None:
    shown = mask_of(engine, item(photo, box=[50, 50, 110, 230]))
    assert shown.pixels[140, 100] > 127
    assert shown.pixels[140, 125] < 9


def test_painted_mask_and_strokes_say_which(
    engine: SmartMask, photo: Path, tmp_path: Path
) -> None:
    for number, width in enumerate((70, 3)):
        drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.line(drawn, (290, 110), (290, 210), 255, width)
        guide = tmp_path / f"{number}.png"
        guide.write_bytes(pixels.encode(drawn, "png").data)
        shown = mask_of(engine, item(photo, guide=guide))
        assert held(shown) == [False, True, False]
        assert "engine" not in shown.details


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [[200, 20]]},
        {"points": [inside(LEFT), [75, 75]], "labels": [1, 0]},
        {"box": [150, 100, 230, 200]},
    ],
)
def test_what_the_network_cannot_tell_the_classical_engine_answers_and_says_so(
    engine: SmartMask, photo: Path, prompt: dict[str, Any]
) -> None:
    details = mask_of(engine, item(photo, **prompt)).details
    assert (details["engine"], details["reason"]) == ("classical", "no_candidate")


def test_edges_are_the_networks_own_and_can_be_moved(
    engine: SmartMask, photo: Path
) -> None:
    plain, wide, soft = (
        mask_of(engine, item(photo, points=[inside(LEFT)], **more)).pixels
        for more in ({}, {"border_adjustment": 9}, {"blur": True})
    )
    assert plain[140, 142] < 127 < wide[140, 145]
    assert ((soft > 8) & (soft < 247)).sum() > ((plain > 8) & (plain < 247)).sum()


def test_batch_of_any_prompts_looks_together_and_only_where_nobody_has(
    engine: SmartMask, photo: Path
) -> None:
    batch = [
        item(photo, "a", points=[inside(LEFT)]),
        item(photo, "b", auto=True),
        item(photo, "c", box=[230, 70, 350, 250]),
        item(photo, "d", points=[inside(SMALL)]),
    ]
    engine.run(batch, Silent())
    # The whole and the box; then nearer, for the small one alone.
    assert passes(engine)[:2] == [2, 1]
    assert set(passes(engine)[1:]) == {1}
    before = len(passes(engine))
    (again,) = engine.run([item(photo, points=[inside(RIGHT)])], Silent())
    assert isinstance(again, Arrays)
    assert again.details["reused"] is True
    assert len(passes(engine)) == before


def test_many_boxes_take_as_many_passes_as_there_is_memory_for(
    engine: SmartMask, photo: Path
) -> None:
    boxes = [[20 * n, 40, 20 * n + 90, 240] for n in range(12)]
    engine.run([item(photo, boxes=boxes)], Silent())
    assert passes(engine)[:2] == [8, 4]
    network: Any = engine._masking.loaded.matting.network

    class Short(Red):
        def __call__(self, shown: torch.Tensor) -> torch.Tensor:
            if len(shown) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(shown)

    small = running.Loaded(replace(engine._masking.loaded.matting, network=Short()))
    engine._masking = masking.Masking(small, settings.sizing())
    engine.run([item(photo, boxes=boxes[:6])], Silent())
    assert set(passes(engine)) <= {1, 2}
    assert network is not small.matting.network


def test_job_that_nobody_waits_for_is_not_looked_for(
    engine: SmartMask, photo: Path
) -> None:
    batch = [item(photo, "a", auto=True), item(photo, "b", points=[inside(LEFT)])]
    outcomes = engine.run(batch, Leaving("a"))
    assert isinstance(outcomes[0], Stopped)
    assert isinstance(outcomes[1], Arrays)
    assert passes(engine) == [1]


def test_window_that_cuts_the_object_off_is_no_answer() -> None:
    """The rest of it was not seen."""
    size = (WIDTH, HEIGHT)
    wanted = Object(points=np.array([[0.5, 0.5, 1]], np.float32))
    looks = pointing.places(wanted, size)
    assert looks[0] == (0, 0, WIDTH, HEIGHT)
    left, top, right, bottom = looks[1]
    everything = np.full((bottom - top, right - left), 255, np.uint8)
    assert pointing.found(everything, looks[1], wanted, size) is None
    within = everything.copy()
    within[:5], within[-5:], within[:, :5], within[:, -5:] = 0, 0, 0, 0
    assert pointing.found(within, looks[1], wanted, size) is not None


def test_engines_of_a_process_share_the_network() -> None:
    cutting, masks = Removebg(), SmartMask()
    for one in (cutting, masks):
        one.load()
        one.warm_up()
    assert cutting._loaded is masks._masking.loaded
    held = list(running._loaded.values())
    assert len(held) == 1
    del held
    cutting.unload()
    assert masks._masking.loaded.matting.network is not None
    masks.unload()
    gc.collect()
    assert len(running._loaded) == 0


def test_alternatives_are_refused_there_is_one_subject() -> None:
    assert "candidates" not in SmartMask.spec.parameters["properties"]
    assert SmartMask.spec.parameters["additionalProperties"] is False
    assert SmartMask.spec.results == 1


class TestContract(EngineContract):
    engine = SmartMask
    cases = (
        Case(images=(picture(1),), parameters={"auto": True}),
        Case(images=(picture(2, 90, 60),), parameters={"box": [10, 10, 80, 50]}),
        Case(images=(picture(3, 50, 70),), parameters={"points": [[25, 35]]}),
    )
    sizes = ((64, 48), (90, 60), (50, 70))
    tolerance = 2  # sums of floats in another order
