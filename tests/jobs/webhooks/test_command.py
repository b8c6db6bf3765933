"""`manage.py webhooks`, as whoever runs the server uses it."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from jobs.models import WebhookDelivery, WebhookEndpoint
from tests.jobs.webhooks.conftest import Turns
from tests.jobs.webhooks.receiving import Receiver
from tests.jobs.working import user_with


def webhooks(user: User, *arguments: str) -> str:
    out = StringIO()
    call_command("webhooks", user.email, *arguments, stdout=out)
    return out.getvalue().strip()


def test_endpoint_is_added_pinged_switched_and_rotated(
    owner: User, here: Receiver, turns: Turns
) -> None:
    endpoint_id, secret = webhooks(owner, "--add", here.url).split()
    assert webhooks(owner, "--secret", endpoint_id) == secret
    assert webhooks(owner).startswith(f"{endpoint_id} on {here.url} job.succeeded")
    webhooks(owner, "--ping", endpoint_id)
    turns(lambda: WebhookDelivery.objects.filter(status="delivered").exists())
    assert "ping delivered: 200 in" in webhooks(owner, "--log", endpoint_id)
    webhooks(owner, "--off", endpoint_id)
    assert "off (owner)" in webhooks(owner)
    webhooks(owner, "--on", endpoint_id)
    assert webhooks(owner, "--replay", endpoint_id) == "0 are sent again"
    assert webhooks(owner, "--rotate", endpoint_id) != secret


def test_what_is_wrong_is_said(owner: User, here: Receiver) -> None:
    endpoint_id = webhooks(owner, "--add", here.url).split()[0]
    for user, arguments in (
        (user_with("1"), ["--ping", endpoint_id]),
        (owner, ["--test", "--ping", endpoint_id]),
        (owner, ["--add", "http://10.0.0.1/"]),
        (owner, ["--add", here.url, "--events", "job.exploded"]),
        (User(email="nobody@example.com"), []),
    ):
        with pytest.raises(CommandError):
            webhooks(user, *arguments)
    assert WebhookEndpoint.objects.count() == 1
