"""How the tests of control make people, jobs and workers, and look at the broker."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import redis
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import User
from gpu_worker.contract import Message, Run, from_json
from jobs import lifecycle
from jobs.models import Job, Worker
from jobs.submission import Accepted, submit_many
from tests.jobs.submitting import person, wish

__all__ = ["person"]


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def queued(user: User, count: int = 1, **changes: Any) -> list[Job]:
    """Jobs that wait, oldest first."""
    answers = submit_many([wish(user, **changes) for _ in range(count)])
    assert all(isinstance(one, Accepted) for one in answers), answers
    ids = [one.job.id for one in answers if isinstance(one, Accepted)]
    return list(Job.objects.filter(id__in=ids).order_by("id"))


def worker(
    name: str = "cpu-1",
    *,
    queue: str = "cpu",
    slots: int = 1,
    free: int | None = None,
    silent_s: float = 0,
) -> Worker:
    """A worker as its last link call, `silent_s` ago, described it."""
    last = Now() - timedelta(seconds=silent_s)
    values = {"queue": queue, "slots": slots, "seen_at": last}
    values |= {"free_slots": slots if free is None else free, "incarnation": 1}
    return Worker.objects.update_or_create(name=name, defaults=values)[0]


def start(job: Job, name: str = "cpu-1") -> Run:
    """A worker claims the job and begins."""
    run = Run(job_id=str(job.pk), attempt=job.attempt + 1, claim=uuid4().hex)
    with transaction.atomic():
        assert lifecycle.start_many(name, 1, [run]) == {run}
    return run


class Broker:
    """What lies in Redis, oldest first."""

    def __init__(self, url: str = settings.BROKER_URL) -> None:
        self.client = redis.Redis.from_url(url)

    def clear(self) -> None:
        self.client.flushall()

    def messages(self, queue: str = "cpu") -> list[Message]:
        texts: Sequence[bytes] = self.client.lrange(  # type: ignore[assignment]
            settings.BROKER_PREFIX + queue, 0, -1
        )
        return [_message(text) for text in reversed(texts)]

    def job_ids(self, queue: str = "cpu") -> list[UUID]:
        return [UUID(one.job_id) for m in self.messages(queue) for one in m.assignments]


def _message(text: bytes) -> Message:
    body = json.loads(base64.b64decode(json.loads(text)["body"]))
    return from_json(Message, body[0][0])
