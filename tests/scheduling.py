"""Which tests a parallel worker of pytest-xdist gets together, and what comes first.

A module's tests stay together. The flows of a kind do, too: they share a house, whose
start takes seconds, and two houses that are killed and frozen side by side would only
measure each other. Their order is that of their need: those that mostly wait (for a
lease, for a restart) come first, so that the other workers have the processors.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

BREAKING = "tests/flows: what breaks, and the commands"
SERVING = "tests/flows: what serves"
BROWSER = "tests/browser"
PICTURES = "tests/onthefly: pictures"
PROVIDERS = "tests/engines: providers"
LONGEST = (BREAKING, SERVING, BROWSER, PICTURES, PROVIDERS)
TOGETHER = {
    "tests/flows/test_recovery": BREAKING,
    "tests/flows/test_chaos": BREAKING,
    "tests/flows/test_commands": BREAKING,
    "tests/flows/": SERVING,
    "tests/browser/": BROWSER,
    "tests/onthefly/test_pictures": PICTURES,
    "tests/onthefly/test_queries": PICTURES,
    "tests/onthefly/test_flights": PICTURES,
    "tests/engines/providers/": PROVIDERS,
}


def scope_of(nodeid: str) -> str:
    """What is run by one worker, and one after the other."""
    module = nodeid.split("::", 1)[0]
    for start, scope in TOGETHER.items():
        if module.startswith(start):
            return scope
    return module


def sort(items: list[pytest.Item]) -> None:
    """The longest scopes first, else the order in which they were found."""
    places = {scope: place for place, scope in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(scope_of(item.nodeid), len(LONGEST)))


class Scheduling(LoadScopeScheduling):
    """`--dist loadscope` with these scopes, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
