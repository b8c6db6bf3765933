"""An account's endpoints where several requests come at once."""

from __future__ import annotations

import time

import pytest
from pytest_django.fixtures import Settings

from accounts.models import User
from jobs.models import WebhookEndpoint
from jobs.webhooks import endpoints
from jobs.webhooks.endpoints import Owner
from jobs.webhooks.errors import TooManyEndpoints
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
