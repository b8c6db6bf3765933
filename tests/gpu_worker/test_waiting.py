"""Engines that wait for somebody else's machine: many at once, and none holds on."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey, SealedBox

from gpu_worker.contract import Assignment
from tests.gpu_worker.platform import wait_until

PRIVATE = PrivateKey.generate()
SEALING = {"NIJIKA_SEALING_KEYS": base64.b64encode(bytes(PRIVATE)).decode()}
SECRET = "a-key-from-afar-0815"


@pytest.fixture
def distant(start_worker: Any) -> Any:
    return start_worker(queue="distant", slots=6, **SEALING)


def seal(platform: Any, job: Assignment) -> None:
    said = {"job": job.job_id, "provider": "afar", "key": SECRET}
    sealed = SealedBox(PRIVATE.public_key).encrypt(json.dumps(said).encode())
    platform.jobs[job.job_id].sealed_key = base64.b64encode(sealed).decode()


def test_as_many_wait_as_there_are_slots(distant: Any, platform: Any) -> None:
    warm = platform.job("distant")
    distant.send(warm)
    platform.ended(warm)
    jobs = [platform.job("distant", parameters={"seconds": 1}) for _ in range(6)]
    began = time.monotonic()
    for job in jobs:
        distant.send(job)
    platform.ended(*jobs)
    assert time.monotonic() - began < 4  # one by one they would take 6 s


def test_run_that_hangs_is_left_behind_and_the_worker_lives(
    distant: Any, platform: Any
) -> None:
    stuck = platform.job("distant", parameters={"do": "hang"}, run_limit_s=1)
    fine = platform.job("distant")
    distant.send(stuck)
    [ended] = platform.ended(stuck)
    assert ended.report.failure.code == "limit_exceeded"
    distant.send(fine)
    assert platform.ended(fine)[0].report.failure is None
    assert distant.process.poll() is None


def test_cancelled_run_hears_of_it_and_one_handed_back_is_not_cancelled(
    distant: Any, platform: Any, tmp_path: Path
) -> None:
    told = [tmp_path / name for name in ("cancelled", "handed back")]
    jobs = [
        platform.job("distant", parameters={"do": "wait", "tell": str(path)})
        for path in told
    ]
    distant.send(*jobs[:1])
    distant.send(*jobs[1:])
    wait_until(lambda: all(platform.jobs[one.job_id].progress for one in jobs))
    platform.to_stop.add(jobs[0].job_id)
    wait_until(lambda: told[0].exists() and told[0].read_text())
    assert told[0].read_text() == "cancelled"
    distant.stop()
    assert platform.happened["handed back"] == 1
    # The process may be gone before its engine has said a word.
    assert not told[1].exists() or told[1].read_text() in ("", "handed back")


def test_key_reaches_the_engine_and_no_other_place(distant: Any, platform: Any) -> None:
    with_key, without, leaking = (
        platform.job("distant"),
        platform.job("distant"),
        platform.job("distant", parameters={"do": "leak"}),
    )
    seal(platform, with_key)
    seal(platform, leaking)
    distant.send(with_key, without, leaking)
    ended = platform.ended(with_key, without, leaking)
    details = [job.report.results[0].details for job in ended[:2]]
    assert details == [{"key": SECRET}, {"key": "None"}]
    assert ended[2].report.failure.code == "engine_failed"
    assert SECRET not in ended[2].report.failure.message
    assert SECRET not in distant.log.read_text()


def test_key_that_was_sealed_for_another_job_is_refused(
    distant: Any, platform: Any
) -> None:
    theirs, mine = platform.job("distant"), platform.job("distant")
    seal(platform, theirs)
    platform.jobs[mine.job_id].sealed_key = platform.jobs[theirs.job_id].sealed_key
    distant.send(mine)
    [ended] = platform.ended(mine)
    assert ended.report.failure.code == "engine_unavailable"


def test_checkpoint_is_known_to_be_stored_before_the_run_goes_on(
    distant: Any, platform: Any
) -> None:
    job = platform.job("distant", parameters={"do": "keep"})
    distant.send(job)
    [ended] = platform.ended(job)
    assert (ended.report.failure, ended.checkpoint) == (None, "I will ask")


def test_workers_tell_the_public_key_and_keep_the_private_one(
    distant: Any, platform: Any
) -> None:
    wait_until(lambda: any(call.specs for call in platform.calls))
    [spec] = next(call.specs for call in platform.calls if call.specs)
    public = base64.b64encode(bytes(PRIVATE.public_key)).decode()
    assert (spec.provider, spec.sealing_key) == ("afar", public)
    said = json.dumps([str(call) for call in platform.calls])
    assert SEALING["NIJIKA_SEALING_KEYS"] not in said
