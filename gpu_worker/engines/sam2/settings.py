"""Where SAM 2's weights are: a local folder, or a hub's id at a pinned revision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gpu_worker import settings
from gpu_worker.contract import Unavailable

PINNED = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """`name`: a folder, or a hub's id, which has a `revision`."""

    name: str
    revision: str = ""

    @property
    def are_local(self) -> bool:
        return not self.revision


def weights() -> Weights:
    """Raises SettingsError for a hub's id without a revision of 40 digits: what a name
    alone stands for can change from one start to the next."""
    name = settings.text("NIJIKA_SAM2_MODEL", "")
    if not name or Path(name).is_dir():
        return Weights(name=name or str(settings.weights() / "sam2"))
    revision = settings.text("NIJIKA_SAM2_REVISION", "")
    if not PINNED.fullmatch(revision):
        raise settings.SettingsError(
            f"NIJIKA_SAM2_MODEL={name!r} is no folder: as a hub's id it needs "
            "NIJIKA_SAM2_REVISION, the 40 digits of a commit"
        )
    return Weights(name=name, revision=revision)


def keep_bytes() -> int:
    return settings.bytes_count("NIJIKA_SAM2_KEEP", "1GB")


def available() -> Unavailable:
    """Raises SettingsError for settings that cannot be read: before a worker begins."""
    keep_bytes()
    if find_spec("transformers") is None or find_spec("torch") is None:
        return "extra_missing"
    chosen = weights()
    has_file = (Path(chosen.name) / "config.json").is_file()
    return "weights_missing" if chosen.are_local and not has_file else ""
