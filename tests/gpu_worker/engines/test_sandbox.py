"""The sandbox's pictures: marked, of the right size, and the same each time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator
from PIL import Image

from gpu_worker import finishing, registry
from gpu_worker.engines.base import Input, Item, Result
from gpu_worker.engines.parameters import edit
from gpu_worker.engines.sandbox import marking
from gpu_worker.errors import WorkerError

GENERATE = {"prompt": "a cat", "width": 256, "height": 320, "n": 1, "format": "png"}


class Silent:
    """Hooks to which nobody listens."""

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        pass

    def cancelled(self, item: Item) -> bool:
        return False

    def checkpoint(self, item: Item, text: str) -> None:
        pass


def run(operation: str, *inputs: Input, **parameters: Any) -> tuple[Result, ...]:
    engine: Any = registry.engine_class((operation, "sandbox"))()
    engine.load()
    item = Item(
        job_id="1", operation=operation, parameters=parameters, inputs=tuple(inputs)
    )
    [outcome] = engine.run([item], Silent())
    if isinstance(outcome, WorkerError):
        raise outcome
    return finishing.finish(item, outcome, Silent())


def shown(result: Result) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(result.data)))


def saved(folder: Path, pixels: np.ndarray[Any, Any], role: str = "image") -> Input:
    path = folder / f"{role}.png"
    Image.fromarray(pixels).save(path)
    height, width = pixels.shape[:2]
    return Input(
        role=role,
        path=path,
        content_type="image/png",
        width_px=width,
        height_px=height,
    )


def plain(height: int, width: int, *channels: int, value: int = 90) -> Any:
    return np.full((height, width, *channels), value, np.uint8)


def test_seed_says_what_is_painted() -> None:
    [first] = run("generate", **GENERATE, seed=7)
    [same] = run("generate", **GENERATE, seed=7)
    [other] = run("generate", **GENERATE, seed=8)
    assert first.data == same.data != other.data
    assert (first.width_px, first.height_px) == (256, 320)
    assert first.details == {"seed": 7, "sandbox": True}


def test_several_pictures_have_a_seed_each() -> None:
    made = run("generate", **GENERATE | {"n": 3}, seed=2**31 - 1)
    assert [one.details["seed"] for one in made] == [2**31 - 1, 0, 1]
    assert len({one.data for one in made}) == 3


@pytest.mark.parametrize(
    "prompt", ["x" * 4000, "猫 в шляпе \u202e \t\n" * 40, "\ud7ff", "a" + " b" * 1999]
)
def test_any_prompt_is_drawn(prompt: str) -> None:
    [result] = run("generate", **GENERATE | {"prompt": prompt})
    assert (result.width_px, result.height_px) == (256, 320)


@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 4000), (4000, 3), (37, 41, 3), (64, 48, 4)]
)
def test_picture_of_any_shape_is_marked(shape: tuple[int, ...]) -> None:
    given = np.full(shape, 90, np.uint8)
    marked = marking.mark(given)
    assert marked.shape == shape
    assert given.min() == given.max() == 90
    if min(shape[:2]) > 3:
        assert (marked != given).any()


def test_mark_lies_on_the_diagonal_and_on_a_quarter_of_the_picture_at_most() -> None:
    given = plain(600, 800, 3)
    changed = (marking.mark(given) != given).any(axis=2)
    assert 0.05 < changed.mean() < 0.25
    assert changed[250:350, 300:500].mean() > 0.3
    assert not changed[:80, :80].any() and not changed[-80:, -80:].any()


def test_transparent_pixels_stay_so_under_the_mark() -> None:
    given = plain(100, 100, 4, value=0)
    assert not marking.mark(given)[..., 3].any()


def test_mask_selects_the_same_under_its_mark() -> None:
    given = plain(300, 400, value=0)
    given[50:250, 50:350] = 255
    marked = marking.mark_mask(given)
    assert ((marked > 127) == (given > 127)).all()
    assert (marked != given).mean() > 0.02


def test_alpha_alone_is_marked_too(tmp_path: Path) -> None:
    picture = plain(200, 300, 3, value=240)
    picture[60:140, 90:210] = (20, 60, 90)
    image = saved(tmp_path, picture)
    [result] = run("removebg", image, channels="alpha", format="png")
    alpha = shown(result)
    assert alpha.ndim == 2 and alpha.shape == (200, 300)
    assert ((alpha > 127) & (alpha < 200)).mean() > 0.005
    assert alpha[100, 150] > 127 and alpha[5, 5] == 0


def test_picture_in_which_nothing_stands_out_has_a_cut_out_all_the_same(
    tmp_path: Path,
) -> None:
    [result] = run("removebg", saved(tmp_path, plain(90, 120, 3)), format="png")
    alpha = shown(result)[..., 3]
    assert 0.2 < (alpha > 127).mean() < 0.8


# edit


@pytest.mark.parametrize(
    ("longer_px", "bucket_px"),
    [
        *[(1, 512), (640, 512), (641, 768), (896, 768), (897, 1024), (1280, 1024)],
        *[(1281, 1536), (1792, 1536), (1793, 2048), (9000, 2048)],
    ],
)
def test_edit_works_at_the_bucket_of_the_longer_side(
    longer_px: int, bucket_px: int
) -> None:
    assert edit.size_px((longer_px, longer_px), {}) == (bucket_px, bucket_px)


def test_edit_keeps_the_proportions_or_takes_the_size_that_is_asked_for() -> None:
    assert edit.size_px((1000, 500), {}) == (1024, 512)
    assert edit.size_px((1000, 500), {"input_quality": "original"}) == (1000, 500)
    assert edit.size_px((1000, 500), {"width": 300, "height": 400}) == (300, 400)


def test_edit_paints_under_the_mask_only(tmp_path: Path) -> None:
    mask = plain(300, 400, value=0)
    mask[:60, :60] = 255
    picture = saved(tmp_path, plain(300, 400, 3))
    wanted = {"input_quality": "original", "format": "png", "prompt": "a lamp"}
    [result] = run("edit", picture, saved(tmp_path, mask, "mask"), **wanted)
    changed = (shown(result) != marking.mark(plain(300, 400, 3))).any(axis=2)
    assert changed[:60, :60].mean() > 0.95
    assert not changed[60:].any() and not changed[:, 60:].any()


# Parameters


def problems(operation: str, **parameters: Any) -> list[str]:
    schema = registry.engine_class((operation, "sandbox")).spec.parameters
    Draft202012Validator.check_schema(schema)
    return [
        error.json_path
        for error in Draft202012Validator(schema).iter_errors(parameters)
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": "  "},
        {"prompt": "x" * 4001},
        {"width": 255},
        {"height": 2049},
        {"steps": 0},
        {"steps": 101},
        {"true_cfg_scale": 16},
        {"guidance_scale": 0},
        {"guidance_scale": 4, "true_cfg_scale": 4},
        {"seed": -1},
        {"seed": 2**31},
        {"n": 5},
        {"format": "zip"},
        {"colour": "red"},
    ],
)
def test_generate_refuses(wrong: dict[str, Any]) -> None:
    assert problems("generate", **{"prompt": "a cat"} | wrong)


def test_generate_needs_nothing_but_a_prompt() -> None:
    assert not problems("generate", prompt="a cat")
    assert problems("generate")


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"task": "insertion", "mask_tool": "box"},
        {"task": "white-balance", "input_quality": "original"},
        {"prompt": "x", "width": 256, "height": 2048, "guidance_scale": 20},
    ],
)
def test_edit_takes(right: dict[str, Any]) -> None:
    assert not problems("edit", **right)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "flying"},
        {"width": 300},
        {"mask_tool": "brush"},
        {"input_quality": "best"},
        {"prompt": ""},
    ],
)
def test_edit_refuses(wrong: dict[str, Any]) -> None:
    assert problems("edit", **wrong)
