"""What the Qwen engines take, by the files that are there, and the sizes they paint."""

from pathlib import Path
from typing import Any

import pytest

from gpu_worker.engines.base import Item
from gpu_worker.engines.parameters import composing
from gpu_worker.engines.qwen import schemas, settings, sizes
from gpu_worker.engines.qwen.edit import Edit
from gpu_worker.engines.qwen.generate import Generate
from gpu_worker.settings import SettingsError
from jobs.errors import BadFields
from jobs.parsing.schemas import Schema

COMMIT = "0123456789" * 4


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    return tmp_path


def put(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def asks(schema: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    return Schema(schema, path="parameters").normalised({"prompt": "x"} | wanted)


def refused(schema: dict[str, Any], **wanted: Any) -> list[str]:
    with pytest.raises(BadFields) as caught:
        asks(schema, **wanted)
    return [error["field"].removeprefix("parameters.") for error in caught.value.errors]


def test_engine_without_its_folder_has_no_weights(weights: Path) -> None:
    assert Generate.available() == Edit.available() == "weights_missing"
    put(weights, "qwen-image/model_index.json")
    assert Generate.available() == ""
    assert Edit.available() == "weights_missing"


def test_prompt_is_composed_of_what_was_chosen(weights: Path) -> None:
    put(weights, "qwen-image-edit-lora/white-balance.safetensors")
    schema = schemas.of_edit()
    chosen = asks(schema, prompt="Brighter.", angle="top-down", scene="wood")
    first, camera, around = composing.composed(chosen, otherwise="Z").split(" | ")
    assert (first, "俯视" in camera, "oak" in around) == ("Brighter.", True, True)
    del chosen["prompt"], chosen["scene"]
    assert composing.composed(chosen, otherwise="Z") == composing.ANGLES["top-down"]
    assert composing.composed({}, otherwise="Z") == "Z"
    assert len(composing.ANGLES) == len(composing.SCENES) == 10
    assert refused(schema, angle="sideways", scene="mars") == ["angle", "scene"]
    assert refused(schema, task="white-balance", scene="wood") == ["scene"]


def test_model_of_a_hub_needs_the_commit_that_was_looked_at(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_QWEN_IMAGE_MODEL", "Qwen/Qwen-Image-2512")
    for revision in ("", "main", COMMIT[1:]):
        monkeypatch.setenv("NIJIKA_QWEN_IMAGE_REVISION", revision)
        with pytest.raises(SettingsError):
            Generate.available()
    monkeypatch.setenv("NIJIKA_QWEN_IMAGE_REVISION", COMMIT)
    assert Generate.available() == ""


def test_only_tasks_with_their_adapters_are_offered(weights: Path) -> None:
    assert refused(schemas.of_edit(), task="removal") == ["task"]
    put(weights, "qwen-image-edit-lora/removal.safetensors")
    assert asks(schemas.of_edit(), task="removal")["task"] == "removal"
    assert refused(schemas.of_edit(), task="insertion") == ["task"]


def test_set_may_be_a_folder_of_files_that_go_together(weights: Path) -> None:
    put(weights, *(f"qwen-image-edit-lora/removal/{n}.safetensors" for n in "ba"))
    [files] = settings.lora_sets("qwen-image-edit").values()
    assert [file.stem for file in files] == ["a", "b"]


def test_fast_tier_is_there_with_its_adapter_and_knows_no_guidance(
    weights: Path,
) -> None:
    assert refused(schemas.of_generate(), tier="fast") == ["tier"]
    put(weights, "qwen-image-lora/lightning-8.safetensors")
    schema = schemas.of_generate()
    assert asks(schema)["tier"] == "quality"
    assert asks(schema, tier="fast")["tier"] == "fast"
    for name, value in [
        ("steps", 8),
        ("true_cfg_scale", 2),
        ("guidance_scale", 2),
        ("negative_prompt", "rain"),
    ]:
        assert refused(schema, tier="fast", **{name: value}) == [name]


def test_fewest_steps_win_where_there_are_several_adapters(weights: Path) -> None:
    put(weights, *(f"qwen-image-lora/lightning-{n}.safetensors" for n in (8, 4)))
    assert settings.lightning("qwen-image") == ("lightning-4", 4)


def test_negative_prompt_needs_guidance(weights: Path) -> None:
    schema = schemas.of_generate()
    assert "true_cfg_scale" not in asks(schema, negative_prompt="rain")
    assert asks(schema, negative_prompt="rain", guidance_scale=3)
    for name in ("true_cfg_scale", "guidance_scale"):
        assert refused(schema, negative_prompt="rain", **{name: 1}) == [name]


def test_two_scales_are_one_too_many_and_one_step_is_one_too_few() -> None:
    schema = schemas.of_generate()
    both = refused(schema, true_cfg_scale=3, guidance_scale=3)
    assert both == ["true_cfg_scale"]
    assert refused(schema, steps=1) == ["steps"]


@pytest.mark.parametrize(
    ("task", "role"),
    [("removal", "reference"), ("white-balance", "mask"), ("white-balance", "image")],
)
def test_image_that_a_task_would_not_look_at_is_refused(
    weights: Path, task: str, role: str
) -> None:
    put(weights, f"qwen-image-edit-lora/{task}.safetensors")
    schema = Schema(schemas.of_edit(), path="parameters")
    needed = {"image", "mask"} if task == "removal" else {"image"}
    schema.check_images({"task": task}, needed)
    if role not in needed:
        with pytest.raises(BadFields):
            schema.check_images({"task": task}, needed | {role})


@pytest.mark.parametrize(
    ("asked", "painted"),
    [
        ((1024, 1024), (1328, 1328)),
        ((1920, 1080), (1664, 928)),
        ((256, 512), (928, 1664)),
        ((600, 800), (1104, 1472)),
        ((1500, 1000), (1584, 1056)),
    ],
)
def test_asked_size_is_painted_in_the_official_size_of_its_shape(
    asked: tuple[int, int], painted: tuple[int, int]
) -> None:
    assert sizes.nearest(asked, settings.sizes()) == painted


def test_among_sizes_of_one_shape_the_smallest_that_is_enough_is_painted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIJIKA_QWEN_SIZES", "512x512,1328x1328,1024x1024,1664x928")
    painted = settings.sizes()
    assert sizes.nearest((512, 512), painted) == (512, 512)
    assert sizes.nearest((513, 512), painted) == (1024, 1024)
    assert sizes.nearest((2000, 2000), painted) == (1328, 1328)


def test_result_is_the_middle_of_what_was_painted_in_the_size_asked_for() -> None:
    canvas = sizes.covering((1664, 928), (1000, 1000))
    assert canvas.window == (368, 0, 928, 928)
    assert canvas.result_px == (1000, 1000)


def test_small_pictures_of_one_kind_share_a_pass_and_large_ones_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def key(**wanted: Any) -> Any:
        wanted = {"width": 512, "height": 512} | wanted
        return Generate.batch_key(Item(job_id="job", parameters=wanted))

    assert key() is None  # painted at 1328 x 1328
    monkeypatch.setenv("NIJIKA_QWEN_SIZES", "512x512,512x768")
    assert key() is not None
    assert key(prompt="a") == key(prompt="b", seed=3)
    assert key(steps=4) != key()
    assert key(true_cfg_scale=1) != key()
    assert key(height=700) != key()


@pytest.mark.parametrize("wrong", ["500x512", "512", "512x", ""])
def test_size_that_cannot_be_painted_stops_the_start(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_QWEN_SIZES", wrong)
    with pytest.raises(SettingsError):
        settings.sizes()
