"""A worker dies, hangs or is poisoned: the job's end, its charge and its neighbours."""

import hashlib
import os
import random
import time
from pathlib import Path

import pytest

from nijika.local.demo import PHOTO
from tests.flows.house import House, eventually

CHARGED = [("hold", "-0.0100"), ("settle", "0.0000")]
RELEASED = [("hold", "-0.0100"), ("settle", "0.0100")]
WITHIN_S = 20.0
"""A supervised worker runs a job again within this time after its death."""

random.seed(os.environ.get("NIJIKA_TEST_SEED"))


@pytest.mark.parametrize("instant", range(20))
def test_worker_killed_at_a_random_instant_job_succeeds_and_is_charged_once(
    home: House, instant: int
) -> None:
    job_id = home.accepted("removebg", PHOTO)
    time.sleep(random.random() * 1.5)
    home.kill("worker")

    job = home.end_of(job_id, within_s=WITHIN_S)

    assert job["status"] == "succeeded"
    assert home.entries(job_id) == CHARGED
    assert home.events(job_id).count("succeeded") == 1
    result = home.call("GET", f"/api/v1/jobs/{job_id}/result")
    assert hashlib.sha256(result.body).hexdigest() == job["results"][0]["sha256"]


def test_worker_killed_leaves_no_process_behind(home: House) -> None:
    job_id = home.accepted("sleep", seconds=2)
    home.until(job_id, "running")
    children = children_of(home.pid("worker"))
    home.kill("worker")
    eventually(lambda: not any(map(is_alive, children)) or None, within_s=5)
    assert home.end_of(job_id)["status"] == "succeeded"


def test_job_that_kills_its_worker_ends_as_worker_lost_and_costs_nothing(
    home: House,
) -> None:
    job_id = home.accepted("deadly", poison=True)
    job = home.end_of(job_id, within_s=60)
    assert (job["status"], job["error"]["code"]) == ("failed", "worker_lost")
    assert home.starts(job_id) == 3
    assert home.entries(job_id) == RELEASED


def test_jobs_that_shared_a_poisoned_batch_succeed(home: House) -> None:
    ids = [home.accepted("deadly", poison=number == 3) for number in range(8)]
    jobs = [home.end_of(job_id, within_s=90) for job_id in ids]
    statuses = [job["status"] for job in jobs]
    assert statuses[3] == "failed"
    assert statuses[:3] + statuses[4:] == ["succeeded"] * 7
    assert [home.entries(i) for n, i in enumerate(ids) if n != 3] == [CHARGED] * 7


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("hang", "limit_exceeded"),
        ("loop", "limit_exceeded"),
        ("eat", "limit_exceeded"),
        ("crash", "engine_failed"),
    ],
)
def test_hostile_job_fails_alone_and_the_worker_lives(
    home: House, way: str, code: str
) -> None:
    worker = home.pid("worker")
    hostile = home.accepted("hostile", way=way)
    neighbour = home.accepted("sleep", seconds=0.1)

    assert home.end_of(hostile)["error"]["code"] == code
    assert home.end_of(neighbour)["status"] == "succeeded"

    assert home.entries(hostile) == RELEASED
    assert (home.pid("worker"), is_alive(worker)) == (worker, True)
    # The slot is back: as many jobs as there are slots run side by side.
    pair = [home.accepted("sleep", seconds=1) for _ in range(2)]
    first, second = (home.end_of(job_id) for job_id in pair)
    assert (first["status"], second["status"]) == ("succeeded", "succeeded")
    assert second["started_at"] < first["ended_at"]


def test_device_engine_stuck_in_c_is_limit_exceeded_and_its_neighbours_run(
    home: House,
) -> None:
    stuck = home.accepted("stuck")
    home.until(stuck, "running")
    neighbour = home.accepted("sleep", seconds=0.1)
    assert home.end_of(stuck)["error"]["code"] == "limit_exceeded"
    assert home.entries(stuck) == RELEASED
    assert home.end_of(neighbour)["status"] == "succeeded"


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
