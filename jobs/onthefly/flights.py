"""A picture on its way: what it is made from, and who waits for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from jobs.onthefly.renditions import Draft, Kept
from jobs.onthefly.sources import Located


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All that making needs. The first source is the picture, a second its mark."""

    draft: Draft
    sources: Sequence[Located]
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A picture fresh from its child, or read back. `until`: as of `Kept`."""

    content: bytes
    content_type: str
    sha256: str
    until: float


@dataclass(slots=True, eq=False)
class Flight:
    """A picture on its way. `made` is for whoever wants the bytes, `kept` for whoever
    wants to be sent to the file."""

    key: str
    user_id: int
    made: Future[Made] = field(default_factory=Future)
    kept: Future[Kept | None] = field(default_factory=Future)
    order: Order | None = None
    claim: UUID | None = None
    files: list[Path] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)
