"""smart-mask/fastsam on a tiny network: its real loading, passes and choices.

The tiny network's masks mean nothing, so the tests hold what is true of any: that ours
are those of ultralytics' own steps, that they keep to the prompt, and that an image is
passed once.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpu_worker import pixels
from gpu_worker.engines import devices
from gpu_worker.engines.base import Arrays
from gpu_worker.engines.fastsam import network
from gpu_worker.engines.fastsam.engine import FastSam
from gpu_worker.engines.fastsam.network import Scene
from gpu_worker.engines.smart_mask import asking
from gpu_worker.engines.smart_mask.asking import Asked
from gpu_worker.errors import EngineUnavailable, Stopped
from tests.engines.prompted import PERSON, TIGER, PromptedContract, decoded, ready
from tests.engines.tiny import fastsam as tiny
from tests.gpu_worker.engines.pictures import LEMUR, Silent
from tests.gpu_worker.engines.test_mask_network import Leaving

NO_BOXES = np.zeros((0, 4), np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny.build(folder / "fastsam" / "FastSAM-x.pt")
    return folder


@pytest.fixture(scope="module")
def engine(weights: Path) -> Any:
    chosen = {
        "NIJIKA_FASTSAM_LICENSE": "AGPL-3.0",
        "NIJIKA_FASTSAM_SIZE": str(tiny.SIDE_PX),
    }
    with ready(FastSam, weights, **chosen) as made:
        yield made


@pytest.fixture
def layers(engine: FastSam) -> Any:
    return engine._seeing._network._layers


@pytest.fixture
def passes(layers: Any) -> Any:
    """How many images each pass of the network had."""
    seen: list[int] = []
    watch = layers.register_forward_pre_hook(
        lambda _, inputs: seen.append(len(inputs[0]))
    )
    yield seen
    watch.remove()


@pytest.fixture(autouse=True)
def nothing_kept(engine: FastSam) -> None:
    engine._seeing._kept.forget()


item = partial(decoded, FastSam)


def test_masks_are_those_of_ultralytics_own_steps(layers: Any, engine: FastSam) -> None:
    from ultralytics.utils import ops
    from ultralytics.utils.nms import non_max_suppression

    side = tiny.SIDE_PX
    images = [item(one, auto=True).arrays["rgb"] for one in (LEMUR, PERSON)]
    with torch.inference_mode():
        batch, sizes = engine._seeing._network._batch(images)
        (outputs, prototypes), *_ = layers(batch)
        theirs = non_max_suppression(
            outputs, network.LEAST_SCORE, network.MOST_OVERLAP, nc=1
        )
        scenes = engine._seeing._network.look(images)
    for scene, rows, protos, size in zip(
        scenes, theirs, prototypes, sizes, strict=True
    ):
        masks = ops.process_mask(protos, rows[:, 6:], rows[:, :4], (side, side))
        height, width = (-(-one // 4) for one in size)
        assert len(scene.scores) == len(rows) > 10
        assert torch.allclose(scene.scores, rows[:, 4])
        other = scene.masks() != masks[:, :height, :width].bool()
        assert other.float().mean() < 0.002


def test_batch_of_any_sizes_and_prompts_is_one_pass(
    engine: FastSam, passes: list[int]
) -> None:
    batch = [
        item(LEMUR, "a", points=[[340, 220]]),
        item(TIGER, "b", box=[68, 196, 916, 573]),
        item(PERSON, "c", auto=True),
        item(PERSON, "d", points=[[233, 268], [10, 10]], labels=[1, 0]),
    ]
    together = engine.run(batch, Silent())
    assert passes == [3]
    for one, alone in zip(batch, together, strict=True):
        engine._seeing._kept.forget()
        (expected,) = engine.run([one], Silent())
        assert isinstance(alone, Arrays)
        assert isinstance(expected, Arrays)
        assert alone.details["scores"] == pytest.approx(
            expected.details["scores"], abs=2e-3
        )
        for mask, other in zip(
            alone.arrays["masks"], expected.arrays["masks"], strict=True
        ):
            assert (mask != other).mean() < 0.01


def test_second_click_needs_no_second_pass(engine: FastSam, passes: list[int]) -> None:
    engine.run([item(LEMUR, points=[[340, 220]])], Silent())
    (second,) = engine.run([item(LEMUR, points=[[100, 100]])], Silent())
    assert passes == [1]
    assert isinstance(second, Arrays)
    assert second.details["reused"] is True


def test_masks_hold_the_points_on_the_object_and_none_beside_it(
    engine: FastSam,
) -> None:
    """Whatever the network found: at the size that it is found in."""
    (scene,) = engine._seeing._network.look([item(LEMUR, auto=True).arrays["rgb"]])
    random = np.random.default_rng(5)
    answered = 0
    for _ in range(20):
        points = random.uniform(0.05, 0.95, (3, 3)).astype(np.float32)
        points[:, 2] = [1, 1, 0]
        asked = Asked(rgb=np.zeros((8, 8, 3), np.uint8), points=points, boxes=NO_BOXES)
        choices = network._choices(scene, scene.masks(), asked.objects()[0])
        for pick in choices:
            answered += 1
            masks = scene.masks()
            mask = masks[list(pick.add)].any(dim=0)
            if pick.without:
                mask &= ~masks[list(pick.without)].any(dim=0)
            rows, columns = mask.shape
            held = [bool(mask[int(y * rows), int(x * columns)]) for x, y, _ in points]
            assert held == [True, True, False]
    assert answered > 5


def test_job_that_nobody_waits_for_is_not_passed(
    engine: FastSam, passes: list[int]
) -> None:
    batch = [item(LEMUR, "a", auto=True), item(PERSON, "b", auto=True)]
    outcomes = engine.run(batch, Leaving("a"))
    assert passes == [1]
    assert isinstance(outcomes[0], Stopped)
    assert isinstance(outcomes[1], Arrays)


def test_scene_of_drawn_masks_answers_as_a_person_would(engine: FastSam) -> None:
    """Prototypes that are shapes, rather than what random weights make of a photo."""
    shapes = np.full((2, 64, 64), -1, np.float32)
    shapes[0, 16:48, 8:28] = 1  # on the left
    shapes[1, 20:60, 36:60] = 1  # on the right
    scene = Scene(
        prototypes=torch.from_numpy(shapes),
        coefficients=torch.eye(2),
        boxes=torch.tensor([[8.0, 16, 28, 48], [36, 20, 60, 60]]),
        scores=torch.tensor([0.9, 0.8]),
    )
    left, right = [0.3, 0.5], [0.75, 0.6]

    def answer(*points: list[float], boxes: Any = (), **how: Any) -> Any:
        asked = Asked(
            rgb=np.zeros((256, 256, 3), np.uint8),
            points=np.array(points, np.float32).reshape(-1, 3),
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            **how,
        )
        return engine._seeing._network.candidates(scene, asked)

    (one,) = answer([*left, 1])
    assert one.mask.shape == (128, 128)
    assert (one.mask[64, 36], one.mask[80, 100]) == (True, False)
    (both,) = answer([*left, 1], [*right, 1])
    assert (both.mask[64, 36], both.mask[80, 100]) == (True, True)
    assert both.score < one.score
    assert answer([0.02, 0.02, 1]) == []
    (boxed,) = answer(boxes=[[0.55, 0.3, 0.95, 0.95]])
    assert (boxed.mask[64, 36], boxed.mask[80, 100]) == (False, True)
    (all_,) = answer(boxes=[[0.55, 0.3, 0.95, 0.95], [0.1, 0.2, 0.45, 0.8]])
    assert (all_.mask[64, 36], all_.mask[80, 100]) == (True, True)
    painted = np.zeros((32, 32), np.uint8)
    painted[11:29, 18:30] = 1
    (guided,) = answer(guide=painted)
    assert (guided.mask[64, 36], guided.mask[80, 100]) == (False, True)


def test_blob_on_an_object_is_a_part_of_it_and_paint_over_one_is_the_whole(
    engine: FastSam,
) -> None:
    """Among an object, a part of it whose outline nobody sees, and what is beside."""
    shapes = np.full((3, 64, 64), -1, np.float32)
    shapes[0, 12:52, 8:36] = 1
    shapes[1, 24:40, 14:30] = 1
    shapes[2, 20:60, 44:60] = 1
    scene = Scene(
        prototypes=torch.from_numpy(shapes),
        coefficients=torch.eye(3),
        boxes=torch.tensor([[8.0, 12, 36, 52], [14, 24, 30, 40], [44, 20, 60, 60]]),
        scores=torch.tensor([0.8, 0.9, 0.7]),
    )
    rgb = np.full((256, 256, 3), 200, np.uint8)
    rgb[48:208, 32:144] = (150, 60, 40)
    rgb[80:240, 176:240] = (40, 60, 150)

    def answer(rows: slice, columns: slice) -> Any:
        guide = np.zeros((128, 128), np.uint8)
        guide[rows, columns] = 1
        inner = [[columns.start / 128 + 0.05, rows.start / 128 + 0.05, 1]]
        asked = Asked(
            rgb=rgb,
            points=np.zeros((0, 3), np.float32),
            boxes=NO_BOXES,
            guide=guide,
            inner=np.array(inner, np.float32),
        )
        return engine._seeing._network.candidates(scene, asked)

    blob = answer(slice(50, 78), slice(30, 58))
    assert (blob[0].mask[30, 20], blob[0].mask[64, 44]) == (True, True)
    assert (blob[1].mask[30, 20], blob[1].mask[64, 44]) == (False, True)
    # Too small a share of anything to be a whole.
    (speck,) = answer(slice(84, 94), slice(94, 104))
    assert (speck.mask[80, 100], speck.mask[64, 44]) == (True, False)
    whole = answer(slice(24, 104), slice(16, 72))
    assert (whole[0].mask[30, 20], whole[0].mask[64, 44]) == (True, True)


def test_half_precision_of_a_gpu_finds_the_same(
    engine: FastSam, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "dtype_for", lambda device: torch.float16)
    half = network.read(weights / "fastsam" / "FastSAM-x.pt", tiny.SIDE_PX)
    asked = asking.asked(item(LEMUR, points=[[340, 220]]).arrays)
    answers = []
    for one in (half, engine._seeing._network):
        (scene,) = one.look([asked.rgb])
        answers.append(one.candidates(scene, asked)[0])
    assert answers[0].score == pytest.approx(answers[1].score, abs=0.01)
    assert (answers[0].mask != answers[1].mask).mean() < 0.02


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    file, sign = tmp_path / "evil.pt", tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {sign}",)

    torch.save({"model": Evil(), "train_args": {}}, file)
    with pytest.raises(EngineUnavailable):
        network.read(file, tiny.SIDE_PX)
    file.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(EngineUnavailable):
        network.read(file, tiny.SIDE_PX)
    assert not sign.exists()


def test_without_the_acknowledgement_nothing_of_ultralytics_is_imported(
    weights: Path,
) -> None:
    code = """
import sys
from gpu_worker.engines.fastsam.engine import FastSam
from gpu_worker.errors import EngineUnavailable
assert FastSam.available() == "license_not_acknowledged"
try:
    FastSam().load()
except EngineUnavailable:
    print("ultralytics" in sys.modules)
"""
    environment = os.environ | {"NIJIKA_WEIGHTS": str(weights)}
    environment.pop("NIJIKA_FASTSAM_LICENSE", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_ultralytics_leaves_the_libraries_of_others_alone(engine: FastSam) -> None:
    from PIL import Image

    assert Image.open.__module__ == "PIL.Image"
    assert torch.save.__module__ == "torch.serialization"


def test_missing_weights_are_said(
    engine: FastSam, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    assert FastSam.available() == "weights_missing"


def test_unloaded_engine_can_be_loaded_again(engine: FastSam) -> None:
    other = FastSam()
    other.load()
    other.unload()
    other.load()
    (made,) = other.run([item(LEMUR, auto=True)], Silent())
    assert isinstance(made, Arrays)
    (picture,) = FastSam.encode(item(LEMUR, auto=True), made)
    assert pixels.encode(picture.pixels, "png").data


@pytest.mark.usefixtures("engine")
class TestContract(PromptedContract):
    engine = FastSam
