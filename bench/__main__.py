"""`python -m bench`: nijika beside a plain DRF + Celery app, as ratios.

Both run on one real, durable PostgreSQL and a Redis each, on this machine; the load
comes from a process of its own; rounds are interleaved, so that whatever else the
machine does strikes both. Every figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench import measures, stacks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="per round of submits")
    parser.add_argument("--only", default="", help="names of measures, comma list")
    arguments = parser.parse_args()
    chosen = [name for name in arguments.only.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="nijika-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with stacks.both(folder) as systems:
            measures.run(systems, arguments.rounds, arguments.seconds, chosen)


if __name__ == "__main__":
    main()
