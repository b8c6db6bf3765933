"""One user's thousand jobs and another's one, with two controls of which one dies."""

from __future__ import annotations

import json
import time

from tests.flows.house import House, eventually

QUEUED = 1000
SLEEP_S = 0.1
SLOTS = 2
WINDOW = 2 * SLOTS + 1
"""What may be on its way to the worker when a job arrives."""


def many(home: House, key: str) -> str:
    """Queue them in one request; the batch's id."""
    item = {"operation": "sleep", "parameters": {"seconds": SLEEP_S}}
    body = json.dumps({"items": [item] * QUEUED}).encode()
    kind = {"Content-Type": "application/json"}
    made = home.call("POST", "/api/v1/batches", key=key, body=body, headers=kind)
    assert made.status in (200, 201, 202), made.body
    batch_id: str = made.body["id"]
    return batch_id


def test_single_job_passes_a_thousand_though_a_control_dies(home: House) -> None:
    crowd, lone = home.new_user(credits="2000"), home.new_user()
    # How long such a run takes is known: longer than what shares a message.
    for _ in range(6):
        home.end_of(home.accepted("sleep", seconds=SLEEP_S))
    with home.another("control"):
        batch_id = many(home, crowd)
        eventually(lambda: running(home) >= SLOTS, within_s=30)
        home.kill("control")
        waits = []
        for _ in range(3):
            job_id = home.accepted("sleep", seconds=SLEEP_S, key=lone)
            eventually(lambda job=job_id: has_ended(home, job), within_s=30)  # type: ignore[misc]
            waits.append(passed(home, job_id))
            time.sleep(0.1)
        home.settle_down()
    home.call("POST", f"/api/v1/batches/{batch_id}/cancel", key=crowd)
    # Who arrives waits for what is on its way, and for nothing of what is queued.
    assert max(waits) <= WINDOW + SLOTS, waits
    home.check_ledger()


def running(home: House) -> int:
    [(count,)] = home.sql("SELECT count(*) FROM jobs_job WHERE status = 'running'")
    return int(count)


def has_ended(home: House, job_id: str) -> bool:
    [(status,)] = home.sql("SELECT status FROM jobs_job WHERE id = %s", job_id)
    return status == "succeeded"


def passed(home: House, job_id: str) -> int:
    """How many jobs of others were started while this one waited."""
    query = """
        SELECT count(*) FROM jobs_job AS mine JOIN jobs_job AS other
          ON other.user_id <> mine.user_id
          AND other.started_at BETWEEN mine.created_at AND mine.started_at
        WHERE mine.id = %s"""
    [(count,)] = home.sql(query, job_id)
    return int(count)
