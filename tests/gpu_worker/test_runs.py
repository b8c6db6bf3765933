"""A message's way through a real worker process."""

import hashlib
import json
from typing import Any


def test_job_runs_and_its_file_is_the_reported_one(worker: Any, platform: Any) -> None:
    job = platform.job(
        "echo", parameters={"text": "hello "}, inputs=(platform.input("world"),)
    )
    worker.send(job)
    [ended] = platform.ended(job)
    [result] = ended.report.results
    assert platform.result(job) == "hello world"
    assert result.sha256 == hashlib.sha256(b"hello world").hexdigest()
    assert (result.size_bytes, result.content_type) == (11, "text/plain")


def test_job_shows_progress(worker: Any, platform: Any) -> None:
    job = platform.job("sleep", parameters={"seconds": 0.1})
    worker.send(job)
    [ended] = platform.ended(job)
    assert ended.status == "succeeded"
    assert json.dumps(ended.report.engine_ms)
