"""Engines on tiny models and hosted providers on local servers: `make test-engines`."""

from importlib.util import find_spec

import pytest

# `make test` runs in an environment without torch; these have a run of their own.
collect_ignore_glob = [] if find_spec("torch") else ["*"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/engines/" in item.nodeid:
            item.add_marker(pytest.mark.engines)
