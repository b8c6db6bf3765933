"""The device that an engine runs on, and what its errors mean.

Nothing here imports torch before it is asked for a device, so that the worker can read
what an engine announces without it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from gpu_worker import settings
from gpu_worker.errors import DeviceLost, EngineUnavailable, OutOfMemory, WorkerError

LIBRARIES = ("cuda", "cudnn", "cublas")
OUT_OF_MEMORY = (
    "alloc_failed",
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
)
LOST = (
    "device-side assert",
    "device is lost",
    "device lost",
    "driver shutting down",
    "ecc error",
    "has fallen off the bus",
    "illegal instruction",
    "illegal memory access",
    "launch failure",
    "launch timed out",
    "misaligned address",
    "unspecified launch failure",
    "uncorrectable",
    "xid",
)
"""After these no later call in the process can be trusted (CUDA runtime API, "sticky"
errors: the context is corrupted, the process must end)."""


def device() -> str:
    """`NIJIKA_DEVICE`, else the first GPU, else "cpu"."""
    chosen = settings.text("NIJIKA_DEVICE", "")
    if chosen:
        return chosen
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def dtype_for(device: str, *, wide: bool = False) -> Any:
    """The torch dtype to compute in: float32 on a CPU; on a GPU float16, or bfloat16
    for models whose values need its range (`wide`)."""
    import torch

    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if wide else torch.float16


def error_of(error: BaseException) -> WorkerError | None:
    """What a device's error means for the jobs: OutOfMemory or DeviceLost; None for an
    error that tells nothing of the device."""
    if isinstance(error, WorkerError):
        return error if isinstance(error, OutOfMemory | DeviceLost) else None
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory()
    text = str(error).lower()
    if not isinstance(error, RuntimeError) or not _named(text, LIBRARIES):
        return OutOfMemory() if _is_allocator(error, text) else None
    if _named(text, LOST):
        return DeviceLost()
    return OutOfMemory() if _named(text, OUT_OF_MEMORY) else None


def check_compiler(setting: str, device: str, *, backend: str = "inductor") -> None:
    """Compile next to nothing: a machine without a compiler says so when an engine is
    loaded, not in each job. `setting` asked for it. Raises EngineUnavailable."""
    import torch

    try:
        torch.compile(_next_to_nothing, backend=backend)(torch.ones(8, device=device))
    except Exception as error:  # of torch, of a compiler, or of a backend of anybody's
        raise EngineUnavailable(
            f"{setting}: torch cannot compile for {device} here ({_cause(error)})."
        ) from error


def _next_to_nothing(numbers: Any) -> Any:
    return numbers.sin() + 1


def _cause(error: Exception) -> str:
    """The name of what went wrong. Torch puts that of the inner error before its text,
    of which nothing is told: it may have this machine's paths."""
    inner = re.match(r"([A-Z]\w+): ", str(error))
    return inner[1] if inner else type(error).__name__


def free_memory() -> None:
    """Give cached memory back to the device; what is in use stays."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _named(text: str, signs: Sequence[str]) -> bool:
    return any(sign in text for sign in signs)


def _is_allocator(error: BaseException, text: str) -> bool:
    """Torch's allocator for the CPU raises a plain RuntimeError."""
    said = "defaultcpuallocator" in text or "not enough memory" in text
    return isinstance(error, RuntimeError) and said
