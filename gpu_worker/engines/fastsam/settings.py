"""Where FastSAM's weights are, and whether the owner has acknowledged their licence."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from gpu_worker import settings
from gpu_worker.contract import Unavailable

LICENCE = "AGPL-3.0"
STRIDE_PX = 32


def acknowledged() -> bool:
    """Whether the owner wrote the licence's name down, and so knows of it."""
    return settings.text("NIJIKA_FASTSAM_LICENSE", "").strip() == LICENCE


def file() -> Path:
    default = settings.weights() / "fastsam" / "FastSAM-x.pt"
    return Path(settings.text("NIJIKA_FASTSAM_MODEL", "") or default)


def side_px() -> int:
    """The long side of what the network is shown. Raises SettingsError."""
    text = settings.text("NIJIKA_FASTSAM_SIZE", "1024")
    side = int(text) if text.isdecimal() else 0
    if side <= 0 or side % STRIDE_PX:
        raise settings.SettingsError(
            f"NIJIKA_FASTSAM_SIZE={text!r} is no multiple of {STRIDE_PX}"
        )
    return side


def keep_bytes() -> int:
    return settings.bytes_count("NIJIKA_FASTSAM_KEEP", "1GB")


def available() -> Unavailable:
    """The licence first: who has not acknowledged it need install nothing.

    Raises SettingsError for settings that cannot be read: before a worker begins.
    """
    if not acknowledged():
        return "license_not_acknowledged"
    side_px(), keep_bytes()
    if find_spec("ultralytics") is None:
        return "extra_missing"
    return "" if file().is_file() else "weights_missing"
