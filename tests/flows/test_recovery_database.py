"""PostgreSQL or the web restart under load; money under contention; storage away."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from nijika.local.demo import PHOTO
from nijika.local.servers import Server
from tests.flows.house import Answer, House, eventually

CHARGED = [("hold", "-0.0100"), ("settle", "0.0000")]
RELEASED = [("hold", "-0.0100"), ("settle", "0.0100")]


def database(home: House) -> Server:
    assert home.stack.postgres is not None
    return home.stack.postgres


class Load:
    """Clients that submit until told to stop, and remember every answer."""

    def __init__(self, home: House, *, clients: int = 4) -> None:
        self._home = home
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = [self._pool.submit(self._submit) for _ in range(clients)]

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._pool.shutdown()

    @property
    def answers(self) -> list[Answer | OSError]:
        return [answer for client in self._clients for answer in client.result()]

    @property
    def accepted(self) -> list[str]:
        given = [a for a in self.answers if isinstance(a, Answer)]
        return [a.body["id"] for a in given if a.status == 202]

    def _submit(self) -> list[Answer | OSError]:
        answers: list[Answer | OSError] = []
        while not self._over.is_set():
            try:
                answers.append(self._home.submit("sleep", seconds=0.05))
            except OSError as error:  # the web itself is away
                answers.append(error)
            time.sleep(0.05)
        return answers


def test_postgres_restarted_under_load_loses_nothing_and_starts_nothing_twice(
    home: House,
) -> None:
    running = [home.accepted("sleep", seconds=5) for _ in range(2)]
    home.until(running[1], "running")
    with Load(home) as load:
        time.sleep(1)
        database(home).stop()
        time.sleep(2)
        database(home).restart()
        time.sleep(3)

    refused = [a for a in load.answers if isinstance(a, Answer) and a.status != 202]
    assert {a.status for a in refused} == {503}
    assert all(a.headers["Retry-After"] for a in refused)
    assert not [a for a in load.answers if isinstance(a, OSError)]
    ends_after_one_start(home, running + load.accepted)


def test_postgres_crashed_under_load_loses_nothing(home: House) -> None:
    with Load(home) as load:
        time.sleep(1)
        database(home).stop(how=9)
        database(home).restart()
        time.sleep(2)
    ends_after_one_start(home, load.accepted)


def test_web_killed_under_load_loses_nothing_and_starts_nothing_twice(
    home: House,
) -> None:
    running = home.accepted("sleep", seconds=4)
    home.until(running, "running")
    with Load(home) as load:
        time.sleep(1)
        home.kill("web")
        eventually(lambda: home.settle_down() or True, within_s=20)
        time.sleep(1)
    ends_after_one_start(home, [running, *load.accepted])


def test_either_of_two_controls_killed_jobs_go_on(home: House) -> None:
    with home.another("control") as second:
        ids = [home.accepted("sleep", seconds=0.1) for _ in range(20)]
        home.kill("control")
        ids += [home.accepted("sleep", seconds=0.1) for _ in range(20)]
        assert {home.end_of(job_id)["status"] for job_id in ids} == {"succeeded"}
        second.kill()
        second.wait()
        ids = [home.accepted("sleep", seconds=0.1) for _ in range(20)]
        ends_after_one_start(home, ids)


def test_fifty_submits_with_credits_for_one_one_is_accepted(home: House) -> None:
    key = home.new_user(credits="0.01")
    with ThreadPoolExecutor(50) as pool:
        tries = [
            pool.submit(home.submit, "sleep", key=key, seconds=0) for _ in range(50)
        ]
    statuses = sorted(future.result().status for future in tries)
    assert statuses == [202] + [402] * 49
    assert home.account(key=key)["credits"]["available"] == "0.0000"


def test_storage_away_job_is_retried_then_failed_and_released(home: House) -> None:
    job_id = home.accepted("removebg", PHOTO)
    storage = home.stack.folder / "storage"
    away = home.stack.folder / "storage-away"
    os.rename(storage, away)
    storage.write_text("not a folder")
    try:
        job = home.end_of(job_id, within_s=120)
    finally:
        storage.unlink()
        os.rename(away, storage)
    assert (job["status"], job["error"]["code"]) == ("failed", "storage_unavailable")
    assert home.events(job_id).count("requeued") == 2
    assert home.entries(job_id) == RELEASED


def test_cancel_against_finish_one_end_each(home: House) -> None:
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: cancelled_late(home), range(100)))
    assert {end for end, _ in ends} <= {"cancelled", "succeeded"}
    for end, job_id in ends:
        assert home.entries(job_id) == (CHARGED if end == "succeeded" else RELEASED)


def cancelled_late(home: House) -> tuple[str, str]:
    job_id = home.accepted("sleep", seconds=0.02)
    time.sleep(0.03)
    answer = home.call("POST", f"/api/v1/jobs/{job_id}/cancel")
    end = home.end_of(job_id)["status"]
    assert answer.status == (200 if end == "cancelled" else 409)
    return end, job_id


def ends_after_one_start(home: House, ids: list[str]) -> None:
    jobs = [home.end_of(job_id, within_s=60) for job_id in ids]
    assert {(job["status"], job["attempt"]) for job in jobs} == {("succeeded", 1)}
    assert [home.starts(job_id) for job_id in ids] == [1] * len(ids)
    assert [home.entries(job_id) for job_id in ids] == [CHARGED] * len(ids)
