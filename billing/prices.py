"""What a job costs. Prices are rows, edited in the admin and read from a cache.

A row that names an engine goes before the operation's own row. A job with an own key,
which its owner pays at the provider, costs what a row for those says; without one it
costs what others do. A process sees a change
within a second, the process that made it at once.
"""

import threading
import time
from decimal import Decimal

from billing.errors import PriceMissing
from billing.models import Price

FRESH_S = 1.0
_Prices = dict[tuple[str, str, bool], Decimal]


def price_of(operation: str, engine: str, *, own_key: bool = False) -> Decimal:
    """The credits that one job costs now. Raises PriceMissing."""
    prices = _cache.prices()
    for of_own in (True, False) if own_key else (False,):
        for name in (engine, ""):
            if (price := prices.get((operation, name, of_own))) is not None:
                return price
    raise PriceMissing(operation)


def forget() -> None:
    """Read the prices anew when one is next asked for."""
    _cache.forget()


class _Cache:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prices: _Prices = {}
        self._fresh_until = 0.0

    def prices(self) -> _Prices:
        # Whoever comes while another thread reads waits for it, in a crowd of one.
        if time.monotonic() >= self._fresh_until:
            with self._lock:
                if time.monotonic() >= self._fresh_until:
                    self._read()
        return self._prices

    def _read(self) -> None:
        rows = Price.objects.values_list("operation", "engine", "own_key", "credits")
        started = time.monotonic()
        self._prices = {
            (operation, engine, own_key): credits
            for operation, engine, own_key, credits in rows
        }
        self._fresh_until = started + FRESH_S

    def forget(self) -> None:
        self._fresh_until = 0.0


_cache = _Cache()
