"""One idempotency key is one job, whoever meets whom."""

import time
from decimal import Decimal
from functools import partial

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from accounts.models import User
from billing import ledger
from jobs import submission
from jobs.accepting import groups
from jobs.errors import IdempotencyKeyReused
from jobs.models import IdempotencyKey, Job
from jobs.submission import Accepted, Submission, submit_many
from tests.jobs.submitting import (
    PRICE,
    locked,
    person,
    statuses,
    together,
    wallet_locked,
    wish,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def many(settings: Settings) -> None:
    """Test jobs, which touch no wallet, as many as one likes."""
    settings.SANDBOX_UNFINISHED = 1000


@pytest.fixture
def owner() -> User:
    return person("owner")


def keyed(user: User, key: str = "k", **changes: object) -> Submission:
    return wish(user, idempotency_key=key, **changes)


def test_same_key_and_request_is_the_same_job_as_it_is_now(owner: User) -> None:
    [first] = submit_many([keyed(owner)])
    Job.objects.update(attempt=3)

    [again] = submit_many([keyed(owner)])

    assert isinstance(first, Accepted) and isinstance(again, Accepted)
    assert (again.job.id, again.job.attempt) == (first.job.id, 3)
    assert again.replayed and not first.replayed
    assert again.available == Decimal("0.99")
    assert Job.objects.count() == 1


def test_same_key_for_another_request_is_refused(owner: User) -> None:
    submit_many([keyed(owner)])

    [refused] = submit_many([keyed(owner, digest="other")])

    assert isinstance(refused, IdempotencyKeyReused)
    assert Job.objects.count() == 1


def test_key_belongs_to_its_user_and_mode(owner: User) -> None:
    answers = submit_many(
        [keyed(owner), keyed(owner, test=True), keyed(person("stranger"))]
    )

    assert len({one.job.id for one in answers if isinstance(one, Accepted)}) == 3


def test_fifty_posts_in_one_group_are_one_job(owner: User) -> None:
    answers = submit_many([keyed(owner) for _ in range(50)])

    assert len({one.job.id for one in answers if isinstance(one, Accepted)}) == 1
    assert [one.replayed for one in answers] == [False] + [True] * 49  # type: ignore[union-attr]
    assert ledger.balance(owner.pk)[1] == PRICE


def test_fifty_posts_at_once_are_one_job(owner: User) -> None:
    combiner = submission.combiner()
    direct = [partial(submit_many, [keyed(owner)]) for _ in range(10)]

    def offered() -> list[Accepted]:
        futures = [combiner.offer(keyed(owner)) for _ in range(20)]
        return [one.result(10) for one in futures]

    answers = [one for many in together(offered, offered, *direct) for one in many]

    assert len(answers) == 50
    assert {one.job.id for one in answers} == {Job.objects.get().id}
    assert sum(not one.replayed for one in answers) == 1
    assert ledger.balance(owner.pk)[1] == PRICE


def test_other_request_under_the_key_within_a_group_is_refused(owner: User) -> None:
    group = [keyed(owner), keyed(owner, digest="other"), keyed(owner), wish(owner)]

    assert statuses(submit_many(group)) == [202, 422, 202, 202]


def test_refused_twin_does_not_use_up_the_key_of_another_request(owner: User) -> None:
    dear = keyed(owner, price=Decimal(5), digest="dear")

    assert statuses(submit_many([dear, keyed(owner), dear_again(owner)])) == [
        402,
        202,
        422,
    ]


def dear_again(owner: User) -> Submission:
    return keyed(owner, price=Decimal(5), digest="dear too")


@pytest.mark.parametrize("refusal", ["short", "bad", "locked"])
def test_refusal_leaves_no_key(owner: User, refusal: str) -> None:
    if refusal == "locked":
        with wallet_locked(owner):
            answers = submit_many([keyed(owner)])
    else:
        bad = {"short": {"price": Decimal(2)}, "bad": {"metadata": {"a": "\0"}}}
        answers = submit_many([keyed(owner, **bad[refusal])])

    assert statuses(answers) != [202]
    assert not IdempotencyKey.objects.exists()
    assert statuses(submit_many([keyed(owner)])) == [202]


def test_twin_in_flight_is_waited_for_without_delaying_others(owner: User) -> None:
    # The twin's transaction is held up at the insert of its event.
    stranger, combiner = person("stranger"), submission.combiner()
    with locked(HOLD_KEY, [owner.pk]) as commit:
        start = time.monotonic()
        twin = combiner.offer(keyed(owner))
        assert combiner.offer(keyed(stranger)).result(1)
        assert time.monotonic() - start < 0.5
        time.sleep(0.3)
        assert not twin.done()
        commit()

    assert not twin.result(5).replayed


HOLD_KEY = "SELECT pg_advisory_xact_lock(hashtextextended(%s || ':false:k', 0))"


@pytest.mark.parametrize("wait", [False, True])
def test_same_keys_in_reversed_order_never_deadlock(
    owner: User, wait: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def act(turn: int, step: int) -> list[int]:
        keys = [f"{turn}-{n}" for n in range(16)][::step]
        group = [keyed(owner, key, test=True) for key in keys]
        answers = groups.submit(group, wait=True) if wait else submit_many(group)
        return [202 for one in answers if isinstance(one, Accepted)]

    for turn in range(15):
        answers = together(partial(act, turn, 1), partial(act, turn, -1))
        assert answers == [[202] * 16] * 2
    assert Job.objects.count() == 15 * 16
    assert not caplog.records, "a deadlock is logged when its victim is repeated"


def test_keys_are_waited_for_in_one_order(
    owner: User, caplog: pytest.LogCaptureFixture
) -> None:
    def act(keys: str) -> list[int]:
        group = [keyed(owner, key, test=True) for key in keys]
        answers = groups.submit(group, wait=True)
        return [202 for one in answers if isinstance(one, Accepted)]

    # Both come as far as the key in the middle, and go on together.
    middle = HOLD_KEY.replace("false", "true")

    def release() -> list[int]:
        wait_for_waiters(2)
        go_on()
        return []

    with locked(middle, [owner.pk]) as go_on:
        rise, fall, _ = together(partial(act, "akz"), partial(act, "zka"), release)

    assert rise == fall == [202] * 3
    assert not caplog.records, "a deadlock is logged when its victim is repeated"


def wait_for_waiters(count: int) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    end = time.monotonic() + 1.5
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute(query)
            if cursor.fetchone() == (count,):
                return
            time.sleep(0.01)


def test_digest_is_of_what_is_asked_not_of_how_it_is_written() -> None:
    asked = {
        "operation": "removebg",
        "engine": "classical",
        "parameters": {"a": 1, "b": 2},
        "inputs": [{"role": "image", "url": "", "sha256": "aa", "key": "inputs/1/0"}],
        "metadata": {},
    }
    other_way = asked | {
        "parameters": {"b": 2, "a": 1},
        "inputs": [{"role": "image", "sha256": "aa", "key": "inputs/2/0"}],
    }

    assert submission.digest(**asked) == submission.digest(**other_way)  # type: ignore[arg-type]
    changes = [{"engine": "x"}, {"parameters": {"a": 1}}, {"metadata": {"a": 1}}]
    changes += [{"webhook_url": "https://a.example"}, {"operation": "resize"}]
    changes += [{"inputs": [{"role": "image", "sha256": "bb"}]}]
    changes += [{"inputs": [{"role": "mask", "sha256": "aa"}]}]
    changes += [{"inputs": [{"role": "image", "url": "https://a.example/b"}]}]
    digests = {submission.digest(**asked | change) for change in changes}  # type: ignore[arg-type]
    assert len(digests | {submission.digest(**asked)}) == len(changes) + 1  # type: ignore[arg-type]
