"""A worker resizes a photo by its planes, in its child."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from PIL import Image

from gpu_worker.contract import Assignment, InputFile
from gpu_worker.pixels import planes
from tests.gpu_worker.conftest import WorkerProcess
from tests.gpu_worker.platform import Job, Platform, wait_until

PHOTO = Path(__file__).parents[1] / "data" / "photos" / "animal_white_tiger.jpg"


@pytest.mark.parametrize(
    ("profile", "size"), [("default", (200, 133)), ("memory_efficient", (400, 266))]
)
def test_worker_resizes_by_planes(
    profile: str, size: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    with Image.open(PHOTO) as image:
        image.resize((1000, 665)).save(path)
    platform = Platform(tmp_path)
    options = {"NIJIKA_PROFILE": profile}
    worker = WorkerProcess(platform, tmp_path, queue="cpu", **options).start()
    try:
        job = _resize(worker, path, {"width": size[0]})
        wait_until(lambda: job.report, 10)
    finally:
        worker.close()
        platform.close()
    assert job.report is not None and job.status == "succeeded"
    made = planes.smaller(path, size)
    assert made is not None
    assert (tmp_path / job.report.results[0].key).read_bytes() == made.data


def _resize(worker: WorkerProcess, path: Path, parameters: dict[str, int]) -> Job:
    photo = InputFile(
        role="image", location=f"file://{path}", content_type="image/jpeg"
    )
    assignment = Assignment(
        job_id=str(uuid.uuid4()),
        attempt=1,
        operation="resize",
        engine="imaging",
        parameters=parameters,
        inputs=(photo,),
        run_limit_s=60,
    )
    job = worker.platform.jobs[assignment.job_id] = Job(assignment)
    worker.send(assignment)
    return job
