"""What submit_many promises about jobs, credits, events, inputs and locks."""

import time
from decimal import Decimal
from functools import partial

import pytest
from django.db.models.functions import Now

from accounts.models import User
from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import Entry
from jobs import ids, submission
from jobs.errors import SourceGone
from jobs.models import Fetch, Job, JobEvent, Pin
from jobs.submission import Accepted, submit_many
from nijika.errors import Invalid
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


@pytest.fixture
def owner() -> User:
    return person("owner")


@pytest.fixture
def stranger() -> User:
    return person("stranger")


def test_submission_becomes_a_queued_job_with_its_hold_and_event(owner: User) -> None:
    item = wish(owner, metadata={"a": [1.5, "ü", None]}, request_id="r1")

    [accepted] = submit_many([item])

    assert isinstance(accepted, Accepted) and not accepted.replayed
    assert accepted.available == Decimal("0.9900")
    assert ledger.balance(owner.pk) == (Decimal("0.9900"), PRICE)
    hold = Entry.objects.get(kind="hold")
    assert (hold.reference, hold.held_amount) == (str(item.id), PRICE)
    event = JobEvent.objects.get()
    assert (event.job_id, event.type) == (item.id, "queued")


def test_accepted_job_is_the_row(owner: User) -> None:
    [accepted] = submit_many([wish(owner, metadata={"a": 1}, retry_of=ids.new_id())])

    assert isinstance(accepted, Accepted)
    row = Job.objects.get()
    for field in Job._meta.concrete_fields:
        given = getattr(accepted.job, field.attname)
        assert given == getattr(row, field.attname), field.attname
    accepted.job.refresh_from_db()


def test_submission_of_a_test_key_moves_no_credits(owner: User) -> None:
    [accepted] = submit_many([wish(owner, test=True)])

    assert isinstance(accepted, Accepted) and accepted.job.test
    assert accepted.available == Decimal(1)
    assert not Entry.objects.filter(kind="hold").exists()


def test_submission_short_of_credits_leaves_nothing(owner: User) -> None:
    [refused] = submit_many([wish(owner, price=Decimal(2), idempotency_key="k")])

    assert isinstance(refused, InsufficientCredits)
    assert (refused.needed, refused.available) == (Decimal(2), Decimal(1))
    assert not Job.objects.exists() and not JobEvent.objects.exists()
    [accepted] = submit_many([wish(owner, idempotency_key="k")])
    assert isinstance(accepted, Accepted) and not accepted.replayed


def test_lone_submission_short_of_credits_writes_nothing(owner: User) -> None:
    [refused] = submit_many([wish(owner, price=Decimal(2))])

    assert isinstance(refused, InsufficientCredits)
    assert not Job.objects.exists() and not Entry.objects.filter(kind="hold").exists()


def test_group_gives_credits_in_order_while_they_last(owner: User) -> None:
    half = Decimal("0.5")
    group = [wish(owner, price=half) for _ in range(3)] + [wish(owner, price=PRICE)]

    assert statuses(submit_many(group)) == [202, 202, 402, 402]
    assert ledger.balance(owner.pk) == (Decimal(0), Decimal(1))


def test_one_bad_item_leaves_its_neighbours_accepted(owner: User) -> None:
    group = [wish(owner) for _ in range(31)]
    group.insert(17, wish(owner, metadata={"text": "\0"}))

    answers = submit_many(group)

    assert isinstance(answers[17], Invalid)
    assert statuses(answers).count(202) == 31 == Job.objects.count()
    assert ledger.balance(owner.pk)[1] == 31 * PRICE


def test_item_of_a_user_who_is_gone_is_refused_alone(owner: User) -> None:
    # The foreign key is checked at COMMIT: a refusal there is no doubt.
    gone = wish(owner, user_id=owner.pk + 10_000, test=True)

    assert statuses(submit_many([wish(owner), gone, wish(owner)])) == [202, 422, 202]


def test_same_id_again_is_accepted_and_charged_once(owner: User) -> None:
    items = [wish(owner) for _ in range(3)]
    submit_many(items)

    assert statuses(submit_many([*items, wish(owner)])) == [202] * 4
    assert Job.objects.count() == 4
    assert ledger.balance(owner.pk)[1] == 4 * PRICE


def test_url_inputs_wait_for_their_fetch(owner: User) -> None:
    url = "https://Pictures.example:8443/a.png"
    there = {"role": "reference", "key": "inputs/x/1", "url": "https://b.example/b"}
    inputs = [{"role": "image", "key": "", "url": url}, there]

    [accepted] = submit_many([wish(owner, inputs=inputs)])

    assert isinstance(accepted, Accepted)
    assert accepted.job.waiting_fetches == Job.objects.get().waiting_fetches == 1
    fetch = Fetch.objects.get()
    assert (fetch.position, fetch.url, fetch.host) == (0, url, "pictures.example")
    assert (fetch.job_id, fetch.user_id) == (accepted.job.id, owner.pk)


def test_sources_are_pinned(owner: User) -> None:
    source, user_of_it = wish(owner), wish(owner)
    submit_many([source])

    submit_many([wish(owner), wish(owner, id=user_of_it.id, sources=(source.id,))])

    pin = Pin.objects.get()
    assert (pin.job_id, pin.source_id) == (user_of_it.id, source.id)


@pytest.mark.parametrize("why", ["erased", "of another", "of another mode"])
def test_source_that_cannot_be_used_is_refused(
    owner: User, stranger: User, why: str
) -> None:
    source = wish(stranger if why == "of another" else owner)
    submit_many([source])
    if why == "erased":
        Job.objects.update(erased_at=Now())
    item = wish(owner, sources=(source.id,), test=why == "of another mode")

    answers = submit_many([item, wish(stranger)])

    assert isinstance(answers[0], SourceGone)
    assert isinstance(answers[1], Accepted)
    assert not Pin.objects.exists()


def test_source_erased_while_its_use_is_submitted_is_never_pinned(
    owner: User, stranger: User
) -> None:
    source = wish(owner)
    submit_many([source])
    erase = "UPDATE jobs_job SET erased_at = now() WHERE id = %s"

    with locked(erase, [source.id]) as commit:
        use = submission.combiner().offer(wish(owner, sources=(source.id,)))
        assert statuses(submit_many([wish(stranger)])) == [202]
        time.sleep(0.3)
        assert not use.done()
        commit()

    assert isinstance(use.exception(5), SourceGone)


def test_locked_wallet_delays_only_its_owner(owner: User, stranger: User) -> None:
    combiner = submission.combiner()
    with wallet_locked(owner):
        start = time.monotonic()
        delayed = [combiner.offer(wish(owner)) for _ in range(20)]
        others = [combiner.offer(wish(stranger)) for _ in range(20)]
        assert all(one.result(1) for one in others)
        assert all(combiner.offer(wish(stranger)).result(1) for _ in range(5))
        refused = [one.exception(10) for one in delayed]
        # Their groups wait two seconds each; one by one they would take forty.
        assert time.monotonic() - start < 8

    assert {error.status for error in refused} == {503}
    assert ledger.balance(owner.pk) == (Decimal(1), Decimal(0))
    assert combiner.offer(wish(owner)).result(5)


def test_lone_submission_to_a_locked_wallet_delays_nobody_else(
    owner: User, stranger: User
) -> None:
    combiner = submission.combiner()
    with wallet_locked(owner):
        delayed = combiner.offer(wish(owner))
        time.sleep(0.1)  # so that it is a group of its own
        assert combiner.offer(wish(stranger)).result(0.5)
        assert not delayed.done()
    assert delayed.result(5)


def test_wallet_locked_for_a_moment_is_waited_for(owner: User) -> None:
    with wallet_locked(owner) as release:
        future = submission.combiner().offer(wish(owner))
        time.sleep(0.3)
        assert not future.done()
        release()

    assert future.result(5).available == Decimal("0.99")


def test_credits_for_one_are_spent_once_by_parallel_submits() -> None:
    owner = person("poor", "0.01")

    answers = together(*[partial(submit_many, [wish(owner)]) for _ in range(20)])

    assert sorted(status for one in answers for status in statuses(one)) == (
        [202] + [402] * 19
    )


def test_credits_for_one_are_spent_once_within_a_group() -> None:
    owner = person("poor", "0.01")

    assert statuses(submit_many([wish(owner) for _ in range(50)])) == [202] + [402] * 49
    assert ledger.balance(owner.pk) == (Decimal(0), PRICE)


def test_offers_together_share_few_commits(owner: User) -> None:
    combiner = submission.combiner()
    with locked("LOCK TABLE jobs_jobevent IN EXCLUSIVE MODE", []) as release:
        first = combiner.offer(wish(owner))
        time.sleep(0.2)
        rest = [combiner.offer(wish(owner)) for _ in range(49)]
        release()
        jobs = [one.result(5).job for one in [first, *rest]]

    assert len({job.created_at for job in jobs}) == 2


def test_offer_that_is_refused_raises_its_error(owner: User) -> None:
    with pytest.raises(InsufficientCredits):
        submission.combiner().offer(wish(owner, price=Decimal(2))).result(5)


def test_glance_refuses_only_after_asking_afresh(owner: User) -> None:
    submission.glance(owner.pk, Decimal(1))
    with pytest.raises(InsufficientCredits):
        submission.glance(owner.pk, Decimal(5))
    ledger.grant(owner.pk, Decimal(10), "gift")
    submission.glance(owner.pk, Decimal(5))


def test_glance_costs_no_query_when_it_has_just_looked(
    owner: User, django_assert_num_queries: object
) -> None:
    submission.glance(owner.pk, PRICE)
    with django_assert_num_queries(0):  # type: ignore[operator]
        submission.glance(owner.pk, PRICE)
