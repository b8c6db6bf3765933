from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.dispatch import Dispatcher
from tests.jobs.queueing import Broker


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    broker.clear()
    yield broker
    broker.client.close()


@pytest.fixture
def dispatcher(broker: Broker) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher("cpu")
    yield dispatcher
    dispatcher.close()
