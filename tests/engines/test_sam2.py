"""smart-mask/sam2 on a tiny model: its real loading, passes and prompts.

Its masks mean nothing; that they are those of transformers' own processor and model,
prompt by prompt, is what these tests hold.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from gpu_worker.engines import devices
from gpu_worker.engines.base import Arrays
from gpu_worker.engines.sam2 import network, settings
from gpu_worker.engines.sam2.engine import Sam2
from gpu_worker.engines.smart_mask import asking
from gpu_worker.errors import EngineUnavailable, Stopped
from gpu_worker.settings import SettingsError
from tests.engines.prompted import PERSON, TIGER, PromptedContract, decoded, ready
from tests.engines.tiny import sam2 as tiny
from tests.gpu_worker.engines.pictures import LEMUR, Silent, save
from tests.gpu_worker.engines.test_mask_network import Leaving, drawn_mask


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny.build(folder / "sam2")
    return folder


@pytest.fixture(scope="module")
def engine(weights: Path) -> Any:
    with ready(Sam2, weights) as made:
        yield made


@pytest.fixture
def model(engine: Sam2) -> Any:
    return engine._seeing._network._model


@pytest.fixture
def passes(model: Any) -> Any:
    """How many images each pass of the encoder had."""
    seen: list[int] = []
    watch = model.vision_encoder.register_forward_pre_hook(
        lambda _, inputs, named: seen.append(len((*inputs, *named.values())[0])),
        with_kwargs=True,
    )
    yield seen
    watch.remove()


@pytest.fixture(autouse=True)
def nothing_kept(engine: Sam2) -> None:
    engine._seeing._kept.forget()


item = partial(decoded, Sam2)


def test_what_the_model_is_shown_is_what_its_own_processor_makes(
    engine: Sam2,
) -> None:
    from transformers import Sam2ImageProcessor

    rgb = item(LEMUR, auto=True).arrays["rgb"]
    processor = Sam2ImageProcessor(size={"height": 256, "width": 256})
    theirs = processor(images=rgb, return_tensors="pt")["pixel_values"]
    ours = engine._seeing._network._batch([rgb])
    # It rounds to whole grey values between its steps.
    assert (ours - theirs).abs().max() < 0.02


PROMPTS = [
    {"points": [[340, 220]]},
    {"points": [[340, 220], [50, 60]], "labels": [1, 0]},
    {"box": [156, 63, 530, 440]},
    {"box": [156, 63, 530, 440], "points": [[340, 220]]},
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_masks_are_those_of_the_model_for_that_prompt(
    engine: Sam2, model: Any, prompt: dict[str, Any]
) -> None:
    one = item(LEMUR, **prompt)
    (made,) = engine.run([one], Silent())
    assert isinstance(made, Arrays)
    scale = np.array([256 / 680, 256 / 440])
    given: dict[str, Any] = {}
    if "points" in prompt:
        places = torch.tensor(np.array(prompt["points"]) * scale, dtype=torch.float32)
        given["input_points"] = places[None, None]
        labels = prompt.get("labels", [1] * len(places))
        given["input_labels"] = torch.tensor(labels)[None, None]
    if "box" in prompt:
        corners = np.array(prompt["box"]) * np.tile(scale, 2)
        given["input_boxes"] = torch.tensor(corners, dtype=torch.float32)[None, None]
    pixels = engine._seeing._network._batch([one.arrays["rgb"]])
    several = prompt == PROMPTS[0]
    with torch.inference_mode():
        theirs = model(pixel_values=pixels, multimask_output=several, **given)
    masks = torch.nn.functional.interpolate(
        theirs.pred_masks[0], made.arrays["masks"].shape[1:], mode="bilinear"
    )
    masks = (masks[0] > 0).numpy()
    wrong = [(made.arrays["masks"] != mask).mean(axis=(1, 2)).min() for mask in masks]
    assert max(wrong) < 0.002
    score = float(theirs.iou_scores[0, 0, 0])
    assert min(abs(one - score) for one in made.details["scores"]) < 2e-3


def test_batch_of_any_sizes_and_prompts_is_one_pass(
    engine: Sam2, passes: list[int]
) -> None:
    batch = [
        item(LEMUR, "a", points=[[340, 220]]),
        item(TIGER, "b", box=[68, 196, 916, 573]),
        item(PERSON, "c", auto=True),
        item(PERSON, "d", points=[[233, 268], [10, 10]], labels=[1, 0]),
        item(LEMUR, "e", boxes=[[10, 10, 200, 200], [300, 200, 600, 400]]),
    ]
    together = engine.run(batch, Silent())
    assert passes == [3]
    for one, made in zip(batch, together, strict=True):
        engine._seeing._kept.forget()
        (alone,) = engine.run([one], Silent())
        assert isinstance(alone, Arrays)
        assert isinstance(made, Arrays)
        assert len(made.arrays["masks"]) == len(alone.arrays["masks"])
        wrong = made.arrays["masks"] != alone.arrays["masks"]
        assert wrong.mean() < 0.01


def test_second_click_runs_the_decoder_alone(engine: Sam2, passes: list[int]) -> None:
    first, second = (
        engine.run([item(LEMUR, points=[[x, 220]])], Silent())[0] for x in (340, 60)
    )
    assert passes == [1]
    assert isinstance(first, Arrays)
    assert isinstance(second, Arrays)
    assert second.details["reused"] is True
    assert (first.arrays["masks"][0] != second.arrays["masks"][0]).any()


def test_painted_mask_guides(engine: Sam2, tmp_path: Path) -> None:
    masks = []
    for place in (150, 500):

        def painted(shown: Any, at: int = place) -> None:
            cv2.circle(shown, (at, 200), 100, 255, -1)

        path = drawn_mask(tmp_path, painted)
        (made,) = engine.run([item(LEMUR, mask=path)], Silent())
        assert isinstance(made, Arrays)
        masks.append(made.arrays["masks"][0])
    assert (masks[0] != masks[1]).mean() > 0.01


def test_blob_on_an_object_is_asked_again_by_points_within_it(
    engine: Sam2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that keeps to what is painted over, and finds what is pointed at."""
    shown = np.full((440, 680, 3), 200, np.uint8)
    cv2.ellipse(shown, (340, 220), (200, 150), 0, 0, 360, (150, 60, 40), -1)
    truth = torch.from_numpy((shown[..., 0] == 150).astype(np.float32))
    prompts: list[dict[str, Any]] = []

    def decoded_by(seen: Any, prompt: dict[str, Any], *, several: bool) -> Any:
        prompts.append(prompt)
        if "input_masks" in prompt:
            logits = prompt["input_masks"][0]
        else:
            logits = (truth[None, ::4, ::4] * 2 - 1) * 10
        return network.Drawn(logits=logits.float(), scores=torch.tensor([0.9]))

    monkeypatch.setattr(engine._seeing._network, "_decoded", decoded_by)
    picture = save(tmp_path, shown)
    for radius in (60, 40, 0):
        prompts.clear()

        def painted(mask: Any, radius: int = radius) -> None:
            if radius:
                cv2.circle(mask, (300, 200), radius, 255, -1)
            else:
                cv2.ellipse(mask, (340, 220), (200, 150), 0, 0, 360, 255, -1)

        one = item(picture, mask=drawn_mask(tmp_path, painted))
        (made,) = engine.run([one], Silent())
        assert isinstance(made, Arrays)
        found = cv2.resize(made.arrays["masks"][0].astype(np.uint8), (680, 440)) > 0
        share = (found & (truth.numpy() > 0)).sum() / (truth.numpy() > 0).sum()
        assert share > 0.95
        asked_again = [one for one in prompts if "input_masks" not in one]
        assert bool(asked_again) is (radius > 0)
        for again in asked_again:
            assert "input_boxes" not in again
            places = again["input_points"][0, 0].numpy() * [680 / 256, 440 / 256]
            assert 1 <= len(places) <= asking.MOST_INNER_POINTS
            assert (np.linalg.norm(places - [300, 200], axis=1) < radius).all()


def test_several_candidates_are_different_and_of_the_images_proportions(
    engine: Sam2,
) -> None:
    (made,) = engine.run([item(LEMUR, points=[[340, 220]])], Silent())
    assert isinstance(made, Arrays)
    masks = made.arrays["masks"].astype(bool)
    assert masks.shape[1:] == (331, 512)
    for number, mask in enumerate(masks):
        for other in masks[:number]:
            assert network._overlap(mask, other) < network.SAME
    assert len(made.details["scores"]) == len(masks)


def test_mask_that_misses_a_point_comes_after_those_that_do_not(engine: Sam2) -> None:
    masks = torch.zeros(3, 10, 10, dtype=torch.bool)
    masks[0, :, :5], masks[1, :, 5:], masks[2] = True, True, True
    points = np.array([[0.2, 0.5, 1], [0.8, 0.5, 0]], np.float32)
    assert network._missed(masks, points).tolist() == [0, 2, 1]


def test_job_that_nobody_waits_for_is_not_passed(
    engine: Sam2, passes: list[int]
) -> None:
    batch = [item(LEMUR, "a", auto=True), item(PERSON, "b", auto=True)]
    outcomes = engine.run(batch, Leaving("a"))
    assert passes == [1]
    assert isinstance(outcomes[0], Stopped)
    assert isinstance(outcomes[1], Arrays)


def test_hub_id_needs_a_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJIKA_SAM2_MODEL", "facebook/sam2.1-hiera-small")
    for revision in ("", "main", "abc"):
        monkeypatch.setenv("NIJIKA_SAM2_REVISION", revision)
        with pytest.raises(SettingsError, match="40 digits"):
            settings.weights()
    monkeypatch.setenv("NIJIKA_SAM2_REVISION", "0123456789" * 4)
    assert settings.weights().revision == "0123456789" * 4
    assert Sam2.available() == ""


def test_missing_or_damaged_weights_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path
) -> None:
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    assert Sam2.available() == "weights_missing"
    folder = tmp_path / "sam2"
    folder.mkdir()
    config = (weights / "sam2" / "config.json").read_bytes()
    (folder / "config.json").write_bytes(config)
    with pytest.raises(EngineUnavailable):
        Sam2().load()


@pytest.mark.parametrize("wanted", [{"points": [[340, 220]]}, {"auto": True}])
def test_half_precision_of_a_gpu_finds_the_same(
    engine: Sam2, weights: Path, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]
) -> None:
    monkeypatch.setattr(devices, "dtype_for", lambda device: torch.float16)
    half = network.read(settings.Weights(name=str(weights / "sam2")))
    assert half._dtype == torch.float16
    asked = asking.asked(item(LEMUR, **wanted).arrays)
    answers = []
    for one in (half, engine._seeing._network):
        (seen,) = one.look([asked.rgb])
        answers.append(one.candidates(seen, asked))
    wrong = [
        min((ours.mask != theirs.mask).mean() for theirs in answers[1])
        for ours in answers[0]
    ]
    assert min(wrong) < 0.02


def test_weights_that_overflow_in_half_precision_run_in_single(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = network.read(settings.Weights(name=str(weights / "sam2")))
    made._dtype = torch.float16
    made._model = made._model.half()
    made._model.no_memory_embedding.data.fill_(float("inf"))
    made._hold_finite()
    assert made._dtype == torch.float32


def test_image_is_read_at_the_size_that_the_model_takes() -> None:
    arrays = asking.arrays(item(TIGER, auto=True), Sam2.side_px())
    assert max(arrays["rgb"].shape) <= 1024


@pytest.mark.usefixtures("engine")
class TestContract(PromptedContract):
    engine = Sam2
