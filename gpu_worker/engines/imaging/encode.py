"""encode: the same picture as another file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpu_worker.engines.base import Picture

WHOLE = True


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The picture as it is."""
    return picture
