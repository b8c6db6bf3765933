"""How many test jobs a user may have, whatever comes at once, and what goes along."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from accounts.models import User
from jobs.accepting import sandbox
from jobs.errors import JOB_CODES, SandboxFull
from jobs.models import IdempotencyKey, Job
from jobs.submission import Accepted, Submission, submit_many
from nijika.errors import NijikaError
from tests.jobs.submitting import locked, person, statuses, together, wish


def trial(user: User, **changes: Any) -> Submission:
    return wish(user, test=True, engine="sandbox", **changes)


@pytest.fixture
def owner() -> User:
    return person("owner")


@pytest.fixture(autouse=True)
def few(settings: Settings) -> None:
    settings.SANDBOX_UNFINISHED = 3


def accepted(answers: list[Accepted | NijikaError]) -> int:
    return sum(isinstance(answer, Accepted) for answer in answers)


@pytest.mark.django_db(transaction=True)
def test_parallel_submits_of_one_user_accept_no_more_than_allowed(owner: User) -> None:
    # Whoever has counted waits here before its rows are seen by the others.
    held = "LOCK TABLE jobs_jobevent IN EXCLUSIVE MODE"
    acts = [lambda: submit_many([trial(owner)]) for _ in range(8)]
    with locked(held, []) as release:
        threading.Timer(0.7, release).start()
        answers = [answer for [answer] in together(*acts)]
    assert accepted(answers) == 3
    assert Job.objects.filter(test=True).count() == 3
    refused = [one for one in answers if isinstance(one, NijikaError)]
    assert {one.status for one in refused} == {429}


@pytest.mark.django_db(transaction=True)
def test_group_is_accepted_as_far_as_there_is_room(owner: User) -> None:
    other = person("other")
    group = [trial(owner), trial(other), *[trial(owner) for _ in range(4)], wish(owner)]
    answers = submit_many(group)
    assert statuses(answers) == [202, 202, 202, 202, 429, 429, 202]
    assert all(isinstance(one, SandboxFull) for one in answers[4:6])


@pytest.mark.django_db(transaction=True)
def test_refused_test_job_leaves_its_idempotency_key_free(owner: User) -> None:
    submit_many([trial(owner) for _ in range(3)])
    [answer] = submit_many([trial(owner, idempotency_key="k")])
    assert isinstance(answer, SandboxFull)
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_was_accepted_before_is_accepted_again_at_the_limit(owner: User) -> None:
    items = [trial(owner) for _ in range(3)]
    submit_many(items)
    assert statuses(submit_many(items)) == [202, 202, 202]
    assert Job.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_submission_beside_a_user_who_is_being_counted_is_not_held_up(
    owner: User,
) -> None:
    with locked(sandbox._WAIT, [[owner.pk]]):
        answers = submit_many([trial(person("other")), wish(owner)])
        assert statuses(answers) == [202, 202]


# What is asked for


@pytest.mark.parametrize("code", JOB_CODES)
def test_every_code_of_a_failed_job_can_be_asked_for(code: str) -> None:
    assert sandbox.directions({}, f"fail:{code}") == {"fail": code}
    said = {"prompt": f"a cat __fail_{code}__ on a mat"}
    assert sandbox.directions(said, None) == {"fail": code}


@pytest.mark.parametrize(
    ("prompt", "word", "asked"),
    [
        ("", "delay:5", {"delay_s": 5}),
        ("", "delay:0.5s", {"delay_s": 0.5}),
        ("__delay_5s__", None, {"delay_s": 5}),
        ("__fail_content__", None, {"fail": "content_blocked"}),
        ("__fail_safety__", None, {"fail": "content_blocked"}),
        ("__retry_2__ __delay_1__", "", {"retries": 2, "delay_s": 1}),
        ("__delay_1s__", "fail:expired", {"delay_s": 1, "fail": "expired"}),
        ("__init__ __a_b__", None, {}),
        ("", "refuse:unavailable", {}),
        ("", "whatever", {}),
        ("", {"fail": "expired"}, {}),
    ],
)
def test_directions_say_what_was_asked_for_and_nothing_else(
    prompt: str, word: Any, asked: dict[str, Any]
) -> None:
    assert sandbox.directions({"prompt": prompt}, word) == asked
