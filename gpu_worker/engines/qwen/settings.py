"""Where the weights of the Qwen engines are, and how they are run. Read late.

    <weights>/qwen-image/                 a folder as `save_pretrained` writes it
    <weights>/qwen-image-lora/            LoRA sets for it
    <weights>/qwen-image-edit/            likewise, for editing
    <weights>/qwen-image-edit-lora/

A set is a file `<name>.safetensors`, or a folder `<name>/` of such files that are used
together. `lightning-<steps>` is the set of the fast tier, made for so many steps; every
other set of the editing model is named for its task: insertion, removal, white-balance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from gpu_worker import settings
from gpu_worker.settings import SettingsError

Name = Literal["qwen-image", "qwen-image-edit"]
Memory = Literal["resident", "offload", "quantised"]
Size = tuple[int, int]
"""Width and height in pixels."""

MEMORIES = ("resident", "offload", "quantised")
OFFICIAL_SIZES = "1328x1328,1664x928,928x1664,1472x1104,1104x1472,1584x1056,1056x1584"
"""The sizes that the checkpoints were trained for (their model cards)."""
LIGHTNING = re.compile(r"lightning-(\d{1,2})$")
LEAST_REFERENCE_PX = 64
SMALL: Size = (64, 64)
MULTIPLE_PX = 16
"""A token is 2 x 2 latents of 8 x 8 pixels each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder, or an id of a hub with the revision that was looked at."""

    place: str
    revision: str | None = None


def check() -> None:
    """Raises SettingsError for settings that cannot be read: before a worker begins."""
    if compiler() and memory() != "resident":
        raise SettingsError("NIJIKA_QWEN_COMPILE needs NIJIKA_QWEN_MEMORY=resident")
    sizes(), warm_sizes(), reference_px(), removal_begins_with(), memory()


def source(name: Name) -> Source | None:
    """Where the engine's model is; None: there is none. Raises SettingsError."""
    if name == "qwen-image":
        variables = "NIJIKA_QWEN_IMAGE_MODEL", "NIJIKA_QWEN_IMAGE_REVISION"
    else:
        variables = "NIJIKA_QWEN_EDIT_MODEL", "NIJIKA_QWEN_EDIT_REVISION"
    place, revision = (settings.text(variable, "") for variable in variables)
    folder = Path(place) if place else settings.weights() / name
    if (folder / "model_index.json").is_file():
        return Source(place=str(folder))
    if not place or folder.is_absolute():
        return None
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise SettingsError(f"{variables[1]}: the 40 digits of a commit of {place}")
    return Source(place=place, revision=revision)


def lora_sets(name: Name) -> dict[str, tuple[Path, ...]]:
    """The files of each LoRA set, by its name."""
    folder = settings.weights() / f"{name}-lora"
    found: dict[str, tuple[Path, ...]] = {}
    for place in sorted(folder.glob("*")) if folder.is_dir() else []:
        if place.suffix == ".safetensors":
            found[place.stem] = (place,)
        elif files := tuple(sorted(place.glob("*.safetensors"))):
            found[place.name] = files
    return found


def lightning(name: Name) -> tuple[str, int] | None:
    """The set of the fast tier and its steps; the fewest, where there are several."""
    named = ((LIGHTNING.match(one), one) for one in lora_sets(name))
    tiers = [(int(match[1]), one) for match, one in named if match]
    return min(tiers)[::-1] if tiers else None


def memory() -> Memory:
    chosen = settings.text("NIJIKA_QWEN_MEMORY", "resident")
    if chosen not in MEMORIES:
        raise SettingsError(f"NIJIKA_QWEN_MEMORY is none of: {', '.join(MEMORIES)}")
    return cast(Memory, chosen)


def compiler() -> str:
    """The backend of torch.compile for the repeated blocks; "": none."""
    chosen = settings.text("NIJIKA_QWEN_COMPILE", "off")
    return {"off": "", "on": "inductor"}.get(chosen, chosen)


def sizes() -> tuple[Size, ...]:
    """The sizes that are painted."""
    return _sizes("NIJIKA_QWEN_SIZES", OFFICIAL_SIZES)


def warm_sizes(device: str = "") -> tuple[Size, ...]:
    """The sizes that are painted once before work is taken: the first, unless said. On
    a CPU there are no kernels to choose, and a large picture takes minutes."""
    chosen = settings.text("NIJIKA_QWEN_WARM_UP", "")
    if not chosen and device == "cpu" and not compiler():
        return (SMALL,)
    chosen = chosen or "first"
    if chosen in ("first", "all", "none"):
        return {"first": sizes()[:1], "all": sizes(), "none": ()}[chosen]
    return _sizes("NIJIKA_QWEN_WARM_UP", "")


def reference_px() -> int:
    """The side of the square that has as many pixels as a reference is made to have."""
    text = settings.text("NIJIKA_QWEN_REFERENCE_PX", "1024")
    if not text.isdecimal() or int(text) < LEAST_REFERENCE_PX:
        least = f"a whole number of pixels from {LEAST_REFERENCE_PX} on"
        raise SettingsError(f"NIJIKA_QWEN_REFERENCE_PX={text!r} is not {least}")
    return int(text)


def removal_begins_with() -> str:
    """What the removal's LoRA set was trained to see first."""
    chosen = settings.text("NIJIKA_QWEN_REMOVAL_FIRST", "masked_background")
    if chosen not in ("masked_background", "image"):
        raise SettingsError("NIJIKA_QWEN_REMOVAL_FIRST: masked_background or image")
    return chosen


def _sizes(variable: str, default: str) -> tuple[Size, ...]:
    entries = settings.text(variable, default).split(",")
    return tuple(_size(variable, entry.strip()) for entry in entries)


def _size(variable: str, entry: str) -> Size:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", entry)
    if match is None or any(int(side) % MULTIPLE_PX for side in match.groups()):
        wanted = f"WIDTHxHEIGHT in multiples of {MULTIPLE_PX}"
        raise SettingsError(f"{variable}: {entry!r} is not {wanted}")
    return int(match[1]), int(match[2])
