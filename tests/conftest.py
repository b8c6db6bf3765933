from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.db import connection
from django.test import TransactionTestCase

from billing import prices
from billing.models import Price
from jobs import news, submission
from jobs.following import waiting
from tests import scheduling

PRICES = import_module("billing.migrations.0003_prices_of_the_operations").PRICES
OWN_KEY_PRICES = import_module("billing.migrations.0004_own_key_prices").PRICES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    scheduling.sort(items)


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Any
) -> scheduling.Scheduling | None:
    if config.getoption("dist") != "loadscope":
        return None
    config.option.loadscopereorder = False
    return scheduling.Scheduling(config, log)


def _empty_tables(case: TransactionTestCase) -> None:
    """What a test with transactions of its own leaves behind goes.

    Django's own way is to TRUNCATE all tables, which makes a file anew for each of them
    and their indexes, and to write permissions and content types again: half a second
    for each of thousands of tests, most of which fill three tables with a few rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY)


TransactionTestCase._fixture_teardown = _empty_tables  # type: ignore[attr-defined]

# Without triggers: they would check keys, and keep the ledger's entries for ever.
_EMPTY = """
DO $$
DECLARE
    name regclass;
    is_filled bool;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN
        SELECT pg_class.oid::regclass FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT IN
            ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO is_filled;
        IF is_filled AND pg_relation_size(name) > 500000 THEN
            EXECUTE format('TRUNCATE %s CASCADE', name);
        ELSIF is_filled THEN
            EXECUTE format('DELETE FROM %s', name);
        END IF;
    END LOOP;
END $$
"""


@pytest.fixture(autouse=True)
def no_thread_keeps_a_connection(
    request: pytest.FixtureRequest, default_prices: None
) -> Iterator[None]:
    """The test database cannot be removed while somebody is connected.

    Set up after the fixture that takes the database, so that what these threads have
    left to say is said before it is taken away.
    """
    for taking in ("transactional_db", "db"):
        if taking in request.fixturenames:
            request.getfixturevalue(taking)
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
