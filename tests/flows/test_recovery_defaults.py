"""One pass with the times that nijika has by default; the other flows shorten them."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nijika.local.demo import PHOTO
from tests import misbehaving
from tests.flows.house import House, eventually, house

CHARGED = [("hold", "-0.0100"), ("settle", "0.0000")]
LEASE_S = 10.0


@pytest.fixture(scope="module")
def patient() -> Iterator[House]:
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        house(Path(folder), settings=misbehaving.SETTINGS, short_times=False) as built,
    ):
        built.sql(misbehaving.PRICES)
        yield built


def test_supervised_worker_killed_runs_the_job_again_within_twenty_seconds(
    patient: House,
) -> None:
    job_id = patient.accepted("removebg", PHOTO)
    patient.until(job_id, "running")
    patient.kill("worker")
    began = time.monotonic()
    job = patient.end_of(job_id, within_s=20)
    assert time.monotonic() - began < 20
    assert (job["status"], patient.entries(job_id)) == ("succeeded", CHARGED)


def test_worker_that_stays_away_loses_its_job_when_the_lease_is_over(
    patient: House,
) -> None:
    job_id = patient.accepted("sleep", seconds=5)
    patient.until(job_id, "running")
    patient.kill("worker")
    began = time.monotonic()
    eventually(lambda: "requeued" in patient.events(job_id) or None, within_s=30)
    assert LEASE_S - 3 < time.monotonic() - began < 2.5 * LEASE_S
    assert patient.end_of(job_id)["status"] == "succeeded"
    assert patient.entries(job_id) == CHARGED
    patient.check_ledger()
