"""Everything that can happen to a job has plain words."""

from __future__ import annotations

import pytest
from django.conf import settings

from jobs.errors import JOB_CODES
from jobs.following import outlook
from jobs.models import JobEvent
from jobs.pages import words


@pytest.mark.parametrize("code", JOB_CODES)
def test_every_error_says_what_to_do(code: str) -> None:
    said = words.error({"code": code})
    assert said is not None and said is not words.OTHER
    assert said.title and said.text.endswith(".")


def test_every_event_operation_and_reason_for_waiting_has_words() -> None:
    assert set(words.EVENTS) == set(JobEvent.Type.values)
    assert set(words.OPERATIONS) >= set(settings.DEFAULT_ENGINES)
    assert set(words.WAITING) == set(outlook.REASONS)


def test_a_code_that_is_not_known_yet_still_has_words() -> None:
    assert words.error({"code": "new_code"}) is words.OTHER
    assert words.event("requeued", "engine_failed").endswith("the engine failed")
