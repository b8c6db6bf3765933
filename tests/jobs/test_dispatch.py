"""Which jobs go to the workers, in which messages, and what becomes of lost ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from gpu_worker import stages
from gpu_worker.contract import Step, to_json
from jobs import dispatch, lifecycle
from jobs.database import unpooled
from jobs.dispatch import Dispatcher
from jobs.dispatching import packing, picking
from jobs.dispatching.picking import Candidate
from jobs.models import Engine, EnginePace, Job
from nijika.celery import Publisher
from nijika.local import servers
from tests.jobs.queueing import Broker, person, queued, start, within, worker
from tests.jobs.submitting import locked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings.REPUBLISH_AFTER_S = 0.8
    settings.REPUBLISH_BACKOFF_S = 2.0
    settings.POLL_S = 0.05


def turns(dispatcher: Dispatcher, seconds: float) -> int:
    """Let the dispatcher work for a while; the number of messages it published."""
    end, published = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        published += dispatcher.turn()
        time.sleep(0.02)
    return published


def batching(size: int) -> None:
    Engine.objects.create(
        operation="removebg", name="classical", queue="cpu", spec={"batch_size": size}
    )


# The window


def test_lone_job_with_a_worker_is_published_at_once(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    [job] = queued(person("owner"))
    assert dispatcher.turn() == 1
    [message] = broker.messages()
    [assignment] = message.assignments
    assert (assignment.job_id, assignment.attempt) == (str(job.pk), 1)
    assert assignment.inputs[0].location.startswith("file:///")
    job.refresh_from_db()
    assert (job.dispatches, str(job.message)) == (1, message.id)


def test_steps_that_follow_travel_in_their_order(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    steps = [
        Step(operation="crop", parameters={"width": 5}),
        Step(operation="shadow", parameters={}),
    ]
    queued(person("owner"), then=[to_json(step) for step in steps])
    dispatcher.turn()
    [message] = broker.messages()
    assert list(message.assignments[0].then) == steps


def test_job_without_a_live_worker_waits(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(silent_s=60)
    worker("t4-1", queue="t4")
    [job] = queued(person("owner"))
    assert dispatcher.turn() == 0
    job.refresh_from_db()
    assert (broker.messages(), job.dispatched_at) == ([], None)


def test_window_is_two_messages_per_slot_and_one_per_worker(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=2)
    worker("cpu-2", slots=1)
    queued(person("owner"), 20)
    turns(dispatcher, 0.2)
    assert len(broker.messages()) == 5 + 3


def test_job_that_waits_alone_is_not_picked_though_others_run(
    dispatcher: Dispatcher, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "pick", _never)
    worker()
    owner = person("owner")
    jobs = [queued(owner)[0]]
    assert dispatcher.turn() == 1
    jobs += queued(person("other"))
    assert dispatcher.turn() == 1
    assert broker.job_ids() == [job.pk for job in jobs]


def test_nothing_is_picked_for_a_window_that_is_full(
    dispatcher: Dispatcher, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker()
    queued(person("owner"), 9)
    turns(dispatcher, 0.1)
    taken = broker.job_ids()
    monkeypatch.setattr(picking, "pick", _never)
    assert dispatcher.turn() == 0
    assert broker.job_ids() == taken


def _never(*_: object) -> list[Candidate]:
    raise AssertionError("a pick")


def test_runs_that_are_long_are_sent_one_per_slot_and_one_more(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=3)
    batching(1)
    EnginePace.objects.create(
        operation="removebg", engine="classical", size_mp=1, run_ms=9000, share_ms=9000
    )
    queued(person("owner"), 20)
    turns(dispatcher, 0.2)
    assert len(broker.messages()) == 4


def test_worker_that_still_loads_is_sent_nothing(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=0)
    queued(person("owner"))
    assert turns(dispatcher, 0.1) == 0


def test_assignment_tells_owners_apart(dispatcher: Dispatcher, broker: Broker) -> None:
    worker(slots=2)
    users = [person("one"), person("two")]
    for user in users:
        queued(user)
    turns(dispatcher, 0.1)
    told = {one.owner for message in broker.messages() for one in message.assignments}
    assert told == {str(user.pk) for user in users}


def test_window_opens_when_a_job_ends(dispatcher: Dispatcher, broker: Broker) -> None:
    worker()
    owner = person("owner")
    jobs = queued(owner, 5)
    turns(dispatcher, 0.1)
    start(jobs[0])
    assert dispatcher.turn() == 0
    lifecycle.cancel(jobs[0].pk, user_id=owner.pk, test=False)
    assert dispatcher.turn() == 1
    assert broker.job_ids() == [job.pk for job in jobs[:4]]


def test_jobs_of_a_worker_that_is_gone_leave_room_for_the_living(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker("gone")
    jobs = queued(person("owner"), 6)
    turns(dispatcher, 0.1)
    for job in jobs[:3]:
        start(job, "gone")
    worker("gone", silent_s=60)
    worker("alive")
    turns(dispatcher, 0.1)
    assert broker.job_ids() == [job.pk for job in jobs]


def test_job_that_waits_for_inputs_or_for_its_retry_is_left_alone(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    fetching, delayed, ready = queued(person("owner"), 3)
    Job.objects.filter(pk=fetching.pk).update(waiting_fetches=1)
    Job.objects.filter(pk=delayed.pk).update(not_before=Now() + timedelta(hours=1))
    dispatcher.turn()
    assert broker.job_ids() == [ready.pk]


def test_job_locked_by_another_transaction_delays_nobody(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    first, second = queued(person("owner"), 2)
    with locked("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [first.pk]):
        began = time.monotonic()
        dispatcher.turn()
        assert time.monotonic() - began < 1.5  # lock_timeout is 2 s
    assert broker.job_ids() == [second.pk]
    dispatcher.turn()
    assert broker.job_ids() == [second.pk, first.pk]


def test_lone_job_that_another_transaction_has_waits_without_being_waited_for(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    [job] = queued(person("owner"), 1)
    with locked("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [job.pk]):
        began = time.monotonic()
        assert dispatcher.turn() == 0
        assert time.monotonic() - began < 1.5  # lock_timeout is 2 s
    assert dispatcher.turn() == 1
    assert broker.job_ids() == [job.pk]


# Fairness


def test_thousand_jobs_of_one_user_delay_anothers_by_what_is_in_flight(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    many = person("many", "20")
    jobs = queued(many, 1000)
    turns(dispatcher, 0.1)
    [lone] = queued(person("few"))
    lifecycle.cancel(jobs[0].pk, user_id=many.pk, test=False)
    dispatcher.turn()
    assert broker.job_ids() == [*(job.pk for job in jobs[:3]), lone.pk]


WAITING = [
    # How many jobs each user has waiting, and in flight; slots, and the batch size.
    ([9], [0], 8, 8),
    ([1, 1, 1], [0, 0, 0], 8, 8),
    ([30, 1, 1, 1], [0, 0, 0, 0], 1, 8),
    ([30, 2, 5, 1], [3, 0, 1, 0], 8, 8),
    ([4, 30, 30], [0, 2, 3], 3, 8),
    ([1, 2, 3, 4, 5, 6, 7, 30], [0, 1, 0, 1, 0, 2, 0, 1], 8, 4),
    # The second look finds others that run out.
    ([1, 4, 7, 8, 30, 30], [0, 0, 0, 0, 0, 0], 2, 8),
    ([1, 2, 4, 8, 16, 30], [0, 0, 0, 0, 0, 0], 1, 16),
    # More users than there is room for.
    ([3] * 30, [0, 1] * 15, 8, 8),
    ([2, 1] * 15, [1, 0] * 15, 8, 16),
]


@pytest.mark.parametrize(("waiting", "in_flight", "slots", "size"), WAITING)
def test_jobs_whose_turn_it_is_are_those_that_a_look_at_all_would_choose(
    waiting: list[int], in_flight: list[int], slots: int, size: int
) -> None:
    batching(size)
    worker(slots=slots)
    users = [person(f"user{number}") for number in range(len(waiting))]
    for user, count, runs in zip(users, waiting, in_flight, strict=True):
        made = queued(user, count + runs)
        for job in made[:runs]:
            start(job)
    turns = []
    for user, runs in zip(users, in_flight, strict=True):
        jobs = Job.objects.filter(user=user, status="queued").order_by("id")
        turns += [(runs + n, job.pk) for n, job in enumerate(jobs, start=1)]
    with unpooled.connect("test") as session:
        found = picking.pick(session, "cpu")
    room = (2 * slots + 1 - sum(in_flight)) * size
    assert [one.id for one in found] == [pk for _, pk in sorted(turns)[:room]]
    assert len(found) == min(room, sum(waiting)) > 0


def test_users_take_turns_oldest_first(dispatcher: Dispatcher, broker: Broker) -> None:
    worker(slots=3)  # a window of 7
    first = queued(person("first"), 5)
    second = queued(person("second"), 2)
    third = queued(person("third"), 5)
    dispatcher.turn()
    order = [first[0], second[0], third[0], first[1], second[1], third[1], first[2]]
    assert broker.job_ids() == [job.pk for job in order]


# Batches


def candidates(count: int, *, room: int, size: int = 8, **more: Any) -> list[Candidate]:
    values: dict[str, Any] = {
        "operation": "o",
        "engine": "e",
        "alone": False,
        "window": 9,
    } | more
    return [
        Candidate(id=UUID(int=n), room=room, batch_size=size, **values)
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("waiting", "room", "size", "sizes"),
    [
        (3, 3, 8, [1, 1, 1]),  # nothing waits, so nothing is gained by waiting
        (7, 3, 8, [3, 3, 1]),
        (40, 2, 8, [8, 8]),
        (9, 3, 1, [1, 1, 1]),
        (0, 3, 8, []),
    ],
)
def test_pack_fills_messages_evenly_when_more_wait_than_fit(
    waiting: int, room: int, size: int, sizes: list[int]
) -> None:
    packed = packing.pack(candidates(waiting, room=room, size=size))
    assert [len(message) for message in packed] == sizes


def test_pack_never_mixes_engines_nor_shares_a_lone_jobs_message() -> None:
    some = candidates(2, room=3) + candidates(2, room=3, engine="other")
    [lone] = candidates(1, room=3, alone=True)
    lone = replace(lone, id=UUID(int=99))
    packed = packing.pack([some[0], lone, *some[1:]])
    assert [len(message) for message in packed] == [2, 1, 2]
    assert packed[1] == [lone.id]


# Short jobs of engines that take one at a time


@pytest.mark.parametrize(
    ("waiting", "share_ms", "sizes"),
    [
        (3, 1, [1, 1, 1]),  # nothing waits, so nothing is gained by waiting
        (7, 1, [3, 3, 1]),
        (60, 1, [16, 16, 16]),
        (60, 0, [16, 16, 16]),  # times are rounded
        (60, 10, [5, 5, 5]),
        (60, 26, [1, 1, 1]),
        (60, None, [1, 1, 1]),  # nobody knows how long they take
    ],
)
def test_short_jobs_share_a_message_up_to_a_moments_work(
    settings: Settings, waiting: int, share_ms: int | None, sizes: list[int]
) -> None:
    settings.MESSAGE_WORK_S = 0.05
    some = candidates(waiting, room=3, size=1, share_ms=share_ms)
    assert [len(message) for message in packing.pack(some)] == sizes


def test_short_jobs_of_several_engines_share_and_others_do_not() -> None:
    short = candidates(4, room=3, size=1, share_ms=1)
    other = candidates(4, room=3, size=1, share_ms=1, engine="other")
    [alone] = candidates(1, room=3, size=1, share_ms=1, alone=True)
    [long] = candidates(1, room=3, size=1, share_ms=60)
    packed = packing.pack([short[0], alone, long, *other[:2], *short[1:]])
    assert [len(message) for message in packed] == [3, 1, 1]


def measured(share_ms: int, *, size_mp: int = 1) -> None:
    EnginePace.objects.create(
        operation="removebg",
        engine="classical",
        size_mp=size_mp,
        run_ms=share_ms,
        share_ms=share_ms,
    )


def test_deep_queue_of_short_jobs_travels_together(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    batching(1)
    measured(10)
    jobs = queued(person("owner"), 20)
    dispatcher.turn()
    assert [len(message.assignments) for message in broker.messages()] == [5, 5, 5]
    assert broker.job_ids() == [job.pk for job in jobs[:15]]


def test_jobs_of_a_size_that_nobody_measured_travel_alone(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    batching(1)
    measured(1, size_mp=4)
    queued(person("owner"), 20)
    dispatcher.turn()
    assert [len(message.assignments) for message in broker.messages()] == [1, 1, 1]


def test_short_jobs_that_met_a_dead_worker_travel_alone(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=2)
    batching(1)
    measured(1)
    jobs = queued(person("owner"), 20)
    Job.objects.filter(pk__in=[jobs[1].pk, jobs[2].pk]).update(alone=True, losses=1)
    dispatcher.turn()
    lone = [m for m in broker.messages() if any(a.alone for a in m.assignments)]
    assert [[one.job_id for one in message.assignments] for message in lone] == [
        [str(jobs[1].pk)],
        [str(jobs[2].pk)],
    ]


def test_users_take_turns_also_within_messages(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    batching(1)
    measured(10)
    many = queued(person("many"), 40)
    few = queued(person("few"), 3)
    dispatcher.turn()
    order = [job.pk for pair in zip(many, few, strict=False) for job in pair]
    assert broker.job_ids() == order + [job.pk for job in many[3:12]]


@pytest.mark.parametrize("size", [(10, 10), (1000, 1000), (2001, 2001), (9000, 9000)])
@pytest.mark.parametrize("asked", [{}, {"width": 1500, "height": 900}, {"width": 1.5}])
def test_size_of_a_job_is_that_which_its_worker_measures(
    size: tuple[int, int], asked: dict[str, Any]
) -> None:
    width_px, height_px = size
    [job] = queued(person("owner"))
    [image] = job.inputs
    image |= {"width_px": width_px, "height_px": height_px}
    for inputs in ([], [image]):
        Job.objects.filter(pk=job.pk).update(inputs=inputs, parameters=asked)
        with unpooled.connect("test") as session:
            [taken] = picking.take(session, [[job.pk]])
            [[size_mp]] = session.execute(
                f"SELECT {picking._SIZE_MP} FROM"
                f" (SELECT {picking._PIXELS} AS pixels FROM jobs_job) AS job"
            ).fetchall()
            picking.give_back(session, [taken])
        assert size_mp == stages.size_mp(packing.assignment(taken))


def test_deep_queue_of_a_batching_engine_travels_in_batches(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    batching(4)
    queued(person("owner"), 20)
    dispatcher.turn()
    assert [len(message.assignments) for message in broker.messages()] == [4, 4, 4]


def test_job_that_met_a_dead_worker_travels_alone(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    batching(4)
    jobs = queued(person("owner"), 20)
    Job.objects.filter(pk=jobs[1].pk).update(alone=True, losses=1)
    dispatcher.turn()
    [mine] = [m for m in broker.messages() if any(a.alone for a in m.assignments)]
    assert [one.job_id for one in mine.assignments] == [str(jobs[1].pk)]


# What the broker loses


def test_message_lost_by_the_broker_is_published_again_once(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    [job] = queued(person("owner"))
    dispatcher.turn()
    broker.clear()  # as BRPOP does when its reader dies, or FLUSHALL
    assert turns(dispatcher, 0.3) == 0
    assert turns(dispatcher, 1.7) == 1
    assert broker.job_ids() == [job.pk]


def test_unclaimed_message_is_not_lost_at_the_first_look(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    """A worker's word is up to two seconds old: it may have claimed meanwhile."""
    worker(free=0)
    [job] = queued(person("owner"))
    dispatcher.turn()
    assert turns(dispatcher, 1) == 0
    worker(free=1)
    time.sleep(0.1)
    assert dispatcher.turn() == 0
    start(job)
    assert turns(dispatcher, 0.3) == 0


def test_unclaimed_message_is_published_with_doubling_pauses(
    dispatcher: Dispatcher, broker: Broker, settings: Settings
) -> None:
    settings.REPUBLISH_AFTER_S, settings.REPUBLISH_BACKOFF_S = 0.1, 0.4
    worker(slots=4)
    queued(person("owner"))
    assert turns(dispatcher, 2.5) == 4  # at 0, 0.1, then 0.4 and 0.8 later


def test_unclaimed_message_is_left_alone_while_no_slot_is_free(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(free=0)
    queued(person("owner"))
    assert turns(dispatcher, 1.6) == 1


def test_claimed_job_is_never_published_again(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    [job] = queued(person("owner"))
    dispatcher.turn()
    start(job)
    assert turns(dispatcher, 1.6) == 0


def test_batch_lost_by_the_broker_comes_again_without_what_was_claimed(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    batching(8)
    jobs = queued(person("owner"), 24)
    dispatcher.turn()
    broker.clear()
    start(jobs[0])

    def all_are_back() -> bool:
        dispatcher.turn()
        return len(broker.messages()) >= 3

    assert within(20, all_are_back)
    assert [len(message.assignments) for message in broker.messages()] == [7, 8, 8]


def test_copies_in_the_broker_are_bounded(
    dispatcher: Dispatcher, broker: Broker, settings: Settings
) -> None:
    settings.REPUBLISH_AFTER_S = settings.REPUBLISH_BACKOFF_S = 0.01
    worker(slots=1)
    owner = person("owner")
    for _ in range(20):  # leftovers of cancelled jobs, and copies of waiting ones
        for job in queued(owner, 3):
            dispatcher.turn()
            lifecycle.cancel(job.pk, user_id=owner.pk, test=False)
    queued(owner, 3)
    turns(dispatcher, 0.5)
    assert len(broker.messages()) <= 2 * 3 + 3


def test_lone_job_waits_in_the_database_while_the_broker_is_full(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=1)
    owner = person("owner")
    for _ in range(10):  # leftovers of jobs that came one by one
        [job] = queued(owner, 1)
        dispatcher.turn()
        lifecycle.cancel(job.pk, user_id=owner.pk, test=False)
    assert len(broker.messages()) == 2 * 3
    [last] = queued(owner, 1)
    assert dispatcher.turn() == 0
    last.refresh_from_db()
    assert (last.status, last.dispatched_at) == ("queued", None)


def test_row_that_cannot_become_an_assignment_stops_nobody(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    bad, good = queued(person("owner"), 2)
    Job.objects.filter(pk=bad.pk).update(inputs=[{"role": "image", "key": "../up"}])
    dispatcher.turn()
    assert broker.job_ids() == [good.pk]
    bad.refresh_from_db()
    assert (bad.status, bad.dispatched_at) == ("queued", None)


# A broker that is gone


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[servers.Server]:
    server = servers.start_redis(tmp_path / "redis")
    yield server
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
def own_dispatcher(redis_server: servers.Server) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher("cpu", Publisher(redis_server.url))
    yield dispatcher
    dispatcher.close()


def test_lone_job_taken_for_a_broker_that_is_gone_waits_again(
    own_dispatcher: Dispatcher, redis_server: servers.Server
) -> None:
    worker()
    turns(own_dispatcher, 0.1)
    redis_server.stop(how=signal.SIGKILL)
    [job] = queued(person("owner"), 1)
    assert own_dispatcher.turn() == 0
    job.refresh_from_db()
    assert (job.dispatched_at, job.dispatches, job.message) == (None, 0, None)


def test_redis_down_keeps_jobs_waiting_and_sends_each_once_when_back(
    own_dispatcher: Dispatcher, redis_server: servers.Server, settings: Settings
) -> None:
    settings.REPUBLISH_AFTER_S = 10
    worker(slots=4)
    turns(own_dispatcher, 0.1)
    redis_server.stop(how=signal.SIGKILL)
    jobs = queued(person("owner"), 4)
    assert turns(own_dispatcher, 1) == 0
    assert not Job.objects.filter(dispatched_at__isnull=False).exists()
    redis_server.restart()
    assert turns(own_dispatcher, 2) == 4
    assert Broker(redis_server.url).job_ids() == [job.pk for job in jobs]


def test_redis_frozen_in_the_middle_loses_and_multiplies_nothing(
    own_dispatcher: Dispatcher, redis_server: servers.Server
) -> None:
    worker(slots=8)
    owner = person("owner")
    jobs = queued(owner, 2)
    turns(own_dispatcher, 0.1)
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    jobs += queued(owner, 2)
    turns(own_dispatcher, 5)
    os.kill(redis_server.process.pid, signal.SIGCONT)
    began = time.monotonic()
    seen = Broker(redis_server.url)
    own = own_dispatcher
    assert within(10, lambda: own.turn() or set(seen.job_ids()) >= {j.pk for j in jobs})
    assert time.monotonic() - began < 3
    turns(own_dispatcher, 1)
    assert len(seen.messages()) <= 2 * len(jobs)


def test_publish_that_fails_midway_gives_its_rows_back(
    redis_server: servers.Server,
) -> None:
    class Interrupted(Publisher):
        """Redis dies between the look at its depth and the second message."""

        published = 0

        def publish(self, *message: Any, **how: Any) -> bool:
            if self.published == 1:
                redis_server.stop(how=signal.SIGKILL)
            self.published += 1
            return super().publish(*message, **how)

    dispatcher = Dispatcher("cpu", Interrupted(redis_server.url))
    worker(slots=2)
    jobs = queued(person("owner"), 3)
    assert dispatcher.turn() == 0
    dispatched = Job.objects.filter(dispatched_at__isnull=False)
    assert [job.pk for job in dispatched] == [jobs[0].pk]
    dispatcher.close()


# Two copies


def test_two_dispatchers_only_one_is_active_and_the_other_takes_over(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker(slots=8)
    other = Dispatcher("cpu")
    dispatcher.turn()
    assert dispatch.active(["cpu", "t4"]) == {"cpu"}
    queued(person("owner"), 4)
    assert (other.turn(), dispatcher.turn()) == (0, 4)
    dispatcher.close()
    queued(person("another"), 1)
    assert within(10, other.turn)
    other.close()
    assert within(10, lambda: not dispatch.active(["cpu"]))


def test_dispatcher_whose_session_is_ended_starts_afresh(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    dispatcher.turn()
    with unpooled.connect("test") as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'nijika dispatch cpu'"
            " AND datname = current_database()"
        )
    queued(person("owner"))
    with pytest.raises(psycopg.OperationalError):
        dispatcher.turn()
    assert within(10, dispatcher.turn)


def test_dispatcher_that_freezes_is_replaced(
    dispatcher: Dispatcher, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpooled, "FROZEN_S", 3)
    worker()
    dispatcher.turn()  # and then it never says a word again
    queued(person("owner"))
    other = Dispatcher("cpu")
    assert within(20, other.turn)
    other.close()


def test_rows_taken_twice_at_once_go_out_once(
    dispatcher: Dispatcher, broker: Broker
) -> None:
    worker()
    jobs = queued(person("owner"), 2)
    with unpooled.connect("one") as one, unpooled.connect("other") as other:
        both = packing.pack(picking.pick(one, "cpu"))
        assert both == packing.pack(picking.pick(other, "cpu"))
        taken = picking.take(one, both) + picking.take(other, both)
    assert [row.id for row in taken] == [job.pk for job in jobs]


def test_lone_row_picked_twice_is_taken_once() -> None:
    worker()
    [job] = queued(person("owner"))
    with unpooled.connect("one") as one, unpooled.connect("other") as other:
        first, second = (picking.take_lone(s, "cpu") for s in (one, other))
    assert first.taken and first.taken.id == job.pk
    assert (second.waiting, second.taken) == (0, None)
