"""Redis is away, emptied, frozen, or says everything twice."""

import time

import redis

from nijika.local.demo import PHOTO
from nijika.local.servers import Server
from tests.flows.house import House, eventually

QUEUE = "nijika:cpu"
CHARGED = [("hold", "-0.0100"), ("settle", "0.0000")]


def broker(home: House) -> Server:
    assert home.stack.redis is not None
    return home.stack.redis


def test_redis_down_at_submit_job_is_accepted_and_runs_when_it_is_back(
    home: House,
) -> None:
    broker(home).stop()
    answers = [home.submit("removebg", PHOTO) for _ in range(5)]
    time.sleep(2)
    broker(home).restart()
    assert [answer.status for answer in answers] == [202] * 5
    assert max(answer.seconds for answer in answers) < 1
    for answer in answers:
        job = home.end_of(answer.body["id"])
        assert (job["status"], job["attempt"]) == ("succeeded", 1)


def test_redis_emptied_queued_and_running_jobs_end_after_one_start(
    home: House,
) -> None:
    ids = [home.accepted("sleep", seconds=1) for _ in range(10)]
    home.until(ids[0], "running")
    redis.from_url(home.stack.environment["REDIS_URL"]).flushall()
    ends_after_one_start(home, ids)


def test_redis_frozen_no_running_job_is_disturbed_and_submits_answer(
    home: House,
) -> None:
    ids = [home.accepted("sleep", seconds=4) for _ in range(4)]
    home.until(ids[0], "running")
    with home.frozen(broker(home)):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            answer = home.submit("sleep", seconds=0)
            assert (answer.status, answer.seconds < 1) == (202, True)
            ids.append(answer.body["id"])
            time.sleep(1)
    ends_after_one_start(home, ids)


def test_every_message_delivered_twice_each_job_runs_once(home: House) -> None:
    ids, messages = jobs_caught_on_their_way(home, deliver_again=True)
    assert messages
    ends_after_one_start(home, ids)


def test_yesterdays_messages_delivered_again_change_nothing(home: House) -> None:
    ids, messages = jobs_caught_on_their_way(home)
    ends_after_one_start(home, ids)
    deliver(home, messages)
    eventually(lambda: not queue(home).llen(QUEUE) or None, within_s=10)
    # A job that starts anew would do so with the next link call.
    assert home.end_of(home.accepted("sleep", seconds=0))["status"] == "succeeded"
    ends_after_one_start(home, ids)


def jobs_caught_on_their_way(
    home: House, *, deliver_again: bool = False
) -> tuple[list[str], list[bytes]]:
    """Jobs, and their messages as they lay in the broker while the worker stood."""
    with home.standing("worker"):
        ids = [home.accepted("sleep", seconds=0.2) for _ in range(6)]
        caught = eventually(lambda: messages_if(home, at_least=3), within_s=5)
        if deliver_again:
            deliver(home, caught)
    return ids, caught


def messages_if(home: House, *, at_least: int) -> list[bytes] | None:
    found: list[bytes] = queue(home).lrange(QUEUE, 0, -1)
    return found if len(found) >= at_least else None


def deliver(home: House, messages: list[bytes]) -> None:
    queue(home).lpush(QUEUE, *messages)


def queue(home: House) -> redis.Redis:
    return redis.from_url(home.stack.environment["REDIS_URL"])


def ends_after_one_start(home: House, ids: list[str]) -> None:
    jobs = [home.end_of(job_id, within_s=60) for job_id in ids]
    assert {(job["status"], job["attempt"]) for job in jobs} == {("succeeded", 1)}
    assert [home.starts(job_id) for job_id in ids] == [1] * len(ids)
    assert [home.entries(job_id) for job_id in ids] == [CHARGED] * len(ids)


def test_redis_restarted_the_worker_and_its_runs_go_on(home: House) -> None:
    """Somebody kills it; what ran meanwhile is acknowledged to a connection that is no
    more."""
    worker = home.pid("worker")
    running = [home.accepted("sleep", seconds=4) for _ in range(2)]
    home.until(running[1], "running")
    broker(home).process.kill()
    for job_id in (*running, home.accepted("sleep", seconds=0.1)):
        job = home.end_of(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert home.pid("worker") == worker
