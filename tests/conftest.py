from collections.abc import Iterator

import pytest

from jobs import submission


@pytest.fixture(autouse=True)
def no_thread_keeps_a_connection() -> Iterator[None]:
    """The test database cannot be removed while somebody is connected."""
    yield
    submission.close_combiner()
