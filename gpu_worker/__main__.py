"""`python -m gpu_worker --queue cpu --name cpu-1 --slots 2`: one worker process."""

from __future__ import annotations

import argparse
import logging
import sys

from gpu_worker import settings
from gpu_worker.program import Program


def main() -> int:
    parser = argparse.ArgumentParser(prog="gpu_worker")
    parser.add_argument(
        "--queue", required=True, help="the kind of hardware: cpu, t4, …"
    )
    parser.add_argument("--name", default="", help="known by, unique among the living")
    parser.add_argument("--slots", type=int, default=0, help="jobs that run at once")
    options = parser.parse_args()
    logging.basicConfig(
        level=settings.log_level(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    # It logs two lines per message at INFO.
    logging.getLogger("celery").setLevel("WARNING")
    chosen = settings.read(queue=options.queue, name=options.name, slots=options.slots)
    return Program(chosen).run()


if __name__ == "__main__":
    sys.exit(main())
