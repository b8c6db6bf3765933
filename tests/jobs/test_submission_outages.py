"""What becomes of submissions when the connection breaks or the database is away."""

import time
from collections.abc import Iterator
from functools import partial

import pytest
from django.db import connection

from accounts.models import User
from billing import ledger
from billing.models import Entry
from jobs import submission
from jobs.accepting import groups
from jobs.models import IdempotencyKey, Job, JobEvent
from jobs.submission import Accepted, submit_many
from nijika.errors import Unavailable
from tests.jobs.cutting import Cut, Proxy, proxied
from tests.jobs.submitting import PRICE, locked, person, statuses, together, wish

pytestmark = pytest.mark.django_db(transaction=True)
CUTS = ["question", "question, stranded", "answer", "answer, late"]


@pytest.fixture
def owner() -> User:
    return person("owner")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxied() as one:
        yield one


def assert_accepted_once(user: User, count: int) -> None:
    """Each of `count` jobs is there with one hold and one event, and no more."""
    connection.close()
    assert Job.objects.count() == JobEvent.objects.count() == count
    assert Entry.objects.filter(kind="hold").count() == count
    assert ledger.balance(user.pk)[1] == count * PRICE


@pytest.mark.parametrize("cut", CUTS)
def test_cut_at_commit_accepts_all_and_charges_once(
    owner: User, proxy: Proxy, cut: Cut
) -> None:
    proxy.cut, proxy.times = cut, 1
    start = time.monotonic()

    answers = submit_many([wish(owner) for _ in range(8)])

    assert proxy.cuts == 1
    assert time.monotonic() - start < 15, "the server gave up before we did"
    assert statuses(answers) == [202] * 8
    assert_accepted_once(owner, 8)


@pytest.mark.parametrize("cut", CUTS)
def test_cut_at_commit_through_the_combiner(
    owner: User, proxy: Proxy, cut: Cut
) -> None:
    proxy.cut, proxy.times = cut, 1
    combiner = submission.combiner()

    offers = [combiner.offer(wish(owner, idempotency_key=str(n % 4))) for n in range(8)]

    answers = [offer.result(10) for offer in offers]
    assert len({one.job.id for one in answers}) == 4
    assert sum(not one.replayed for one in answers) == 4
    assert_accepted_once(owner, 4)
    assert IdempotencyKey.objects.count() == 4


def test_every_commit_cut_twice_still_accepts_once(owner: User, proxy: Proxy) -> None:
    proxy.cut, proxy.times = "question", 2

    assert statuses(submit_many([wish(owner)])) == [202]
    assert proxy.cuts == 2
    assert_accepted_once(owner, 1)


def test_commit_that_takes_seconds_after_the_cut_is_waited_for(
    owner: User, proxy: Proxy
) -> None:
    # COMMIT checks the foreign key to the user, whose row another transaction has: the
    # old backend goes on committing after its client is gone.
    item = wish(owner, test=True)
    lock = "SELECT FROM accounts_user WHERE id = %s FOR UPDATE"
    proxy.cut, proxy.times = "answer, late", 1

    with locked(lock, [owner.pk]) as release:
        offer = submission.combiner().offer(item)
        assert not _done_within(offer, 0.5)
        assert not Job.objects.exists()
        release()

    assert offer.result(5).job.id == item.id
    assert Job.objects.count() == 1


def _done_within(offer: object, seconds: float) -> bool:
    try:
        offer.result(seconds)  # type: ignore[attr-defined]
    except TimeoutError:
        return False
    return True


def test_refusals_of_a_group_in_doubt_stand(owner: User, proxy: Proxy) -> None:
    proxy.cut, proxy.times = "answer", 1

    group = [wish(owner), wish(owner, price=PRICE * 1000), wish(owner)]

    assert statuses(submit_many(group)) == [202, 402, 202]
    assert_accepted_once(owner, 2)


def test_connection_that_died_idle_costs_nobody_anything(
    owner: User, proxy: Proxy
) -> None:
    submit_many([wish(owner)])
    pid = connection.connection.info.backend_pid
    _end_backend(pid)

    assert statuses(submit_many([wish(owner)])) == [202]


def _end_backend(pid: int) -> None:
    def end() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    together(end)


def test_database_away_is_503_with_retry_after(owner: User, proxy: Proxy) -> None:
    connection.close()
    proxy.cut = "everything"

    [refused] = submit_many([wish(owner)])
    offered = submission.combiner().offer(wish(owner)).exception(10)

    for error in (refused, offered):
        assert isinstance(error, Unavailable)
        assert int(error.headers["Retry-After"]) > 0
    proxy.cut = None
    assert submission.combiner().offer(wish(owner)).result(5)
    assert Job.objects.count() == 1


def test_database_away_for_too_long_in_doubt_is_503(
    owner: User, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "DOUBT_LIMIT_S", 0.3)
    proxy.cut, proxy.times = "question", 1
    answers = groups.submit([wish(owner)], wait=False)
    proxy.cut = "everything"

    [doubt] = answers
    assert isinstance(doubt, groups.InDoubt)
    [answer] = groups.resolve(doubt.intake).values()
    assert isinstance(answer, Unavailable)


def test_parallel_groups_survive_cuts(owner: User, proxy: Proxy) -> None:
    proxy.cut, proxy.times = "answer", 3

    answers = together(
        *[partial(submit_many, [wish(owner) for _ in range(5)]) for _ in range(4)]
    )

    assert all(isinstance(one, Accepted) for many in answers for one in many)
    assert_accepted_once(owner, 20)
