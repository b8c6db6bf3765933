"""What `encode` can be asked for: nothing but how the result is encoded."""

from __future__ import annotations

from typing import Any

PROPERTIES: dict[str, Any] = {}
