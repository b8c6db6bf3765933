"""Steps after an engine: in the same run, on pixels, one file at the end."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker import finishing, pixels
from gpu_worker.contract import Assignment, Step, from_json, to_json
from gpu_worker.engines.base import Input, Item, Picture, Result
from gpu_worker.errors import InvalidParameters
from tests.gpu_worker.engines.pictures import Silent, plain


def step(operation: str, **parameters: Any) -> Step:
    return Step(operation=operation, parameters=parameters)


def item(*steps: Step, **parameters: Any) -> Item:
    return Item(job_id="job", operation="any", parameters=parameters, steps=steps)


def finish(one: Item, made: Picture | Result) -> Result:
    (result,) = finishing.finish(one, (made,), Silent())
    return result


def test_a_run_with_steps_stores_one_file_of_the_last(
    worker: Any, platform: Any
) -> None:
    steps = (
        step("crop", trim=True),
        step("resize", width=10),
        step("encode", format="webp", lossless=True),
    )
    job = platform.job("paint", then=steps)
    worker.send(job)
    [ended] = platform.ended(job)
    assert ended.report.failure is None, ended.report.failure
    [result] = ended.report.results
    assert (result.content_type, result.width_px, result.height_px) == (
        "image/webp",
        10,
        10,
    )
    assert result.details == {"by": "paint"}
    image = Image.open(platform.folder / result.key)
    with image:
        assert image.convert("RGB").getpixel((5, 5)) == (200, 0, 0)


def test_a_step_that_is_impossible_fails_the_job_and_not_the_worker(
    worker: Any, platform: Any
) -> None:
    bad = platform.job("paint", then=(step("crop", x=40),))
    good = platform.job("paint")
    worker.send(bad)
    worker.send(good)
    failed, ended = platform.ended(bad, good)
    assert failed.report.failure.code == "invalid_parameters"
    assert not failed.report.failure.retryable
    assert failed.report.results == ()
    assert ended.report.failure is None


def test_steps_are_done_in_order() -> None:
    picture = Picture(pixels=plain(60, 60))
    then_small = item(step("crop", width=30, height=60), step("resize", width=10))
    then_cropped = item(step("resize", width=10), step("crop", width=5, height=10))
    assert finish(then_small, picture).height_px == 20
    assert finish(then_cropped, picture).height_px == 10


def test_only_the_last_step_says_how_the_file_is_written() -> None:
    one = item(step("resize", width=10), step("encode", format="gif"), format="png")
    assert finish(one, Picture(pixels=plain(20, 20))).content_type == "image/gif"
    assert finish(item(format="png"), Picture(pixels=plain(9, 9))).content_type == (
        "image/png"
    )


def test_nothing_is_lost_between_steps() -> None:
    """A JPEG in between would show."""
    chance = np.random.default_rng(3)
    noise = chance.integers(0, 256, (32, 32, 3), np.uint8)
    one = item(step("crop", x=1, y=1), step("encode", format="png"))
    made = finish(one, Picture(pixels=noise))
    assert (pixels.decode(made.data) == noise[1:, 1:]).all()


def test_a_file_passes_as_it_is_and_is_decoded_for_steps() -> None:
    file = pixels.encode(plain(20, 20), "jpeg")
    result = Result(
        data=file.data,
        content_type=file.content_type,
        width_px=20,
        height_px=20,
        details={"seed": 5},
    )
    assert finish(item(), result) is result
    small = finish(item(step("resize", width=5, format="webp")), result)
    assert (small.content_type, small.width_px) == ("image/webp", 5)
    assert small.details == {"seed": 5}


def test_every_frame_goes_through_the_steps() -> None:
    moving = Picture(
        pixels=plain(20, 20, (200, 0, 0)),
        frames=(plain(20, 20, (0, 200, 0)),),
        delays_ms=(50, 70),
    )
    one = item(step("resize", width=10, greyscale=True), step("encode", format="gif"))
    made = pixels.read(finish(one, moving).data, frames=True)
    assert made.delays_ms == (50, 70)
    for frame in (made.pixels, *made.frames):
        assert frame.shape == (10, 10, 3)
        assert frame[5, 5, 0] == frame[5, 5, 1] == frame[5, 5, 2]


def test_progress_names_the_steps() -> None:
    hooks = Silent()
    one = item(step("resize", width=10), step("crop", width=5))
    finishing.finish(one, (Picture(pixels=plain(20, 20)),), hooks)
    assert hooks.seen == ["resize", "crop"]


def test_a_picture_without_a_format_keeps_the_inputs_where_it_can(
    tmp_path: Path,
) -> None:
    source = Input(role="image", path=tmp_path / "none", content_type="image/webp")
    one = Item(job_id="job", parameters={}, inputs=(source,), operation="any")
    assert finish(one, Picture(pixels=plain(9, 9))).content_type == "image/webp"


def test_an_assignment_travels_with_its_steps() -> None:
    assignment = Assignment(
        job_id="job",
        attempt=1,
        operation="removebg",
        engine="classical",
        parameters={},
        inputs=(),
        run_limit_s=1,
        then=(step("crop", trim=True), step("encode", format="webp")),
    )
    assert from_json(Assignment, to_json(assignment)) == assignment
    older = to_json(assignment)
    del older["then"]
    assert from_json(Assignment, older).then == ()


def test_an_impossible_step_raises_and_makes_nothing() -> None:
    with pytest.raises(InvalidParameters):
        finish(item(step("crop", width=21)), Picture(pixels=plain(20, 20)))


def test_a_result_reads_back_as_the_file_that_it_says() -> None:
    made = finish(item(step("encode", format="avif")), Picture(pixels=plain(20, 30)))
    image = Image.open(io.BytesIO(made.data))
    assert image.size == (made.width_px, made.height_px) == (30, 20)
