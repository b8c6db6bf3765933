from collections.abc import Iterator
from importlib import import_module

import pytest

from billing import prices
from billing.models import Price
from jobs import news, submission, waiting

PRICES = import_module("billing.migrations.0003_prices_of_the_operations").PRICES
OWN_KEY_PRICES = import_module("billing.migrations.0004_own_key_prices").PRICES


@pytest.fixture(autouse=True)
def no_thread_keeps_a_connection() -> Iterator[None]:
    """The test database cannot be removed while somebody is connected."""
    yield
    submission.close_combiner()
    waiting.close_room()
    news.fall_silent()


@pytest.fixture(autouse=True)
def default_prices(request: pytest.FixtureRequest) -> None:
    """A test with transactions of its own empties the tables, prices included, for
    itself and for whatever comes after it on this process."""
    prices.forget()
    marker = request.node.get_closest_marker("django_db")
    if marker is None:
        return
    own = marker.kwargs.get("transaction")
    request.getfixturevalue("transactional_db" if own else "db")
    Price.objects.bulk_create(
        [
            Price(operation=name, credits=price, own_key=own_key)
            for own_key, prices_of in ((False, PRICES), (True, OWN_KEY_PRICES))
            for name, price in prices_of.items()
        ],
        ignore_conflicts=True,
    )
    prices.forget()
