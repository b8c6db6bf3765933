"""What receivers do to us, and what they get in the end: real HTTP on loopback."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings
from standardwebhooks import Webhook, WebhookVerificationError

from accounts.models import User
from gpu_worker import fetch
from gpu_worker.fetch import Network
from jobs import lifecycle, news
from jobs.models import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookLane,
)
from jobs.webhooks import deliveries, delivering, endpoints, events, recording
from jobs.webhooks.deliveries import Range
from jobs.webhooks.delivering import Deliverer
from jobs.webhooks.endpoints import Change, Owner
from tests.jobs.test_news import within
from tests.jobs.webhooks import receiving
from tests.jobs.webhooks.conftest import Turns, endpoint_of
from tests.jobs.webhooks.receiving import Receiver, first, receiver, status
from tests.jobs.working import TestWorker, failure, run_of, submit, success, user_with

URL = "webhook_url"


def succeeded(worker: TestWorker, user: User, **changes: object) -> UUID:
    [job_id] = submit(user, **changes)
    worker.report(success(worker.start(job_id)))
    return job_id


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def is_over() -> bool:
    return not WebhookDelivery.objects.filter(status="pending").exists()


def log() -> list[int | None]:
    rows = WebhookAttempt.objects.order_by("delivery", "number")
    return list(rows.values_list("status", flat=True))


def owner_of(user: User, *, test: bool = False) -> Owner:
    return Owner(user_id=user.pk, test=test)


# What is told, and to whom


def test_endpoint_is_told_what_it_asked_for_and_the_library_verifies_it(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    endpoint = endpoint_of(owner, here.url, events.STARTED, events.SUCCEEDED)
    job_id = succeeded(worker, owner)
    turns(is_over)
    told = {hook.said["type"]: hook for hook in here.hooks}
    assert set(told) == {"job.started", "job.succeeded"} and len(here.hooks) == 2
    said = told["job.succeeded"].said
    assert said["data"]["id"] == str(job_id) and said["data"]["status"] == "succeeded"
    assert said["data"]["results"][0]["url"].startswith("https://nijika.example/files")
    secret = Webhook(endpoints.secret_of(endpoint))
    for hook in here.hooks:
        assert secret.verify(hook.body, hook.headers) == hook.said
        with pytest.raises(WebhookVerificationError):
            secret.verify(hook.body + b" ", hook.headers)
    assert len(set(here.ids)) == 2


def test_endpoints_of_others_of_the_other_mode_and_of_other_types_hear_nothing(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    endpoint_of(user_with("5"), here.url)
    endpoint_of(owner, here.url, test=True)
    endpoint_of(owner, here.url, events.FAILED)
    succeeded(worker, owner)
    assert not WebhookDelivery.objects.exists()


def test_address_of_a_job_is_told_its_end_signed_by_the_accounts_secret(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    job_id = succeeded(worker, owner, webhook_url=here.url + "?for=me")
    turns(is_over)
    [hook] = here.hooks
    assert hook.path == "/hook?for=me"
    assert (hook.said["type"], hook.said["data"]["id"]) == (
        "job.succeeded",
        str(job_id),
    )
    secret = endpoints.account_secret(owner_of(owner)).secret
    Webhook(secret).verify(hook.body, hook.headers)
    other = endpoints.account_secret(owner_of(owner, test=True)).secret
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(hook.body, hook.headers)


def test_failures_and_cancellations_are_told(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    failing, cancelled = submit(owner, 2, webhook_url=here.url)
    worker.report(failure(worker.start(failing)))
    lifecycle.cancel(cancelled, user_id=owner.pk, test=False)
    turns(is_over)
    told = {hook.said["data"]["id"]: hook.said["type"] for hook in here.hooks}
    assert told == {str(failing): "job.failed", str(cancelled): "job.cancelled"}


def test_requeued_job_tells_only_its_start_and_its_one_end(
    owner: User, worker: TestWorker, settings: Settings
) -> None:
    settings.RETRY_BACKOFF_S = 0
    endpoint_of(owner, "https://example.com/", *events.TYPES)
    [job_id] = submit(owner)
    worker.report(failure(worker.start(job_id), retryable=True))
    worker.report(success(worker.start(job_id, attempt=2)))
    told = WebhookDelivery.objects.order_by("created_at").values_list("type", flat=True)
    assert list(told) == ["job.started", "job.started", "job.succeeded"]


def test_transition_that_is_undone_tells_nobody(
    owner: User, worker: TestWorker
) -> None:
    endpoint_of(owner, "https://example.com/")
    [job_id] = submit(owner, webhook_url="https://example.com/")
    run = worker.start(job_id)
    with transaction.atomic():
        assert lifecycle.finish_many([success(run)], wait=True) == {str(job_id)}
        assert WebhookDelivery.objects.count() == 2
        transaction.set_rollback(True)
    assert not WebhookDelivery.objects.exists()
    worker.report(success(run))
    assert WebhookDelivery.objects.count() == 2
    assert len({d.event_id for d in WebhookDelivery.objects.all()}) == 1


def test_end_wakes_who_delivers_where_somebody_is_told(
    owner: User, worker: TestWorker
) -> None:
    heard: list[UUID] = []
    listener = news.Listener({news.ENDS: lambda words: heard.extend(news.ids(words))})
    listener.start()
    assert within(10, lambda: listener.is_up)
    [unnoticed] = submit(owner)
    succeeding, failing, cancelled = submit(owner, 3, webhook_url="https://example.com")

    worker.report(success(worker.start(unnoticed)))
    worker.report(success(worker.start(succeeding)))
    worker.report(failure(worker.start(failing)))
    lifecycle.cancel(cancelled, user_id=owner.pk, test=False)

    assert within(10, lambda: len(heard) >= 3)
    assert sorted(heard) == sorted([succeeding, failing, cancelled])
    listener.stop()


def test_event_of_another_kind_is_told_in_its_own_words(
    owner: User, here: Receiver, turns: Turns
) -> None:
    endpoint_of(owner, here.url, events.CREDITS_LOW)
    endpoint_of(owner, here.url, events.SUCCEEDED)
    recording.record(events.CREDITS_LOW, user_id=owner.pk, test=False, data={"a": "b"})
    turns(is_over)
    [hook] = here.hooks
    assert (hook.said["type"], hook.said["data"]) == ("credits.low", {"a": "b"})


def test_event_that_cannot_be_written_stops_no_other(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    endpoint_of(owner, here.url, events.BATCH_COMPLETED)
    nonsense = {"batch": "none"}
    recording.record(
        events.BATCH_COMPLETED, user_id=owner.pk, test=False, data=nonsense
    )
    job_id = succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    assert [hook.said["data"]["id"] for hook in here.hooks] == [str(job_id)]
    rows = WebhookDelivery.objects.order_by("type").values_list("status", "attempts")
    assert list(rows) == [("failed", 10), ("delivered", 1)]


def test_low_credits_are_told_once_until_there_was_enough_again(
    here: Receiver, turns: Turns, deliverer: Deliverer, settings: Settings
) -> None:
    settings.CREDITS_LOW = "5"
    user = user_with("5.01")
    endpoint_of(user, here.url, events.CREDITS_LOW)
    for _ in range(3):
        deliverer.turn()
    assert not WebhookDelivery.objects.exists()
    submit(user, 2)
    turns(lambda: here.hooks)
    for _ in range(8):
        deliverer.turn()
    [hook] = here.hooks
    assert hook.said["data"] == {"available": "4.9900", "threshold": "5.0000"}
    settings.CREDITS_LOW = "4.99"
    for _ in range(8):
        deliverer.turn()
    settings.CREDITS_LOW = "5"
    turns(lambda: len(here.hooks) == 2)


# Receivers that misbehave


def test_receiver_that_fails_first_gets_it_again_under_the_same_id(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    here.behave = first(status(500, b"no"), status(503), status(204, b""))
    succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    assert (only().status, log()) == ("delivered", [500, 503, 204])
    assert len(here.hooks) == 3 and len(set(here.ids)) == 1
    assert WebhookAttempt.objects.get(number=1).answer == "no"
    stamps = [hook.headers["webhook-timestamp"] for hook in here.hooks]
    assert all(abs(int(stamp) - time.time()) < 30 for stamp in stamps)


def test_ten_tries_and_no_more(
    owner: User,
    worker: TestWorker,
    here: Receiver,
    turns: Turns,
    settings: Settings,
) -> None:
    settings.WEBHOOK_CIRCUIT_PAUSE_S = 0.01
    settings.WEBHOOK_SCHEDULE_S = [0.0] + [0.001] * 9
    here.behave = status(500)
    succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    assert (only().status, log()) == ("failed", [500] * 10)
    assert len(set(here.ids)) == 1


def test_redirect_is_not_followed(
    owner: User, worker: TestWorker, here: Receiver, deliverer: Deliverer, turns: Turns
) -> None:
    with receiver() as elsewhere:
        here.behave = status(307, Location=elsewhere.url)
        succeeded(worker, owner, webhook_url=here.url)
        turns(lambda: log())
        assert elsewhere.hooks == []
    assert log()[0] == 307 and only().status == "pending"


@pytest.mark.parametrize("behave", [receiving.hang(1.0), receiving.close])
def test_receiver_that_hangs_or_hangs_up_is_tried_again(
    owner: User,
    worker: TestWorker,
    here: Receiver,
    turns: Turns,
    behave: receiving.Behave,
) -> None:
    here.behave = first(behave, status(200))
    succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    assert (only().status, log()) == ("delivered", [None, 200])
    attempt = WebhookAttempt.objects.get(number=1)
    assert attempt.error and attempt.milliseconds < 900


def test_endless_answer_is_read_to_its_limit_and_counts(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    here.behave = receiving.endless
    succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    assert (only().status, log()) == ("delivered", [200])
    assert WebhookAttempt.objects.get().answer == "x" * 1000


def test_receiver_that_is_gone_is_switched_off_with_all_that_waits_for_it(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    endpoint = endpoint_of(owner, here.url)
    here.behave = status(410)
    succeeded(worker, owner)
    succeeded(worker, owner)
    turns(is_over)
    assert len(here.hooks) == 1
    endpoint.refresh_from_db()
    assert (endpoint.disabled_at is None, endpoint.disabled_by) == (False, "gone")
    succeeded(worker, owner)
    assert WebhookDelivery.objects.filter(status="failed").count() == 2
    assert WebhookDelivery.objects.count() == 2


def test_name_that_turns_inwards_on_the_second_look_is_not_reached(
    owner: User, worker: TestWorker, here: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_HOSTS = []
    settings.WEBHOOK_SCHEDULE_S = [0.0, 0.0]
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    reached: list[str] = []

    def connect(address: str, port: int, seconds: float) -> object:
        reached.append(address)
        if address == "127.0.0.1":
            return fetch.connect(address, here.port, seconds)
        raise ConnectionRefusedError

    network = Network(
        resolve=lambda host, port: next(answers),
        connect=connect,  # type: ignore[arg-type]
    )
    deliverer = Deliverer(network)
    succeeded(worker, owner, webhook_url="http://rebind.example/")
    end = time.monotonic() + 10
    while not is_over() and time.monotonic() < end:
        deliverer.turn()
    assert (reached, here.hooks) == (["93.184.215.14"], [])
    errors = WebhookAttempt.objects.order_by("number").values_list("error", flat=True)
    assert list(errors) == [
        "The server could not be reached.",
        "This address is not allowed.",
    ]


def test_wish_of_the_receiver_to_be_left_alone_is_kept(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    here.behave = status(429, Retry_After="3600")
    succeeded(worker, owner, webhook_url=here.url)
    turns(lambda: log())
    assert (only().next_at - datetime.now(UTC)).total_seconds() > 3000


def test_answer_with_nul_is_kept_as_text(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    here.behave = status(200, b"a\0b\xff")
    succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    assert WebhookAttempt.objects.get().answer == "a\ufffdb\ufffd"


# Time and processes


def test_process_that_dies_on_the_way_leaves_it_to_another(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    succeeded(worker, owner, webhook_url=here.url)
    WebhookLane.objects.create(lane=only().lane)  # which has room for more
    [lost] = delivering.claim(5, unproven=5)  # and nothing comes of it
    assert delivering.claim(5, unproven=5) == []
    WebhookDelivery.objects.update(lease_until=datetime.now(UTC))
    turns(is_over)
    assert (only().status, only().attempts) == ("delivered", 2)
    assert [lost.event_id] == [UUID(one.removeprefix("evt_")) for one in here.ids]


def test_word_about_a_claim_that_is_somebody_elses_by_now_is_not_believed(
    owner: User, worker: TestWorker, here: Receiver
) -> None:
    succeeded(worker, owner, webhook_url=here.url)
    [slow] = delivering.claim(5, unproven=5)
    WebhookDelivery.objects.update(lease_until=datetime.now(UTC))
    [_] = delivering.claim(5, unproven=5)
    late = delivering.Outcome(id=slow.id, claim=slow.claim, tries=1, status=200)
    delivering.note([late])
    assert (only().status, log()) == ("pending", [])


def test_what_waited_too_long_is_given_up(
    owner: User, worker: TestWorker, deliverer: Deliverer, settings: Settings
) -> None:
    settings.WEBHOOK_GIVE_UP_S = 0.0
    endpoint = endpoint_of(owner, "http://127.0.0.1:9/")
    WebhookLane.objects.create(
        lane=endpoints.lane_of(endpoint.pk),
        failures=9,
        open_until=datetime(2100, 1, 1, tzinfo=UTC),
    )
    succeeded(worker, owner)
    time.sleep(0.06)
    deliverer.turn()
    deliverer.turn()
    assert (only().status, only().attempts) == ("failed", 0)


def test_log_is_forgotten_when_its_time_is_over(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns, settings: Settings
) -> None:
    succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    deliveries.clean()
    assert WebhookAttempt.objects.count() == 1
    settings.WEBHOOK_LOG_S = 0.0
    deliveries.clean()
    assert not WebhookDelivery.objects.exists()
    assert not WebhookAttempt.objects.exists()


# Circuits and places


def test_circuit_opens_after_five_failures_and_one_success_closes_it(
    owner: User,
    worker: TestWorker,
    here: Receiver,
    turns: Turns,
    deliverer: Deliverer,
    settings: Settings,
) -> None:
    settings.WEBHOOK_CIRCUIT_PAUSE_S = 0.5
    settings.WEBHOOK_SCHEDULE_S = [0.0] + [0.01] * 9
    here.behave = status(500)
    succeeded(worker, owner, webhook_url=here.url)
    turns(lambda: len(here.hooks) == 5)
    began = time.monotonic()
    for _ in range(10):
        deliverer.turn()
    assert len(here.hooks) == 5 and time.monotonic() - began < 0.5
    here.behave = status(200)
    turns(is_over)
    assert WebhookLane.objects.get().failures == 0
    assert WebhookLane.objects.get().open_until is None


def test_refusal_of_one_event_does_not_speak_against_its_receiver(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    here.behave = status(400)
    succeeded(worker, owner, webhook_url=here.url)
    turns(lambda: len(log()) == 6)
    assert WebhookLane.objects.get().failures == 0


def test_receiver_gets_few_at_once_and_a_new_one_gets_one(
    owner: User, here: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_PER_ENDPOINT = 3
    endpoint = endpoint_of(owner, here.url)
    for _ in range(5):
        recording.record(
            events.PING,
            user_id=owner.pk,
            test=False,
            data={},
            endpoint_id=endpoint.pk,
        )
    assert len(delivering.claim(10, unproven=10)) == 1
    assert delivering.claim(10, unproven=10) == []
    WebhookLane.objects.create(lane=endpoints.lane_of(endpoint.pk))
    assert len(delivering.claim(10, unproven=10)) == 2
    assert delivering.claim(10, unproven=10) == []


def test_one_user_cannot_take_all_places(settings: Settings) -> None:
    settings.WEBHOOK_PER_USER = 3
    greedy, modest = user_with("5"), user_with("5")
    for user, count in ((greedy, 8), (modest, 1)):
        for _ in range(count):
            endpoint = endpoint_of(user, "http://127.0.0.1:9/")
            deliveries.ping(owner_of(user), endpoint.pk)
    claimed = delivering.claim(20, unproven=20)
    assert sorted(one.user_id == greedy.pk for one in claimed) == [False] + [True] * 3
    assert delivering.claim(20, unproven=20) == []


def test_unproven_receivers_leave_half_of_the_places() -> None:
    known, new = user_with("5"), user_with("5")
    for _ in range(6):
        deliveries.ping(owner_of(new), endpoint_of(new, "http://127.0.0.1:9/").pk)
    endpoint = endpoint_of(known, "http://127.0.0.1:9/")
    WebhookLane.objects.create(lane=endpoints.lane_of(endpoint.pk))
    deliveries.ping(owner_of(known), endpoint.pk)
    claimed = delivering.claim(20, unproven=2)
    assert sorted(one.proven for one in claimed) == [False, False, True]


@pytest.mark.parametrize("proven", [False, True])
def test_hundred_dead_receivers_hardly_delay_a_healthy_one(
    here: Receiver, deliverer: Deliverer, settings: Settings, proven: bool
) -> None:
    """Also when all of them answered well until now, and hang from one moment on. A
    place is given up after a quarter of a second: longer nobody waits."""
    settings.WEBHOOK_TIMEOUT_S = 3.0
    healthy = endpoint_of(user_with("5"), here.url)
    usual = _slowest(deliverer, healthy, here)
    with receiver(receiving.hang(3.0)) as dead:
        for _ in range(10):
            user = user_with("5")
            for number in range(10):
                endpoint = endpoint_of(user, f"{dead.url}?{number}")
                for _ in range(5):
                    deliveries.ping(owner_of(user), endpoint.pk)
                if proven:
                    WebhookLane.objects.create(lane=endpoints.lane_of(endpoint.pk))
        beside = _slowest(deliverer, healthy, here)
        assert len(dead.hooks) >= 100
    # Without that it would be the timeout's three seconds; a busy machine takes some.
    assert beside < usual + 1.0, (usual, beside)


def _slowest(
    deliverer: Deliverer, endpoint: WebhookEndpoint, here: Receiver, times: int = 25
) -> float:
    owner = Owner(user_id=endpoint.user_id, test=False)
    slowest = 0.0
    for _ in range(times):
        before, began = len(here.hooks), time.monotonic()
        deliveries.ping(owner, endpoint.pk)
        while len(here.hooks) == before:
            deliverer.turn()
            assert time.monotonic() - began < 10
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.08)
    return slowest


def test_thousand_events_for_a_receiver_that_dies_half_way_all_arrive(
    owner: User, here: Receiver, turns: Turns
) -> None:
    endpoint = endpoint_of(owner, here.url)
    with transaction.atomic():
        for _ in range(1000):
            recording.record(
                events.PING,
                user_id=owner.pk,
                test=False,
                data={},
                endpoint_id=endpoint.pk,
            )
    turns(lambda: len(here.hooks) > 300, within_s=30)
    here.behave = receiving.close
    turns(lambda: WebhookLane.objects.get().failures >= 5)
    died_with = len(here.hooks)
    here.behave = status(200)
    turns(is_over, within_s=60)
    assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {
        "delivered"
    }
    arrived = set(here.ids[:300]) | set(here.ids[died_with:])
    assert len(set(here.ids)) == 1000 and len(arrived) > 900


# Secrets


def test_rotated_secret_signs_beside_the_old_one_for_a_day(
    owner: User, here: Receiver, turns: Turns
) -> None:
    endpoint = endpoint_of(owner, here.url)
    old = endpoints.secret_of(endpoint)
    new = endpoints.secret_of(endpoints.rotate(owner_of(owner), endpoint.pk))
    assert old != new
    deliveries.ping(owner_of(owner), endpoint.pk)
    turns(is_over)
    for secret in (old, new):
        Webhook(secret).verify(here.hooks[0].body, here.hooks[0].headers)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_webhookendpoint SET rotated_at = rotated_at - interval '25 h'"
        )
    deliveries.ping(owner_of(owner), endpoint.pk)
    turns(is_over)
    Webhook(new).verify(here.hooks[1].body, here.hooks[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(here.hooks[1].body, here.hooks[1].headers)


# Replay


def test_replayed_delivery_goes_out_again_under_its_id(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    succeeded(worker, owner, webhook_url=here.url)
    turns(is_over)
    again = deliveries.replay(owner_of(owner), only().pk)
    assert again.status == "pending"
    turns(is_over)
    assert len(here.hooks) == 2 and len(set(here.ids)) == 1
    assert log() == [200, 200]


def test_range_that_is_replayed_is_that_endpoints_failed_ones_of_that_time(
    owner: User, worker: TestWorker, here: Receiver, turns: Turns
) -> None:
    endpoint = endpoint_of(owner, here.url)
    endpoint_of(owner, "http://127.0.0.1:9/")
    for _ in range(3):
        succeeded(worker, owner)
    endpoints.change(owner_of(owner), endpoint.pk, Change(enabled=False))
    endpoints.change(owner_of(owner), endpoint.pk, Change(enabled=True))
    mine = WebhookDelivery.objects.filter(endpoint_id=endpoint.pk)
    assert set(mine.values_list("status", flat=True)) == {"failed"}
    second = mine.order_by("created_at")[1]
    wanted = Range(since=second.created_at, until=datetime.now(UTC))
    assert deliveries.replay_range(owner_of(owner), endpoint.pk, wanted) == 2
    turns(lambda: len(here.hooks) == 2)
    assert mine.filter(status="failed").count() == 1


def test_unknown_run_tells_nobody(owner: User, worker: TestWorker) -> None:
    [job_id] = submit(owner, webhook_url="https://example.com/")
    worker.report(success(run_of(job_id)))
    assert not WebhookDelivery.objects.exists()
