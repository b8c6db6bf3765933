"""python -m bench.gpu PART...: a table for each part, and numbers as JSON in $OUT."""

from __future__ import annotations

import argparse
from importlib import import_module

from bench.gpu import measure

PARTS = ("birefnet", "fastsam", "sam2", "qwen")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu")
    parser.add_argument("parts", nargs="*", choices=PARTS, default="birefnet")
    parser.add_argument("--quick", action="store_true", help="the main line only")
    wanted = parser.parse_args()
    if not measure.has_gpu():
        raise SystemExit("no GPU here: nothing was measured")
    report = measure.Report()
    report.device()
    parts = [wanted.parts] if isinstance(wanted.parts, str) else wanted.parts
    for part in parts:
        import_module(f"bench.gpu.{part}").run(report, quick=wanted.quick)
    report.finish("-".join(parts))


if __name__ == "__main__":
    main()
