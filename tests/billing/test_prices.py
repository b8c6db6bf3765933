from collections.abc import Iterator
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from billing import prices
from billing.errors import PriceMissing
from billing.models import Price
from tests import misbehaving

MIGRATION = import_module("billing.migrations.0003_prices_of_the_operations")
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_prices() -> Iterator[None]:
    prices.forget()
    yield
    prices.forget()


@pytest.mark.parametrize(
    ("operation", "price"), [("removebg", "0.01"), ("upscale", "0.02")]
)
def test_price_of_a_known_operation_has_a_default(operation: str, price: str) -> None:
    assert prices.price_of(operation, "classical") == Decimal(price)


def test_price_of_every_operation_that_is_offered_has_a_default() -> None:
    offered = settings.DEFAULT_ENGINES
    assert offered == misbehaving.DEFAULT_ENGINES
    for operation, engine in offered.items():
        assert prices.price_of(operation, engine) > 0, operation


def test_migration_keeps_prices_that_the_owner_has_set() -> None:
    Price.objects.all().delete()
    Price.objects.create(operation="resize", credits=Decimal("0.01"))
    Price.objects.create(operation="crop", credits=Decimal(7))
    Price.objects.create(operation="resize", engine="big", credits=Decimal("0.01"))
    with connection.cursor() as cursor:
        cursor.execute(MIGRATION.CHANGE)
        for price in MIGRATION.PRICES.items():
            cursor.execute(MIGRATION.INSERT, list(price))
    prices.forget()
    assert prices.price_of("resize", "imaging") == Decimal("0.001")
    assert prices.price_of("resize", "big") == Decimal("0.01")
    assert prices.price_of("crop", "imaging") == 7
    assert prices.price_of("edit", "qwen-image-edit") == Decimal("0.05")


def test_price_of_an_engine_goes_before_the_operations() -> None:
    Price.objects.create(operation="removebg", engine="big", credits=Decimal(1))
    assert prices.price_of("removebg", "big") == 1
    assert prices.price_of("removebg", "classical") == Decimal("0.01")


def test_price_with_an_own_key_is_its_own_and_else_the_ordinary_one() -> None:
    assert prices.price_of("edit", "google", own_key=True) == Decimal("0.005")
    Price.objects.create(
        operation="edit", engine="google", own_key=True, credits=Decimal("0.002")
    )
    prices.forget()
    assert prices.price_of("edit", "google", own_key=True) == Decimal("0.002")
    assert prices.price_of("edit", "google") == Decimal("0.05")
    assert prices.price_of("upscale", "hosted", own_key=True) == Decimal("0.02")


def test_price_that_is_not_set_is_refused() -> None:
    with pytest.raises(PriceMissing):
        prices.price_of("dance", "classical")


def test_price_saved_is_seen_at_once() -> None:
    prices.price_of("removebg", "classical")
    removebg = Price.objects.get(operation="removebg")
    removebg.credits = Decimal(3)
    removebg.save()
    assert prices.price_of("removebg", "classical") == 3


def test_price_changed_elsewhere_is_seen_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("billing.prices.time.monotonic", lambda: now)
    prices.price_of("removebg", "classical")
    Price.objects.filter(operation="removebg").update(credits=Decimal(3))
    now += 1
    assert prices.price_of("removebg", "classical") == 3


def test_prices_asked_often_cost_one_query(
    django_assert_num_queries: Any,
) -> None:
    with django_assert_num_queries(1):
        for _ in range(10):
            prices.price_of("removebg", "classical")
