"""`make chaos`: a storm of ten minutes, or `python -m tests.chaos SECONDS [SEED]`."""

import random
import sys
import tempfile
import time
from pathlib import Path

from tests import misbehaving
from tests.chaos.storm import SETTINGS, Storm
from tests.flows.house import house


def main(seconds: float = 600, seed: int | None = None) -> int:
    seed = random.randrange(10**6) if seed is None else seed
    print(f"A storm of {seconds:.0f} s, seed {seed} …", flush=True)
    with tempfile.TemporaryDirectory(prefix="nijika-chaos-") as folder:
        return _storm(Path(folder), seconds, seed)


def _storm(folder: Path, seconds: float, seed: int) -> int:
    began = time.monotonic()
    with house(folder, settings=misbehaving.SETTINGS | SETTINGS) as home:
        home.sql(misbehaving.PRICES)
        home.sql("UPDATE billing_price SET credits = 0.001")

        def say(text: str) -> None:
            accepted = len(storm.accepted)
            passed = time.monotonic() - began
            print(f"{passed:6.0f} s  {accepted:5} accepted  {text}", flush=True)

        storm = Storm(home=home, seed=seed, say=say)
        storm.rage(seconds=seconds)
        print("The storm is over; waiting for every job's end …", flush=True)
        problems = storm.audit()
        print(f"faults    {dict(storm.faults)}")
        print(f"answers   {dict(storm.answers)}")
        print(f"jobs      {dict(storm.statuses())}")
        print("\n".join(problems) or "clean: nothing lost, nothing charged twice")
        return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
