"""An account's endpoints where several requests come at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from accounts.models import User
from jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from jobs.webhooks import deliveries, delivering, endpoints
from jobs.webhooks.endpoints import Owner
from jobs.webhooks.errors import TooManyEndpoints
from jobs.webhooks.sending import Outcome
from tests.jobs.submitting import together


def test_endpoints_made_at_once_stay_within_the_limit(
    owner: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOK_ENDPOINTS = 2
    usual = WebhookEndpoint.objects.create
    monkeypatch.setattr(
        WebhookEndpoint.objects,
        "create",
        lambda **values: (time.sleep(0.05), usual(**values))[1],  # a slow moment
    )

    def make() -> bool:
        try:
            endpoints.create(
                Owner(user_id=owner.pk, test=False),
                url="https://example.com/",
                events=["job.failed"],
            )
        except TooManyEndpoints:
            return False
        return True

    made = together(*[make] * 5)
    assert sorted(made) == [False] * 3 + [True] * 2
    assert WebhookEndpoint.objects.count() == 2


def test_endpoint_goes_although_a_try_of_it_ends_in_the_same_moment(
    owner: User,
) -> None:
    mine = Owner(user_id=owner.pk, test=False)
    url = "https://example.com/"
    made = endpoints.create(mine, url=url, events=["job.failed"])
    deliveries.ping(mine, made.pk)
    [sent] = delivering.claim(5, unproven=5)
    ended = Outcome(id=sent.id, claim=sent.claim, tries=1, status=200)
    with ThreadPoolExecutor(1) as elsewhere:
        noting: list[Any] = []

        def just_before(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            if sql.startswith("DELETE FROM") and "jobs_webhookdelivery" in sql:
                noting.append(elsewhere.submit(_note, ended))
                wait(noting, timeout=0.5)
            return execute(sql, *rest)

        with connection.execute_wrapper(just_before):
            endpoints.remove(mine, made.pk)
        noting[0].result(10)
    assert not WebhookDelivery.objects.exists()
    assert not WebhookAttempt.objects.exists()


def _note(outcome: Outcome) -> None:
    try:
        delivering.note([outcome])
    finally:
        connection.close()
