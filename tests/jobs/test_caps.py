"""One account does not fill the queues."""

from decimal import Decimal

import pytest
from pytest_django.fixtures import Settings

from accounts.models import User
from billing import ledger
from jobs import lifecycle
from jobs.errors import TooManyUnfinished
from jobs.models import Job
from jobs.submission import Accepted, submit_many
from tests.jobs.submitting import person, statuses, wish

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def other() -> User:
    return person("other")


def test_lone_submission_beyond_the_cap_is_refused_and_free(
    other: User, settings: Settings
) -> None:
    settings.UNFINISHED_PER_USER = 2
    first, *_ = [submit_many([wish(other)])[0] for _ in range(2)]
    before = ledger.balance(other.pk)

    [refused] = submit_many([wish(other)])

    assert isinstance(refused, TooManyUnfinished)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
    assert ledger.balance(other.pk) == before
    assert Job.objects.count() == 2
    assert isinstance(first, Accepted)
    lifecycle.cancel(first.job.pk, user_id=other.pk, test=False)
    assert statuses(submit_many([wish(other)])) == [202]


def test_group_is_accepted_up_to_the_cap_of_each_user(
    other: User, settings: Settings
) -> None:
    settings.UNFINISHED_PER_USER = 2
    third = person("third")
    group = [wish(other), wish(third), wish(other), wish(other), wish(third)]
    group.append(wish(other, test=True))
    assert statuses(submit_many(group)) == [202, 202, 202, 429, 202, 202]


def test_repeat_of_an_accepted_submission_does_not_count_against_itself(
    other: User, settings: Settings
) -> None:
    settings.UNFINISHED_PER_USER = 1
    item = wish(other, idempotency_key="k", digest="d")
    again = wish(other, idempotency_key="k", digest="d")
    assert statuses(submit_many([item])) == [202]
    [answer] = submit_many([again])
    assert isinstance(answer, Accepted) and answer.replayed


def test_without_a_cap_credits_alone_decide(other: User, settings: Settings) -> None:
    settings.UNFINISHED_PER_USER = 0
    assert statuses(submit_many([wish(other, price=Decimal(0)) for _ in range(5)])) == (
        [202] * 5
    )
