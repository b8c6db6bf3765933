"""The Qwen engines on tiny pipelines, in this process: seeds, passes, adapters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.base import Arrays, Input, Item
from gpu_worker.engines.qwen import pipeline as pipelines
from gpu_worker.engines.qwen.edit import Edit
from gpu_worker.engines.qwen.generate import Generate
from gpu_worker.errors import EngineFailed, EngineUnavailable, InvalidParameters
from gpu_worker.pixels import Pixels
from tests.engines.tiny import qwen


class Hooks:
    """Keeps what is told, and cancels a job at a step if asked to."""

    def __init__(self, cancel_at: dict[str, int] | None = None) -> None:
        self.told: list[tuple[str, int, int]] = []
        self._cancel_at = cancel_at or {}

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        self.told.append((item.job_id, step, total))

    def cancelled(self, item: Item) -> bool:
        at = self._cancel_at.get(item.job_id)
        return at is not None and len(self.steps(item.job_id)) >= at

    def checkpoint(self, item: Item, text: str) -> None: ...

    def steps(self, job_id: str) -> list[int]:
        return [step for job, step, _ in self.told if job == job_id]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    qwen.generating(folder / "qwen-image")
    qwen.editing(folder / "qwen-image-edit")
    qwen.lora(folder / "qwen-image-lora/lightning-4.safetensors", seed=1)
    sets = ["removal", "white-balance", "lightning-2", "insertion"]
    for seed, name in enumerate(sets, start=2):
        qwen.lora(folder / f"qwen-image-edit-lora/{name}.safetensors", seed=seed)
    return folder


@pytest.fixture(autouse=True)
def told(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in qwen.SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(weights))


@pytest.fixture(scope="module")
def loaded() -> dict[type, Any]:
    return {}


@pytest.fixture
def generator(loaded: dict[type, Any]) -> Generate:
    return _loaded(loaded, Generate)


@pytest.fixture
def editor(loaded: dict[type, Any]) -> Edit:
    return _loaded(loaded, Edit)


def _loaded(loaded: dict[type, Any], kind: type) -> Any:
    if kind not in loaded:
        loaded[kind] = kind()
        loaded[kind].load()
    return loaded[kind]


@pytest.fixture
def passes(generator: Generate, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each pass of the pipeline painted."""
    counts: list[int] = []
    painter: Any = generator._painter
    called = painter._call

    def counted(**told: Any) -> Any:
        counts.append(len(told["prompt"]))
        return called(**told)

    monkeypatch.setattr(painter, "_call", counted)
    return counts


def item(job_id: str = "job", **wanted: Any) -> Item:
    given = {"prompt": "a cat", "width": 256, "height": 256, "steps": 2, "seed": 1}
    kept = {name: value for name, value in (given | wanted).items() if value != ""}
    return Item(job_id=job_id, operation="generate", parameters=kept)


def square(colour: tuple[int, int, int]) -> Pixels:
    return np.full((64, 64, 3), colour, np.uint8)


def edit_of(*shown: Pixels, **wanted: Any) -> Item:
    arrays: dict[str, Any] = {f"condition-{n}": one for n, one in enumerate(shown)}
    arrays["canvas"] = np.array([64, 64, 0, 0, 64, 64, 64, 64])
    parameters = {"prompt": "x", "steps": 2, "seed": 1} | wanted
    return Item(job_id="job", operation="edit", parameters=parameters, arrays=arrays)


def made(engine: Any, *items: Item, hooks: Hooks | None = None) -> list[Arrays]:
    outcomes = engine.run(list(items), hooks or Hooks())
    assert all(isinstance(one, Arrays) for one in outcomes), outcomes
    return list(outcomes)


def pictures(engine: Any, *items: Item) -> list[Pixels]:
    return [one.arrays["pictures"] for one in made(engine, *items)]


def differ(one: Pixels, other: Pixels) -> bool:
    return bool(np.abs(one.astype(int) - other.astype(int)).max() > 3)


# Seeds


def test_same_seed_gives_the_same_picture_and_another_another(
    generator: Generate,
) -> None:
    first, again = pictures(generator, item()), pictures(generator, item())
    assert (first[0] == again[0]).all()
    assert differ(first[0], pictures(generator, item(seed=2))[0])


def test_pictures_of_one_request_are_those_of_the_following_seeds(
    generator: Generate,
) -> None:
    [several] = made(generator, item(n=3, seed=5))
    assert several.details["seeds"] == [5, 6, 7]
    [alone] = pictures(generator, item(seed=6))
    assert not differ(several.arrays["pictures"][1], alone[0])


def test_seed_that_was_chosen_is_told_and_gives_the_same_picture(
    generator: Generate,
) -> None:
    [chosen] = made(generator, item(seed=""))
    [seed] = chosen.details["seeds"]
    [again] = pictures(generator, item(seed=seed))
    assert (chosen.arrays["pictures"] == again).all()


# Passes


def test_small_pictures_share_one_pass_and_are_what_they_are_alone(
    generator: Generate, passes: list[int]
) -> None:
    first, second = item("a", prompt="a cat"), item("b", prompt="a long dog", seed=9)
    together = pictures(generator, first, second)
    assert passes == [2]
    alone = [pictures(generator, one)[0] for one in (first, second)]
    assert not differ(together[0], alone[0])
    assert not differ(together[1], alone[1])


def test_large_pictures_are_painted_one_by_one(
    generator: Generate, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_worker.engines.qwen.sizes.BATCHED_PIXELS", 0)
    hooks = Hooks()
    made(generator, item(n=2), hooks=hooks)
    assert passes == [1, 1]
    assert hooks.told == [("job", step, 4) for step in range(5)]


def test_every_step_is_told(generator: Generate) -> None:
    hooks = Hooks()
    made(generator, item(steps=6), hooks=hooks)
    assert hooks.told == [("job", step, 6) for step in range(7)]


def test_pass_ends_within_a_step_once_nobody_waits(generator: Generate) -> None:
    hooks = Hooks({"job": 4})
    [outcome] = generator.run([item(steps=50)], hooks)
    assert getattr(outcome, "code", "") == "stopped"
    assert hooks.steps("job") == [0, 1, 2, 3]


def test_one_who_leaves_a_pass_does_not_end_it_for_the_others(
    generator: Generate,
) -> None:
    hooks = Hooks({"a": 2})
    stays = item("b", seed=3, steps=5)
    outcomes = generator.run([item("a", steps=5), stays], hooks)
    assert isinstance(outcomes[1], Arrays)
    assert not differ(outcomes[1].arrays["pictures"], pictures(generator, stays)[0])


def test_engine_works_on_after_a_pass_that_was_ended(generator: Generate) -> None:
    before = pictures(generator, item())
    generator.run([item(steps=20, tier="fast")], Hooks({"job": 2}))
    assert (pictures(generator, item())[0] == before[0]).all()


# What is asked for reaches the model


def test_negative_prompt_and_scale_change_the_picture(generator: Generate) -> None:
    plain = pictures(generator, item())[0]
    assert differ(plain, pictures(generator, item(negative_prompt="rain"))[0])
    assert differ(plain, pictures(generator, item(true_cfg_scale=9.0))[0])
    assert differ(plain, pictures(generator, item(true_cfg_scale=1.0))[0])
    older, newer = item(guidance_scale=9.0), item(true_cfg_scale=9.0)
    assert (pictures(generator, older)[0] == pictures(generator, newer)[0]).all()


def test_guidance_costs_a_second_pass_and_is_left_out_at_one(
    generator: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformer: Any = generator._painter._pipeline.transformer
    count: list[int] = []
    handle = transformer.register_forward_hook(lambda *_: count.append(1))
    made(generator, item(steps=3))
    made(generator, item(steps=3, true_cfg_scale=1.0))
    handle.remove()
    assert len(count) == 6 + 3


@pytest.mark.parametrize("prompt", ["x" * 3000, "<|image_pad|>", "a <|im_end|> b"])
def test_prompt_that_would_not_be_read_as_it_is_is_refused_alone(
    generator: Generate, prompt: str
) -> None:
    bad, good = generator.run([item("a", prompt=prompt), item("b")], Hooks())
    assert isinstance(bad, InvalidParameters)
    assert isinstance(good, Arrays)


def test_negative_prompt_is_held_to_the_same(generator: Generate) -> None:
    [outcome] = generator.run([item(negative_prompt="x" * 3000)], Hooks())
    assert isinstance(outcome, InvalidParameters)
    assert "1024" in str(outcome)


def test_picture_of_no_numbers_is_a_failure_not_a_black_picture(
    generator: Generate,
) -> None:
    with pytest.raises(EngineFailed), np.errstate(all="ignore"):
        generator.run([item(steps=1)], Hooks())


# Adapters


def test_fast_tier_has_its_own_steps_adapter_and_schedule(generator: Generate) -> None:
    pipeline: Any = generator._painter._pipeline
    [fast] = made(generator, item(tier="fast", steps=""))
    assert fast.details["steps"] == 4
    assert fast.details["adapters"] == ["lightning-4"]
    assert pipeline.scheduler.config.shift_terminal is None
    made(generator, item())
    assert pipeline.scheduler.config.shift_terminal == 0.02


def test_job_after_one_with_adapters_has_none_of_them(generator: Generate) -> None:
    before = pictures(generator, item())[0]
    fast = pictures(generator, item(tier="fast", steps=""))[0]
    assert differ(before, fast)
    assert (pictures(generator, item())[0] == before).all()
    assert (pictures(generator, item(tier="fast", steps=""))[0] == fast).all()


def test_task_has_its_set_and_the_fast_tier_both(editor: Edit) -> None:
    image = square((200, 30, 30))
    [removal] = made(editor, edit_of(image, task="removal"))
    assert removal.details["adapters"] == ["removal"]
    both = edit_of(image, task="removal", tier="fast")
    assert made(editor, both)[0].details["adapters"] == ["removal", "lightning-2"]
    balance = pictures(editor, edit_of(image, task="white-balance"))[0]
    assert differ(removal.arrays["pictures"], balance)
    again = pictures(editor, edit_of(image, task="removal"))[0]
    assert (removal.arrays["pictures"] == again).all()


@pytest.mark.parametrize("wrong", ["white_balance_0", ""])
def test_set_that_did_not_become_active_fails_the_job(
    editor: Edit, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    pipeline: Any = editor._painter._pipeline
    activate = pipeline.set_adapters
    if wrong:  # the set of another task
        monkeypatch.setattr(pipeline, "set_adapters", lambda names: activate([wrong]))
    else:  # none at all
        monkeypatch.setattr(
            pipeline, "set_adapters", lambda names: pipeline.disable_lora()
        )
    with pytest.raises(EngineFailed, match="not active"):
        editor.run([edit_of(square((9, 9, 9)), task="removal")], Hooks())


def test_adapter_that_stays_active_fails_the_job_that_wants_none(
    editor: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline: Any = editor._painter._pipeline
    made(editor, edit_of(square((9, 9, 9)), task="removal"))
    monkeypatch.setattr(pipeline, "disable_lora", lambda: None)
    with pytest.raises(EngineFailed, match="not active"):
        editor.run([edit_of(square((9, 9, 9)))], Hooks())


def test_file_that_is_no_adapter_of_this_model_stops_the_loading(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "weights"
    (folder / "qwen-image-lora").mkdir(parents=True)
    (folder / "qwen-image").symlink_to(weights / "qwen-image")
    names = ["lora_A", "lora_B"]
    tensors = {f"transformer.other.{n}.weight": torch.ones(2, 2) for n in names}
    save_file(tensors, folder / "qwen-image-lora/other.safetensors")
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(folder))
    with pytest.raises(EngineUnavailable, match=r"other\.safetensors"):
        Generate().load()


def test_model_that_knows_guidance_of_another_kind_only_is_not_served(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(weights / "qwen-image", tmp_path / "qwen-image")
    config = tmp_path / "qwen-image/transformer/config.json"
    told = json.loads(config.read_text()) | {"guidance_embeds": True}
    config.write_text(json.dumps(told))
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="guidance"):
        Generate().load()


# Editing


def test_order_of_the_references_matters_and_all_are_seen(editor: Edit) -> None:
    red, blue, green = square((220, 20, 20)), square((20, 20, 220)), square((9, 220, 9))
    one = pictures(editor, edit_of(red, blue))[0]
    assert (one != pictures(editor, edit_of(blue, red))[0]).any()
    assert differ(one, pictures(editor, edit_of(red, blue, green))[0])


def test_pipeline_is_shown_the_pictures_in_their_order(
    editor: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    painter: Any = editor._painter
    called = painter._call

    def watched(**told: Any) -> Any:
        seen.extend(picture.getpixel((0, 0)) for picture in told["image"])
        return called(**told)

    monkeypatch.setattr(painter, "_call", watched)
    colours = [(number, 0, 0) for number in range(11)]  # "10" is not before "2"
    made(editor, edit_of(*(square(one) for one in colours)))
    assert seen == colours


def test_edit_gives_what_its_encoding_needs(editor: Edit) -> None:
    one = edit_of(square((220, 20, 20)), n=2, seed=4)
    [arrays] = made(editor, one)
    first, second = Edit.encode(one, arrays)
    assert first.pixels.shape == (64, 64, 3)
    assert [first.details["seed"], second.details["seed"]] == [4, 5]
    assert first.details["painted_px"] == [64, 64]


def test_object_is_inserted_by_two_masks_and_the_rest_stays_as_it_was(
    editor: Edit, tmp_path: Path
) -> None:
    image, thing = square((200, 30, 30)), square((30, 30, 200))
    place, outline = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    place[16:40, 16:40] = outline[10:50, 10:50] = 255
    shown = {
        "image": image,
        "mask": place,
        "reference": thing,
        "reference_mask": outline,
    }
    inputs = []
    for role, one in shown.items():
        path = tmp_path / f"{role}.png"
        path.write_bytes(pixels.encode(one, "png").data)
        inputs.append(Input(role=role, path=path))
    wanted = {"task": "insertion", "steps": 2, "seed": 1, "input_quality": "original"}
    asked = Item(
        job_id="job", operation="edit", parameters=wanted, inputs=tuple(inputs)
    )
    [arrays] = made(editor, replace(asked, arrays=Edit.decode(asked)))
    [picture] = Edit.encode(asked, arrays)
    assert picture.details["adapters"] == ["insertion"]
    assert (picture.pixels[:4] == image[:4]).all()
    assert (picture.pixels[:, 58:] == image[:, 58:]).all()
    assert differ(picture.pixels[20:36, 20:36], image[20:36, 20:36])


# Recipes


Recipe = Callable[..., Generate]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recipe]:
    """A generator of its own, loaded by these settings."""
    loaded: list[Generate] = []

    def load(**chosen: str) -> Generate:
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        engine = Generate()
        engine.load()
        loaded.append(engine)
        return engine

    yield load
    for engine in loaded:
        engine.unload()


def test_quantised_weights_take_a_byte_and_paint_nearly_the_same(
    recipe: Recipe, generator: Generate
) -> None:
    import torch

    small = recipe(NIJIKA_QWEN_MEMORY="quantised")
    pipeline: Any = small._painter._pipeline
    block = pipeline.transformer.transformer_blocks[0]
    assert block.attn.to_out[0].weight.dtype is torch.float8_e4m3fn
    exact, rough = pictures(generator, item())[0], pictures(small, item())[0]
    assert np.abs(exact.astype(int) - rough.astype(int)).mean() < 25
    assert differ(rough, pictures(small, item(tier="fast", steps=""))[0])


def test_offloaded_parts_paint_the_same_also_after_a_pass_that_was_ended(
    recipe: Recipe, generator: Generate
) -> None:
    moved = recipe(NIJIKA_QWEN_MEMORY="offload")
    moved.run([item(steps=9)], Hooks({"job": 3}))
    assert not differ(pictures(generator, item())[0], pictures(moved, item())[0])
    made(moved, item(tier="fast", steps=""))


def test_pass_without_enough_memory_says_so_and_the_next_one_runs(
    generator: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def short(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    before = pictures(generator, item())[0]
    pipeline: Any = generator._painter._pipeline
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.transformer, "forward", short)
        with pytest.raises(torch.OutOfMemoryError):  # the lane knows what it means
            generator.run([item()], Hooks())
    assert (pictures(generator, item())[0] == before).all()


def test_compiled_blocks_paint_the_same(recipe: Recipe, generator: Generate) -> None:
    compiled = recipe(NIJIKA_QWEN_COMPILE="eager")
    compiled.warm_up()
    assert not differ(pictures(generator, item())[0], pictures(compiled, item())[0])
    made(compiled, item(tier="fast", steps="", width=300))


def test_warm_up_paints_the_sizes_that_are_named(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = recipe(NIJIKA_QWEN_WARM_UP="96x64,64x64")
    painted: list[Any] = []
    monkeypatch.setattr(engine._painter, "warm_up", painted.append)
    engine.warm_up()
    assert painted == [(96, 64), (64, 64)]


def test_edit_warms_up_small_on_a_cpu_and_shows_references_as_large_as_before(
    editor: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    before = module.VAE_IMAGE_SIZE
    pipeline: Any = editor._painter._pipeline
    seen: list[tuple[int, int]] = []
    call = type(pipeline).__call__

    def watched(self: Any, **told: Any) -> Any:
        seen.append((told["width"], module.VAE_IMAGE_SIZE))
        return call(self, **told)

    monkeypatch.setattr(type(pipeline), "__call__", watched)
    editor.warm_up()
    assert seen == [(64, 64**2)]
    assert before == module.VAE_IMAGE_SIZE


def test_loading_says_what_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Generate()
    said: list[str] = []
    engine.say = said.append
    engine.load()
    engine.warm_up()
    engine.unload()
    assert said[0].startswith("reading weights, 1 of 3: transformer")
    assert any("adapters" in one for one in said)
    assert "warming up" in said[-1]


def test_unloaded_engine_keeps_nothing_and_can_be_loaded_again(
    recipe: Recipe, generator: Generate
) -> None:
    import weakref

    engine = recipe()
    transformer = weakref.ref(engine._painter._pipeline.transformer)
    made(engine, item())
    engine.unload()
    assert transformer() is None
    engine.load()
    assert not differ(pictures(generator, item())[0], pictures(engine, item())[0])


def test_large_pictures_are_decoded_in_tiles(generator: Generate) -> None:
    pipeline: Any = generator._painter._pipeline
    pipelines.tile(pipeline, (2048, 2048))
    assert pipeline.vae.use_tiling
    pipelines.tile(pipeline, (1328, 1328))
    assert not pipeline.vae.use_tiling
