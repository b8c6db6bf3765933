"""Short jobs of an engine that takes one at a time, many in a message: what befalls one
of them is its own."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from gpu_worker.contract import Message, from_json
from tests.flows.house import House, eventually

QUEUE = "nijika:cpu"
CHARGED = [("hold", "-0.0100"), ("settle", "0.0000")]
RELEASED = [("hold", "-0.0100"), ("settle", "0.0100")]
JOBS = 20
MEASURED = """
INSERT INTO jobs_enginepace (operation, engine, size_mp, run_ms, share_ms)
VALUES ('fatal', 'test', 1, 1, 1)
ON CONFLICT (operation, engine, size_mp) DO UPDATE SET run_ms = 1, share_ms = 1"""


def queue_many(home: House, *, poisonous: int = 0, seconds: float = 0.02) -> list[str]:
    """Queue jobs that count as short, in one request. Their ids, those of the poisonous
    ones first."""
    home.sql(MEASURED)
    values = {"note": str(home.stack.folder / "starts"), "seconds": seconds}
    each = [values | {"poison": 7 <= number < 7 + poisonous} for number in range(JOBS)]
    items = [{"operation": "fatal", "parameters": one} for one in each]
    body = json.dumps({"items": items}).encode()
    kind = {"Content-Type": "application/json"}
    made = home.call("POST", "/api/v1/batches", body=body, headers=kind)
    assert made.status in (200, 201, 202), made.body
    query = """
        SELECT id::text FROM jobs_job WHERE batch_id = %s
        ORDER BY parameters->'poison' DESC, id"""
    return [job_id for (job_id,) in home.sql(query, made.body["id"])]


@contextmanager
def deaf(home: House) -> Iterator[None]:
    """The worker stands still, and asks the broker for nothing any more: what it had
    asked for before would be sent to it, and lie in no queue."""
    client = redis.from_url(home.stack.environment["REDIS_URL"])
    with home.standing("worker"):
        eventually(
            lambda: client.info("clients")["blocked_clients"] == 0 or None, within_s=5
        )
        yield


def caught(home: House) -> list[bytes]:
    """The messages of the queued jobs, as they lie in the broker: shared ones."""
    client = redis.from_url(home.stack.environment["REDIS_URL"])

    def look() -> list[bytes] | None:
        found: list[bytes] = client.lrange(QUEUE, 0, -1)
        return found if sum(map(jobs_in, found)) >= JOBS else None

    texts = eventually(look, within_s=5)
    assert max(map(jobs_in, texts)) > 1
    return texts


def jobs_in(text: bytes) -> int:
    body = json.loads(base64.b64decode(json.loads(text)["body"]))
    return len(from_json(Message, body[0][0]).assignments)


def test_job_that_kills_its_worker_costs_its_message_nothing(home: House) -> None:
    with deaf(home):
        ids = queue_many(home, poisonous=1)
        caught(home)
    jobs = [home.end_of(job_id, within_s=90) for job_id in ids]
    assert jobs[0]["error"]["code"] == "worker_lost"
    assert home.entries(ids[0]) == RELEASED
    assert {job["status"] for job in jobs[1:]} == {"succeeded"}
    assert [home.entries(job_id) for job_id in ids[1:]] == [CHARGED] * (JOBS - 1)


def test_shared_messages_delivered_again_run_each_job_once(home: House) -> None:
    with deaf(home):
        ids = queue_many(home)
        texts = caught(home)
        redis.from_url(home.stack.environment["REDIS_URL"]).lpush(QUEUE, *texts)
    jobs = [home.end_of(job_id) for job_id in ids]
    assert {(job["status"], job["attempt"]) for job in jobs} == {("succeeded", 1)}
    assert [home.starts(job_id) for job_id in ids] == [1] * JOBS
    assert [home.entries(job_id) for job_id in ids] == [CHARGED] * JOBS


def test_cancelled_one_of_a_shared_message_never_starts(home: House) -> None:
    with deaf(home):
        ids = queue_many(home)
        caught(home)
        gone = ids.pop(3)
        assert home.call("POST", f"/api/v1/jobs/{gone}/cancel").status == 200
    jobs = [home.end_of(job_id) for job_id in ids]
    assert {(job["status"], job["attempt"]) for job in jobs} == {("succeeded", 1)}
    assert (home.job(gone)["status"], home.starts(gone)) == ("cancelled", 0)
    assert home.entries(gone) == RELEASED


def test_worker_that_is_told_to_go_hands_back_what_it_has_not_run(home: House) -> None:
    with deaf(home):
        ids = queue_many(home, seconds=0.5)
        caught(home)
    running = "SELECT 1 FROM jobs_job WHERE id = ANY(%s::uuid[]) AND status = 'running'"
    eventually(lambda: home.sql(running, ids) or None, within_s=10)
    worker = home.stack.supervisor.programs["worker"].process
    assert worker is not None
    worker.send_signal(signal.SIGTERM)
    jobs = [home.end_of(job_id) for job_id in ids]
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert {job["attempt"] for job in jobs} == {1, 2}
    assert [home.entries(job_id) for job_id in ids] == [CHARGED] * JOBS
    query = "SELECT DISTINCT failures, losses FROM jobs_job WHERE id = ANY(%s::uuid[])"
    assert home.sql(query, ids) == [(0, 0)]
