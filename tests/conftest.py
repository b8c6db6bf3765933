from collections.abc import Iterator

import pytest

from billing import prices
from billing.models import Price
from jobs import submission


@pytest.fixture(autouse=True)
def no_thread_keeps_a_connection() -> Iterator[None]:
    """The test database cannot be removed while somebody is connected."""
    yield
    submission.close_combiner()


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
    defaults = {"removebg": "0.01", "upscale": "0.02", "resize": "0.01"}
    Price.objects.bulk_create(
        [Price(operation=name, credits=price) for name, price in defaults.items()],
        ignore_conflicts=True,
    )
    prices.forget()
