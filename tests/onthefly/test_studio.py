"""Makers in two processes, makers that die, and what is kept of their work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from accounts.models import User
from jobs import retention
from jobs.models import Job, Rendition
from jobs.onthefly import renditions
from jobs.onthefly.flights import Flight, Order
from jobs.onthefly.renditions import Draft, Kept
from jobs.onthefly.sources import Located
from jobs.onthefly.studio import Studio
from jobs.storage import store
from tests.flows.house import eventually
from tests.jobs.working import submit, user_with
from tests.onthefly.conftest import PHOTOS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_store(settings: Settings, tmp_path: Path) -> None:
    settings.STORAGE_URL = f"file://{tmp_path}/store"
    renditions.forget()


@pytest.fixture
def user() -> User:
    return user_with("5")


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renditions, "LEASE_S", 2.0)
    monkeypatch.setattr("jobs.onthefly.clerk.RENEW_EVERY_S", 0.2)


@pytest.fixture
def studios() -> Iterator[list[Studio]]:
    """Two processes' studios: they share the database and the store, and no memory."""
    both = [Studio(), Studio()]
    yield both
    for one in both:
        one.close()


def order(user: User, key: str, *, job_id: UUID | None = None) -> Order:
    draft = Draft(key=key, user_id=user.pk, source_job=job_id, until=None)
    source = Located(path=PHOTOS / "animal_white_tiger.jpg")
    parameters = {"width": 60, "format": "jpeg"}
    return Order(draft=draft, sources=[source], parameters=parameters)


def key_of(text: str) -> str:
    return renditions.key_of(test=text)


def offered(studio: Studio, user: User, key: str, **options: Any) -> Flight:
    return studio.offer(key, user.pk, lambda: order(user, key, **options))


def files() -> list[str]:
    return [file.key for file in store().list(renditions.ROOT)]


def kept(user: User, text: str, **row: Any) -> Kept:
    """A picture that is ready, and its file."""
    key = key_of(text)
    file = renditions.file_of(key, uuid4())
    store().write(file, b"x" * 100)
    row = {"expires_at": datetime.now(UTC) + timedelta(hours=1)} | row
    values = {"content_type": "image/jpeg", "size_bytes": 100, "sha256": "0" * 64}
    Rendition.objects.create(key=key, user=user, file=file, **values | row)
    found = renditions.look([key]).get(key)
    return found or Kept(
        key=key,
        user_id=user.pk,
        file=file,
        content_type="",
        size_bytes=0,
        sha256="",
        until=0,
    )


def test_picture_wanted_in_two_processes_is_made_in_one(
    studios: list[Studio], user: User
) -> None:
    key = key_of("both")
    flights = [offered(studio, user, key) for studio in studios]
    made = [flight.made.result(60) for flight in flights]
    assert made[0].content == made[1].content
    assert [flight.claim is None for flight in flights] == [False, True]
    eventually(lambda: renditions.find(key), within_s=20)
    assert len(files()) == 1


def test_maker_that_died_is_replaced_once_its_lease_is_over(
    short_lease: None, studios: list[Studio], user: User
) -> None:
    key = key_of("dead")
    dead = renditions.claim(order(user, key).draft)
    assert dead is not None
    began = time.monotonic()
    flight = offered(studios[0], user, key)
    assert flight.made.result(60).content
    assert time.monotonic() - began > 1.8, "not before its lease was over"
    assert flight.claim not in (None, dead)


def test_maker_that_lives_keeps_its_claim(
    short_lease: None, studios: list[Studio], user: User
) -> None:
    key = key_of("slow")
    slow = Located(load=lambda path: _slowly(path))
    wish = order(user, key)
    first = studios[0].offer(
        key,
        user.pk,
        lambda: Order(draft=wish.draft, sources=[slow], parameters=wish.parameters),
    )
    second = offered(studios[1], user, key)
    assert first.made.result(60).content == second.made.result(60).content
    assert second.claim is None


def _slowly(path: Path) -> None:
    time.sleep(3)  # longer than a lease that nobody renews
    path.write_bytes((PHOTOS / "animal_white_tiger.jpg").read_bytes())


def test_failure_is_nobodys_but_its_own(
    studios: list[Studio], user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renditions, "LEASE_S", 3600)  # nobody waits for its end
    key = key_of("fails")
    wish = order(user, key)
    broken = Located(path=Path(__file__))
    failing = studios[0].offer(
        key,
        user.pk,
        lambda: Order(draft=wish.draft, sources=[broken], parameters={}),
    )
    assert failing.made.exception(60) is not None
    assert offered(studios[1], user, key).made.result(60).content


def test_picture_of_a_job_erased_meanwhile_is_not_kept(
    studios: list[Studio], user: User
) -> None:
    [job_id] = submit(user)
    Job.objects.filter(pk=job_id).update(erased_at=datetime.now(UTC))
    flight = offered(studios[0], user, key_of("erased"), job_id=job_id)
    assert flight.kept.result(60) is None
    assert files() == []
    assert renditions.find(key_of("erased")) is None


def test_claim_is_had_by_one_of_many(user: User) -> None:
    draft = order(user, key_of("claim")).draft
    claims = [renditions.claim(draft) for _ in range(5)]
    assert len([claim for claim in claims if claim]) == 1
    renditions.give_up([claim for claim in claims if claim])
    assert renditions.claim(draft) is not None


def test_ready_picture_cannot_be_claimed_until_it_is_over(user: User) -> None:
    ready = kept(user, "ready")
    draft = Draft(key=ready.key, user_id=user.pk, source_job=None, until=None)
    assert renditions.claim(draft) is None
    past = datetime.now(UTC) - timedelta(seconds=1)
    Rendition.objects.filter(key=ready.key).update(expires_at=past)
    assert renditions.claim(draft) is not None


def test_sweep_takes_what_is_over_and_the_oldest_beyond_the_limit(
    user: User, settings: Settings
) -> None:
    now = datetime.now(UTC)
    kept(user, "over", expires_at=now - timedelta(seconds=1))
    for age in range(4):
        kept(user, f"age {age}", made_at=now - timedelta(minutes=age))
    settings.ONTHEFLY_CACHE_LIMIT_BYTES = 250
    renditions.sweep()
    left = set(Rendition.objects.values_list("key", flat=True))
    assert left == {key_of("age 0"), key_of("age 1")}
    assert {file.split("/")[2].partition("-")[0] for file in files()} == left


def test_sweep_takes_old_files_that_no_row_names(
    user: User, settings: Settings
) -> None:
    ready = kept(user, "named")
    stray = renditions.file_of(ready.key, uuid4())
    store().write(stray, b"left by a maker that died")
    settings.ORPHAN_AFTER_S = 3600
    retention.sweep()
    assert sorted(files()) == sorted([ready.file, stray]), "it may be still at it"
    settings.ORPHAN_AFTER_S = -1
    retention.sweep()
    assert files() == [ready.file]


def test_key_of_one_wish_is_never_anothers() -> None:
    wishes: list[dict[str, Any]] = [
        {"width": 10, "height": 1111},
        {"width": 101, "height": 111},
        {"width": 1011, "height": 11},
        {"width": 10, "height": "1111"},
        {"width": [10], "height": 1111},
        {"user": 1, "source": "a"},
        {"user": 1, "source": "a", "mark": ""},
        {"user": 11, "source": "a"},
    ]
    assert len({renditions.key_of(**wish) for wish in wishes}) == len(wishes)
    assert renditions.key_of(a=1, b=2) == renditions.key_of(b=2, a=1)


def test_index_of_the_cache_is_not_logged() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relpersistence::text FROM pg_class WHERE relname = 'jobs_rendition'"
        )
        assert cursor.fetchone() == ("u",)
