"""Device engines: one thread owns the device, children decode and encode."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gpu_worker.contract import InputFile, Step
from tests.gpu_worker.platform import wait_until


@pytest.fixture
def device_worker(start_worker: Any) -> Any:
    return start_worker(queue="device", slots=2)


def test_device_job_is_decoded_run_and_encoded(
    device_worker: Any, platform: Any
) -> None:
    job = platform.job("device", parameters={"text": "HAL"})
    device_worker.send(job)
    platform.ended(job)
    assert platform.result(job) == "IBM"


def test_device_jobs_of_a_message_share_a_batch(
    device_worker: Any, platform: Any
) -> None:
    jobs = [platform.job("device", parameters={"text": "a"}) for _ in range(8)]
    device_worker.send(*jobs)
    ended = platform.ended(*jobs)
    assert max(job.report.results[0].details["batch"] for job in ended) > 1


def test_cut_out_on_a_device_has_the_options_and_steps_of_any_other(
    device_worker: Any, platform: Any, tmp_path: Path
) -> None:
    photo, ground = tmp_path / "photo.png", tmp_path / "ground.png"
    shown = Image.new("RGB", (100, 60), "navy")
    shown.paste("red", (20, 10, 60, 40))
    shown.save(photo)
    Image.new("RGB", (10, 10), "lime").save(ground)
    job = platform.job(
        "removebg",
        parameters={"crop": True, "crop_margin": "10px", "roi": "0% 0% 40px 60px"},
        inputs=(
            InputFile(role="image", location=f"file://{photo}"),
            InputFile(role="bg_image", location=f"file://{ground}"),
        ),
        then=(Step(operation="resize", parameters={"width": 20, "format": "png"}),),
    )
    device_worker.send(job)
    [ended] = platform.ended(job)
    assert ended.report.failure is None, ended.report.failure
    [made] = ended.report.results
    with Image.open(platform.folder / made.key) as picture:
        # The subject's part in the region is 20 x 30; with its margin 40 x 50.
        assert (picture.format, picture.size) == ("PNG", (20, 25))
        assert picture.getpixel((2, 2)) == (0, 255, 0)
        assert picture.getpixel((10, 12)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("do", "code"),
    [
        ("segfault", "engine_failed"),
        ("invalid", "invalid_image"),
        ("out of memory", "out_of_memory"),
    ],
)
def test_bad_item_on_a_device_fails_alone(
    device_worker: Any, platform: Any, do: str, code: str
) -> None:
    bad = platform.job("device", parameters={"text": "b", "do": do})
    good = [platform.job("device", parameters={"text": "a"}) for _ in range(3)]
    device_worker.send(*good, bad)
    ended = platform.ended(bad, *good)
    assert ended[0].report.failure.code == code
    assert [platform.result(job) for job in good] == ["b"] * 3


def test_stopped_run_on_a_device_hears_of_it(device_worker: Any, platform: Any) -> None:
    job = platform.job("device", parameters={"text": "a", "do": "loop"})
    device_worker.send(job)
    wait_until(lambda: platform.jobs[job.job_id].beats)
    platform.to_stop.add(job.job_id)
    after = platform.job("device", parameters={"text": "a"})
    device_worker.send(after)
    platform.ended(after)


def test_device_run_past_its_limit_ends_the_worker(
    device_worker: Any, platform: Any, tmp_path: Path
) -> None:
    values = {"text": "a", "do": "hang", "notes": str(tmp_path / "notes")}
    job = platform.job("device", parameters=values, run_limit_s=2)
    waiting = platform.job("device", parameters={"text": "a"}, run_limit_s=60)
    device_worker.send(job)
    wait_until((tmp_path / "notes").exists)
    device_worker.send(waiting)
    assert device_worker.process.wait(10) == 75
    assert platform.jobs[job.job_id].report.failure.code == "limit_exceeded"
    assert platform.jobs[waiting.job_id].status == "queued"
