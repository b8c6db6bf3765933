"""The networks' files: NAME.safetensors or NAME.pth, as they are published."""

from __future__ import annotations

from pathlib import Path

from gpu_worker import settings
from gpu_worker.contract import Unavailable
from gpu_worker.engines.parameters.upscale import MODELS

ENDINGS = (".safetensors", ".pth")
TWINS = {"realesr-general-x4v3": "realesr-general-wdn-x4v3"}
"""The same network, trained to keep noise; half of each is what is used."""


def folder() -> Path:
    """`NIJIKA_UPSCALE_MODELS`: upscale/ in the weights' folder unless set."""
    chosen = settings.text("NIJIKA_UPSCALE_MODELS", "")
    return Path(chosen) if chosen else settings.weights() / "upscale"


def file_of(name: str) -> Path | None:
    paths = (folder() / f"{name}{ending}" for ending in ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def present() -> tuple[str, ...]:
    """Those of the five names that have a file."""
    return tuple(name for name in MODELS if file_of(name))


def available() -> Unavailable:
    """Raises SettingsError for settings that cannot be read: before a worker begins."""
    tile_px()
    return "" if present() else "weights_missing"


def tile_px() -> int:
    """The side of a tile of the source."""
    text = settings.text("NIJIKA_UPSCALE_TILE", "512")
    if not text.isdecimal() or int(text) < 32:
        raise settings.SettingsError(f"NIJIKA_UPSCALE_TILE={text!r} is no side in px")
    return int(text)
