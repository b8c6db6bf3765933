"""What an owner says of BiRefNet. Names and meanings: .env.example, docs/engines.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gpu_worker import settings
from gpu_worker.contract import Unavailable

MODEL_FILE = "model.safetensors"
PINNED = re.compile(r"[0-9a-f]{40}")
LISTED = re.compile(r"(.+)=([0-9a-f]{64})")
FIXED = re.compile(r"(\d+)x(\d+)")
DYNAMIC = re.compile(r"dynamic(?::(\d+))?")
MULTIPLE = 32
BATCH = 8
"""Pictures in one pass."""
DYNAMIC_SIDE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A local folder, or a hub's id, which has a `revision`."""

    name: str
    revision: str = ""

    @property
    def folder(self) -> Path | None:
        return None if self.revision else Path(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """How large the network sees a picture: always so large, or, where `is_dynamic`,
    in its own proportions with about as many pixels."""

    width_px: int
    height_px: int
    is_dynamic: bool = False


def weights() -> Weights:
    """Raises SettingsError for a hub's id without a revision of 40 digits: what a name
    alone stands for can change from one start to the next."""
    name = settings.text("NIJIKA_BIREFNET_MODEL", "")
    if not name or Path(name).is_dir():
        return Weights(name=name or str(settings.weights() / "birefnet"))
    revision = settings.text("NIJIKA_BIREFNET_REVISION", "")
    if not PINNED.fullmatch(revision):
        raise settings.SettingsError(
            f"NIJIKA_BIREFNET_MODEL={name!r} is no folder: as a hub's id it needs "
            "NIJIKA_BIREFNET_REVISION, the 40 digits of a commit"
        )
    return Weights(name=name, revision=revision)


def sizing() -> Sizing:
    """Raises SettingsError for a size that the network cannot take."""
    text = settings.text("NIJIKA_BIREFNET_SIZE", "1024x1024")
    if match := DYNAMIC.fullmatch(text):
        side = int(match[1] or DYNAMIC_SIDE)
        return Sizing(width_px=side, height_px=side, is_dynamic=True)
    fixed = FIXED.fullmatch(text)
    sides = [int(side) for side in fixed.groups()] if fixed else [0, 0]
    if any(side == 0 or side % MULTIPLE for side in sides):
        raise settings.SettingsError(
            f"NIJIKA_BIREFNET_SIZE={text!r} must be dynamic, dynamic:SIDE, or WIDTHx"
            f"HEIGHT in multiples of {MULTIPLE}"
        )
    return Sizing(width_px=sides[0], height_px=sides[1])


def compiles() -> bool:
    """Raises SettingsError."""
    chosen = settings.text("NIJIKA_BIREFNET_COMPILE", "off")
    if chosen not in ("on", "off"):
        raise settings.SettingsError(f"NIJIKA_BIREFNET_COMPILE={chosen!r}: on or off")
    return chosen == "on"


def trusted() -> dict[Path, str]:
    """The folders whose code may run here, each with the hash of that code."""
    entries = settings.text("NIJIKA_BIREFNET_REMOTE_CODE", "").split(",")
    return dict(_listed(entry.strip()) for entry in entries if entry.strip())


def available() -> Unavailable:
    """Raises SettingsError for settings that cannot be read: before a worker begins."""
    sizing(), compiles(), trusted()
    folder = weights().folder
    has_file = folder is None or (folder / MODEL_FILE).is_file()
    return "" if has_file else "weights_missing"


def _listed(entry: str) -> tuple[Path, str]:
    match = LISTED.fullmatch(entry)
    if match is None:
        shape = "FOLDER=the 64 digits of its hash"
        raise settings.SettingsError(f"NIJIKA_BIREFNET_REMOTE_CODE: not {shape}")
    return Path(match[1]).resolve(), match[2]
