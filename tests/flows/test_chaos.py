"""A short storm in a house of its own; `make chaos` is the long one."""

import random
import tempfile
from pathlib import Path

from tests import misbehaving
from tests.chaos.storm import SETTINGS, Storm
from tests.flows.house import house

SECONDS = 20.0


def test_storm_loses_nothing_and_charges_nothing_twice() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="nijika-chaos-") as folder,
        house(
            Path(folder), settings=misbehaving.SETTINGS | SETTINGS, own_postgres=True
        ) as home,
    ):
        home.sql(misbehaving.PRICES)
        storm = Storm(home=home, seed=random.randrange(10**6))
        storm.rage(seconds=SECONDS)
        assert storm.audit() == [], storm.seed
        assert storm.accepted
