"""`GET /jobs/{id}/events`: what happens to a job, in order, without a gap."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import authentication
from accounts.models import ApiKey
from billing.models import Price
from gpu_worker.contract import Beat, EngineSpec, Progress, Run
from jobs import engines, lifecycle
from jobs.faces.streams import TaskStream
from jobs.following import streaming, waiting
from jobs.models import Job
from tests.jobs.api.conftest import Person, fields_of, person, problem, succeed
from tests.jobs.test_news import within
from tests.jobs.working import TestWorker, lease_ends, success


@dataclass
class Event:
    kind: str = "message"
    number: str = ""
    data: Any = None
    comment: bool = False


def parsed(text: str) -> Iterator[Event]:
    """As the WHATWG's HTML, 9.2.6, says, as far as we make use of it."""
    for block in text.split("\n\n")[:-1]:
        event = Event()
        for line in block.split("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                event.kind = value
            elif field == "id":
                event.number = value
            elif field == "data":
                event.data = json.loads(value)
            else:
                event.comment = True
        yield event


class Reader:
    """A client that reads a stream on a thread of its own."""

    def __init__(self, answer: Any) -> None:
        assert answer.status_code == 200, answer.content
        self.answer = answer
        self._text = ""
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for piece in self.answer.streaming_content:
            self._text += piece.decode()
        self.answer.close()
        connection.close()
        self.ended.set()

    @property
    def all(self) -> list[Event]:
        return list(parsed(self._text))

    @property
    def events(self) -> list[Event]:
        return [one for one in self.all if not one.comment]

    @property
    def kinds(self) -> list[str]:
        return [one.kind for one in self.events]

    def until(self, *kinds: str) -> None:
        assert within(10, lambda: self.kinds == list(kinds)), self.kinds

    def finish(self) -> list[str]:
        assert self.ended.wait(10), self.kinds
        return self.kinds


@pytest.fixture
def job_id(owner: Person) -> str:
    return str(owner.submit()["id"])


@pytest.fixture(autouse=True)
def no_stream_stays_open(world: None) -> Iterator[None]:
    yield
    waiting.close_room()
    assert within(5, lambda: streaming.open_now() == 0)


def follow(who: Person, job_id: str, **headers: str) -> Reader:
    return Reader(who.get(f"jobs/{job_id}/events", **headers))


def progress(worker: TestWorker, run: Run, step: int) -> None:
    said = Progress(step=step, total=9, message="denoising")
    worker.say(beats=(Beat(run=run, progress=said),))


def test_stream_tells_all_that_happens_and_ends_with_the_job(
    owner: Person, job_id: str, worker: TestWorker
) -> None:
    reader = follow(owner, job_id)
    reader.until("queued")
    run = worker.start(UUID(job_id))
    reader.until("queued", "started")
    progress(worker, run, 3)
    reader.until("queued", "started", "progress")
    lifecycle.cancel(UUID(job_id), user_id=_id(owner), test=False)

    assert reader.finish() == ["queued", "started", "progress", "cancelled"]
    queued, started, step, end = reader.events
    assert queued.data["job"]["id"] == job_id
    assert (started.data["attempt"], started.data["type"]) == (1, "started")
    assert step.data | {"job_id": ""} == {
        "job_id": "",
        "status": "running",
        "attempt": 1,
        "step": 3,
        "total": 9,
        "message": "denoising",
        "position": None,
    }
    assert end.data["job"] == owner.get(f"jobs/{job_id}").json()
    assert not step.number
    numbers = [int(one.number) for one in (queued, started, end)]
    assert numbers == sorted(numbers)


def _id(who: Person) -> int:
    assert who.user is not None
    return int(who.user.pk)


def test_answer_says_what_it_is(owner: Person, job_id: str, worker: TestWorker) -> None:
    succeed(worker, job_id)
    reader = follow(owner, job_id)

    assert reader.finish() == ["queued", "started", "succeeded"]
    answer = reader.answer
    assert answer["Content-Type"].startswith("text/event-stream")
    assert "no-cache" in answer["Cache-Control"]
    assert answer["X-Accel-Buffering"] == "no"
    assert answer["X-Credits-Charged"] == "0.0100"
    assert answer["X-Request-Id"]
    assert reader.events[-1].data["job"]["results"][0]["url"]


def test_resumed_stream_goes_on_after_the_last_event(
    owner: Person, job_id: str, worker: TestWorker
) -> None:
    whole = follow(owner, job_id)
    whole.until("queued")
    succeed(worker, job_id)
    whole.finish()
    for index, event in enumerate(whole.events[:-1]):
        rest = follow(owner, job_id, **{"Last-Event-ID": event.number})
        rest.finish()
        missed = [one.number for one in whole.events[index + 1 :]]
        assert [one.number for one in rest.events] == missed


def test_who_has_heard_the_end_is_told_not_to_come_again(
    owner: Person, job_id: str, worker: TestWorker
) -> None:
    succeed(worker, job_id)
    reader = follow(owner, job_id)
    reader.finish()
    owner.delete(f"jobs/{job_id}")
    last = {"Last-Event-ID": reader.events[-1].number}

    assert owner.get(f"jobs/{job_id}/events", **last).status_code == 204


def test_number_that_is_no_event_of_this_job_begins_at_the_beginning(
    owner: Person, job_id: str, worker: TestWorker
) -> None:
    succeed(worker, job_id)
    reader = follow(owner, job_id, **{"Last-Event-ID": "999999999999999999"})

    assert reader.finish() == ["queued", "started", "succeeded"]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 19])
def test_number_that_cannot_be_is_refused(
    owner: Person, job_id: str, number: str
) -> None:
    answer = owner.get(f"jobs/{job_id}/events", **{"Last-Event-ID": number})

    assert fields_of(answer) == {("Last-Event-ID", "format")}


def test_lost_worker_is_told_as_a_new_beginning(
    owner: Person, job_id: str, worker: TestWorker
) -> None:
    reader = follow(owner, job_id)
    worker.start(UUID(job_id))
    reader.until("queued", "started")
    lease_ends(UUID(job_id))
    lifecycle_lose(job_id)
    reader.until("queued", "started", "requeued")
    worker.start(UUID(job_id), attempt=2)
    reader.until("queued", "started", "requeued", "started")

    assert reader.events[2].data["reason"] == "worker_lost"
    assert reader.events[3].data["attempt"] == 2


def lifecycle_lose(job_id: str) -> None:
    from jobs import news
    from jobs.database import turns

    news.announce(turns.take([job_id], lifecycle.lose_many).changed)


def test_behind_a_slow_reader_only_the_newest_progress_is_kept(
    owner: Person, job_id: str, worker: TestWorker
) -> None:
    answer = owner.get(f"jobs/{job_id}/events")
    pieces = iter(answer.streaming_content)
    next(pieces)
    run = worker.start(UUID(job_id))
    for step in range(1, 8):
        progress(worker, run, step)
    time.sleep(0.5)  # the room has heard of them all
    lot = parsed(next(pieces).decode())

    assert [(e.kind, e.data.get("step")) for e in lot] == [
        ("started", None),
        ("progress", 7),
    ]
    answer.close()


def test_position_in_the_queue_is_told(
    owner: Person, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_AFTER_ALL_S", 0.2)
    reader = follow(owner, job_id)
    reader.until("queued")
    Job.objects.filter(pk=job_id).update(position=4)
    reader.until("queued", "progress")

    assert reader.events[1].data["position"] == 4


def test_silence_is_filled_with_comments(
    owner: Person, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert streaming.JobStream.idle_s == 15
    monkeypatch.setattr(streaming.JobStream, "idle_s", 0.1)
    reader = follow(owner, job_id)

    assert within(5, lambda: sum(one.comment for one in reader.all) > 3)
    assert reader.kinds == ["queued"]


def test_job_of_somebody_else_is_not_found(
    owner: Person, stranger: Person, nobody: Person, job_id: str
) -> None:
    tester = person(owner.user, test=True)
    for path in (f"jobs/{job_id}/events", f"/api/generate/stream/{job_id}"):
        problem(stranger.get(path), 404, "not_found")
        problem(tester.get(path), 404, "not_found")
        problem(nobody.get(path), 401, "unauthenticated")
    problem(owner.get("jobs/x/events"), 404, "not_found")


def test_key_needs_the_right_to_read(owner: Person, job_id: str) -> None:
    writer = person(owner.user, scopes=["jobs:write"])

    problem(writer.get(f"jobs/{job_id}/events"), 403, "forbidden")


def test_head_is_answered_at_once(owner: Person, job_id: str) -> None:
    answer = owner.client.head(f"/api/v1/jobs/{job_id}/events", headers=owner.headers)

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/event-stream")
    answer.close()


def test_stream_ends_after_its_longest_time(
    owner: Person, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LONGEST_S", 0.3)

    assert follow(owner, job_id).finish() == ["queued"]


def test_stream_whose_job_is_no_longer_its_owners_ends(
    owner: Person, stranger: Person, job_id: str
) -> None:
    reader = follow(owner, job_id)
    reader.until("queued")
    Job.objects.filter(pk=job_id).update(user_id=_id(stranger))
    waiting.the_room()._heard([job_id])

    assert reader.finish() == ["queued"]


@pytest.mark.parametrize("path", ["jobs/{}/events", "/api/generate/stream/{}"])
def test_stream_of_a_revoked_key_tells_nothing_more(
    owner: Person,
    job_id: str,
    worker: TestWorker,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    reader = Reader(owner.get(path.format(job_id)))
    assert within(5, lambda: len(reader.events) == 1)
    ApiKey.objects.update(revoked_at=timezone.now())
    monkeypatch.setattr(authentication, "REFRESH_S", 0)
    worker.start(UUID(job_id))

    assert len(reader.finish()) == 1


def test_too_many_streams_of_an_account_are_refused_and_of_others_not(
    owner: Person, stranger: Person, job_id: str, settings: Settings
) -> None:
    settings.STREAMS_PER_ACCOUNT = 3
    readers = [follow(owner, job_id) for _ in range(3)]
    answer = owner.get(f"jobs/{job_id}/events")

    problem(answer, 429, "rate_limited")
    assert answer["Retry-After"] == "5"
    theirs = stranger.submit()["id"]
    follow(stranger, theirs).until("queued")
    owner.post(f"jobs/{job_id}/cancel")
    for one in readers:
        one.finish()
    follow(owner, job_id).finish()


def test_race_for_the_last_streams_has_as_many_winners(
    owner: Person, job_id: str, settings: Settings
) -> None:
    settings.STREAMS_PER_ACCOUNT = 5
    job = Job.objects.get(pk=job_id)
    refused: list[int] = []
    barrier = threading.Barrier(20)

    def open_one() -> None:
        feed = streaming.JobStream(job, is_let_in=lambda: True)
        barrier.wait()
        try:
            feed.open(lambda: None)
            feeds.append(feed)
        except streaming.TooManyStreams:
            refused.append(1)

    feeds: list[streaming.JobStream] = []
    together(open_one, 20)

    assert (len(feeds), len(refused)) == (5, 15)
    for one in feeds:
        one.close()


def together(act: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=act) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


# The older shape


def test_older_stream_tells_states_and_the_end_twice(
    owner: Person, job_id: str, worker: TestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TaskStream, "idle_s", 60)  # or a slow machine hears it twice
    reader = Reader(owner.get(f"/api/generate/stream/{job_id}"))
    assert within(5, lambda: len(reader.events) == 1)
    run = worker.start(UUID(job_id))
    assert within(5, lambda: len(reader.events) == 2)
    progress(worker, run, 3)
    assert within(5, lambda: len(reader.events) == 3)
    succeed_run(worker, run)

    assert set(reader.finish()) == {"message"}
    queued, begun, step, end, result = [one.data for one in reader.events]
    assert (queued["status"], begun["status"]) == ("queued", "initializing_a100")
    assert step == {
        "task_id": job_id,
        "status": "processing",
        "progress": round(0.3 + 0.65 * 3 / 9, 4),
        "current_step": 3,
        "total_steps": 9,
        "loading_message": None,
        "error": None,
    }
    assert (end["status"], end["progress"]) == ("done", 1.0)
    assert "result" not in end
    assert result["result"]["content_type"] == "image/png"
    assert all(not one.number for one in reader.events)


def succeed_run(worker: TestWorker, run: Run) -> None:
    assert worker.report(success(run)) == {run}


def test_older_stream_repeats_itself_every_five_seconds(
    owner: Person, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TaskStream.idle_s == 5
    monkeypatch.setattr(TaskStream, "idle_s", 0.1)
    reader = Reader(owner.get(f"/api/generate/stream/{job_id}"))

    assert within(5, lambda: len(reader.events) > 3)
    assert {one.data["status"] for one in reader.events} == {"queued"}


def test_older_stream_of_an_unknown_task_is_404(owner: Person) -> None:
    answer = owner.get("/api/generate/stream/0192")

    assert problem(answer, 404, "not_found")["service"] == "generation"


def test_older_task_that_is_refused_is_a_problem_and_not_a_stream(
    owner: Person,
) -> None:
    answer = owner.post("/api/generate/stream", {"prompt": "x", "angle": "left"})

    assert problem(answer, 422, "validation_error")["service"] == "generation"
    assert streaming.open_now() == 0


def test_task_made_in_the_same_call_twice_is_one_task(
    owner: Person, settings: Settings
) -> None:
    settings.DEFAULT_ENGINES = {"generate": "painter"}
    prompt = {"type": "string"}
    properties = {"prompt": prompt, "steps": {"type": "integer"}}
    schema = {"type": "object", "properties": properties}
    spec = EngineSpec(
        operation="generate",
        engine="painter",
        queue="cpu",
        parameters=schema,
        images=(0, 0),
    )
    engines.announce([spec])
    Price.objects.get_or_create(
        operation="generate", engine="", own_key=False, credits="0.0500"
    )
    answers = [
        owner.post(
            "/api/generate/stream", {"prompt": "x"}, **{"Idempotency-Key": "one"}
        )
        for _ in range(2)
    ]
    first, second = [Reader(one) for one in answers]
    owner.post(f"jobs/{answers[0]['X-Job-Id']}/cancel")

    assert answers[0]["X-Job-Id"] == answers[1]["X-Job-Id"]
    assert answers[1]["Idempotency-Replayed"] == "true"
    first.finish(), second.finish()
    assert first.events[-1].data["status"] == "cancelled"
