"""Rate limits over the whole application, on a real Redis."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from accounts import issuing, joining, keys
from accounts.models import ApiKey, User
from jobs.models import Upload
from nijika import rates
from nijika.local import servers
from nijika.rates import Rate, Rates

pytestmark = pytest.mark.django_db

SLOW = "2/h:2"


@pytest.fixture(autouse=True)
def limited(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits, and buckets that no other test has met."""
    monkeypatch.setattr(rates, "PREFIX", f"nijika:rate:{uuid4().hex}:")
    settings.RATE_LIMITS = True
    settings.RATE_PER_KEY = settings.RATE_PER_ADDRESS = settings.RATE_HEALTH = SLOW


@pytest.fixture
def owner() -> User:
    return joining.join(f"{uuid4().hex[:8]}@example.com")


@pytest.fixture
def key(owner: User) -> str:
    return issuing.issue(owner).secret


def ask(
    key: str = "", path: str = "/api/v1/account", method: str = "get", **more: Any
) -> Any:
    headers = {"X-API-Key": key} if key else {}
    send = getattr(Client(), method)
    return send(path, headers=headers | more.pop("headers", {}), **more)


def statuses(count: int, *arguments: Any, **more: Any) -> list[int]:
    return [ask(*arguments, **more).status_code for _ in range(count)]


def test_key_beyond_its_rate_is_refused_with_the_time_to_wait(key: str) -> None:
    assert statuses(2, key) == [200, 200]
    answer = ask(key)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 1700 < int(answer["Retry-After"]) <= 1800
    assert (answer["RateLimit-Limit"], answer["RateLimit-Remaining"]) == ("2", "0")


def test_edits_by_the_older_path_have_a_rate_of_their_own(
    key: str, settings: Settings
) -> None:
    settings.RATE_PER_KEY, settings.RATE_EDITS = "50/s:100", "2/h"
    edits = [ask(key, "/api/edit", method="post") for _ in range(3)]
    assert [edit.status_code for edit in edits] == [400, 400, 429]
    wait_s = edits[-1].json()["retry_after_seconds"]
    assert edits[-1]["Retry-After"] == str(wait_s)
    assert 1700 < wait_s <= 1800
    assert ask(key).status_code == 200


def test_counted_answer_says_what_is_left(key: str) -> None:
    answer = ask(key)
    assert (answer["RateLimit-Limit"], answer["RateLimit-Remaining"]) == ("2", "1")
    assert 0 < int(answer["RateLimit-Reset"]) <= 1800


def test_key_has_its_own_bucket_from_every_address(owner: User, key: str) -> None:
    assert statuses(2, key) == [200, 200]
    assert ask(key, REMOTE_ADDR="192.0.2.9").status_code == 429
    assert ask(issuing.issue(owner).secret).status_code == 200


def test_requests_without_a_key_count_for_their_address() -> None:
    assert statuses(3) == [401, 401, 429]
    assert ask(REMOTE_ADDR="192.0.2.9").status_code == 401


def test_good_key_is_not_held_up_by_wrong_ones_from_its_address(key: str) -> None:
    ask(key)
    statuses(3)
    assert ask(key).status_code == 200


def test_wrong_keys_are_soon_asked_about_no_more(
    key: str, django_assert_num_queries: Any
) -> None:
    guesses = [keys.make(test=False).secret for _ in range(4)]
    assert [ask(guess).status_code for guess in guesses[:3]] == [401, 401, 429]
    with django_assert_num_queries(0):
        assert ask(guesses[3]).status_code == 429


def test_health_has_a_bucket_of_its_own() -> None:
    statuses(3)
    assert ask(path="/health/ready").status_code == 200
    assert 429 in statuses(3, path="/health/ready")


def test_addresses_of_one_ipv6_host_are_one() -> None:
    answers = [ask(REMOTE_ADDR=f"2001:db8::{n}").status_code for n in range(1, 4)]
    assert answers == [401, 401, 429]
    assert ask(REMOTE_ADDR="2001:db8:0:1::1").status_code == 401


def test_forwarded_address_counts_only_behind_trusted_proxies(
    settings: Settings,
) -> None:
    forged = [{"X-Forwarded-For": f"198.51.100.{n}"} for n in range(3)]
    assert [ask(headers=one).status_code for one in forged] == [401, 401, 429]
    settings.TRUSTED_PROXIES = 1
    assert [ask(headers=one).status_code for one in forged] == [401, 401, 401]


def sending(owner: User) -> Client:
    client = Client()
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def announced(client: Client) -> Any:
    picture = {"content_type": "image/png", "size_bytes": 70}
    url, headers = "/playground/uploads", {"Accept": "application/json"}
    return client.post(url, picture, content_type="application/json", headers=headers)


def test_person_who_sends_too_much_from_the_pages_is_refused_in_every_browser(
    settings: Settings, owner: User
) -> None:
    settings.RATE_PER_PERSON = SLOW
    desk, phone = sending(owner), sending(owner)
    answers = [announced(one).status_code for one in (desk, phone)]
    assert answers == [201, 201]
    refused = announced(phone)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1700 < int(refused["Retry-After"]) <= 1800
    assert Upload.objects.count() == 2
    page = desk.post("/keys", {"name": "one more"})
    assert page.status_code == 429 and b"Try again in" in page.content
    assert not ApiKey.objects.filter(user=owner).exists()


def test_person_who_has_sent_too_much_may_look_and_sign_out(
    settings: Settings, owner: User
) -> None:
    settings.RATE_PER_PERSON = "1/h"
    browser = sending(owner)
    assert [announced(browser).status_code for _ in range(2)] == [201, 429]
    assert browser.get("/jobs").status_code == 200
    assert announced(sending(joining.join("b@example.com"))).status_code == 201
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/jobs").status_code == 302


def test_limits_switched_off_count_nothing(settings: Settings, key: str) -> None:
    settings.RATE_LIMITS = False
    assert set(statuses(5, key)) == {200}
    assert "RateLimit-Limit" not in ask(key)


def test_redis_that_is_frozen_limits_nothing_and_delays_little(
    key: str, settings: Settings, tmp_path: Path
) -> None:
    redis = servers.start_redis(tmp_path)
    settings.REDIS_URL = redis.url
    client = Client(headers={"X-API-Key": key})
    try:
        assert client.get("/api/v1/account")["RateLimit-Remaining"] == "1"
        os.kill(redis.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        answers = [client.get("/api/v1/account") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        assert time.monotonic() - began < 1.5
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
        redis.stop()


# The buckets


@pytest.fixture
def buckets(settings: Settings) -> Rates:
    return Rates(settings.REDIS_URL)


def test_bucket_raced_by_many_gives_out_its_burst_and_no_more(
    settings: Settings,
) -> None:
    rate, allowed = Rate(count=1, period_s=3600, burst=50), Counter[bool]()

    def take() -> None:
        mine = Rates(settings.REDIS_URL)
        for _ in range(30):
            verdict = mine.take("raced", rate)
            assert verdict is not None
            allowed[verdict.allowed] += 1

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allowed[True] == 50


def test_bucket_fills_again_one_by_one(buckets: Rates) -> None:
    rate = Rate(count=10, period_s=1, burst=2)
    taken = [buckets.take("refilled", rate) for _ in range(3)]
    assert [one and one.allowed for one in taken] == [True, True, False]
    time.sleep(0.12)
    taken = [buckets.take("refilled", rate) for _ in range(2)]
    assert [one and one.allowed for one in taken] == [True, False]


def test_look_counts_nothing(buckets: Rates) -> None:
    rate = Rate(count=1, period_s=60, burst=1)
    looks = [buckets.take("looked at", rate, count=0) for _ in range(3)]
    assert all(one and one.allowed for one in looks)
    assert (verdict := buckets.take("looked at", rate)) and verdict.allowed


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/s", Rate(count=50, period_s=1, burst=50)),
        ("100/h:5", Rate(count=100, period_s=3600, burst=5)),
        ("off", None),
        ("", None),
    ],
)
def test_rate_is_read_from_its_text(text: str, rate: Rate | None) -> None:
    assert rates.parse(text) == rate


@pytest.mark.parametrize("text", ["50", "0/s", "5/x", "5/s:0", "-1/s", "5 / s"])
def test_text_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no rate"):
        rates.parse(text)
