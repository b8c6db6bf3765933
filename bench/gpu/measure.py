"""What a part of the bench needs: seconds, memory, the device's peak, a table."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

PEAK_SIDE = 8192
PEAK_REPEATS = 20


def has_gpu() -> bool:
    return bool(torch.cuda.is_available())


def peak(dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product of random numbers: the best that was seen."""
    one, other = (
        torch.randn(PEAK_SIDE, PEAK_SIDE, device="cuda", dtype=dtype) for _ in "ab"
    )
    taken = seconds_of_each(lambda: one @ other, repeats=PEAK_REPEATS)
    return 2 * PEAK_SIDE**3 / statistics.median(taken)


def seconds(call: Callable[[], Any], *, repeats: int = 10) -> float:
    """The median of the device's time for the call, after three calls to warm up."""
    return statistics.median(seconds_of_each(call, repeats=repeats))


def seconds_of_each(call: Callable[[], Any], *, repeats: int) -> list[float]:
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    taken = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in "ab")
        begin.record()
        call()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end) / 1000)
    return taken


@dataclass(slots=True)
class Memory:
    """The most that torch took of the device within the block, in bytes: what recorded
    graphs keep as well."""

    most: int = 0

    def __enter__(self) -> Memory:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return self

    def __exit__(self, *error: object) -> None:
        self.most = torch.cuda.max_memory_reserved()


@dataclass(slots=True)
class Report:
    """Rows, printed as they come and once more at the end."""

    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    def device(self) -> None:
        self.fact("device", torch.cuda.get_device_name())
        self.fact("torch", torch.__version__)
        self.fact("peak_fp16_tflops", round(peak(torch.float16) / 1e12))
        self.fact("peak_bf16_tflops", round(peak(torch.bfloat16) / 1e12))

    def fact(self, name: str, value: Any) -> None:
        self.facts[name] = value
        self.say(f"{name}: {value}")

    def row(self, **values: Any) -> None:
        self.rows.append(values)
        self.say("  ".join(f"{name}={value}" for name, value in values.items()))

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began_at:6.1f} s] {text}", flush=True)

    def finish(self, name: str) -> None:
        print()
        self._table()
        if folder := os.environ.get("OUT"):
            found = {"facts": self.facts, "rows": self.rows}
            Path(folder, f"gpu-{name}.json").write_text(json.dumps(found, indent=1))

    def _table(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        print("|", " | ".join(names), "|")
        print("|", " | ".join("---" for _ in names), "|")
        for row in self.rows:
            print("|", " | ".join(str(row.get(name, "")) for name in names), "|")
