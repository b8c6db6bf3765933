"""Callbacks at the same moment, as double clicks and two tabs make them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.db import connection

from accounts import linking
from accounts.errors import LastWayIn
from accounts.joining import join
from accounts.linking import Identity
from accounts.models import ApiKey, User, Welcomed
from billing.models import Entry
from nijika.local.provider import Provider
from tests.accounts.signing_in.conftest import Browser, person
from tests.jobs.submitting import locked

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """What each gives or raises, begun together on threads."""
    gate, outcomes = threading.Barrier(len(acts)), [None] * len(acts)

    def run(index: int) -> None:
        gate.wait()
        try:
            outcomes[index] = acts[index]()
        except Exception as error:
            outcomes[index] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[i]) for i in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def come_back(tab: Browser, way: str) -> Any:
    """As a person does: where many sign in at once, by reloading."""
    while (answer := tab.get(way)).status_code == 503:
        pass
    return answer


def identity(provider: str, uid: str, *emails: str) -> Identity:
    return Identity(
        provider=provider, uid=uid, name="", url="", created_at=None, emails=emails
    )


def test_newcomer_in_many_tabs_becomes_one_user_with_one_welcome(
    site: Provider,
) -> None:
    site.chosen = person()
    tabs = [Browser() for _ in range(4)]
    ways = [tab.consent(tab.begin()) for tab in tabs]

    answers = at_once(
        [partial(come_back, tab, way) for tab, way in zip(tabs, ways, strict=True)]
    )

    goals = sorted(answer["Location"] for answer in answers)
    assert goals == ["/dashboard", "/dashboard", "/dashboard", "/welcome"]
    assert User.objects.count() == Entry.objects.count() == 1
    assert ApiKey.objects.count() == SocialAccount.objects.count() == 1


def test_two_providers_with_one_email_at_once_are_one_user(settings: Any) -> None:
    settings.PROVIDER_ACCOUNT_MONTHS = 0
    for turn in range(5):
        email = f"ada{turn}@example.com"
        one, two = identity("github", str(turn), email), identity("gitlab", "9", email)
        SocialAccount.objects.all().delete()
        Welcomed.objects.all().delete()

        found = at_once([partial(linking.arrive, each) for each in (one, two)])

        assert len({arrival.user.pk for arrival in found}) == 1
        assert sum(arrival.is_new for arrival in found) == 1


def test_account_claimed_by_two_users_at_once_goes_to_one(settings: Any) -> None:
    settings.PROVIDER_ACCOUNT_MONTHS = 0
    users = [join(f"{name}@example.com") for name in "ab"]
    one = identity("github", "1")

    found = at_once([partial(linking.link, user, one) for user in users])

    assert sorted(str(outcome) for outcome in found)[1] == "True"
    assert SocialAccount.objects.count() == 1


def test_last_two_links_undone_at_once_leave_one(settings: Any) -> None:
    settings.PROVIDER_ACCOUNT_MONTHS = 0
    user = join("ada@example.com")
    for provider in ("github", "gitlab"):
        linking.link(user, identity(provider, "1"))
    ids = list(SocialAccount.objects.values_list("pk", flat=True))

    # Nobody can delete yet, so each has looked, or waits to, before the other deletes.
    with locked("SELECT 1 FROM socialaccount_socialaccount FOR UPDATE", []):
        ending = ThreadPoolExecutor(1).submit(
            at_once, [partial(linking.unlink, user, one) for one in ids]
        )
        time.sleep(0.5)
    found = ending.result(timeout=20)

    assert [type(one) for one in found].count(LastWayIn) == 1
    assert SocialAccount.objects.filter(user=user).count() == 1
