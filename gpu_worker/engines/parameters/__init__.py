"""The parameters of operations as JSON schemas, apart from what does the work: the
worker's own process reads them, and imports neither NumPy nor a decoder.

    PROPERTIES   the members of `properties`
    RULES        what else the schema says (`anyOf`, `dependentRequired`, ...), if any
"""

from __future__ import annotations

from typing import Any

COLOUR: dict[str, Any] = {
    "type": "string",
    # "$" alone would let a line break follow.
    "pattern": "^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$(?!\\n)",
    "x-form": "must be like #fff or #81d4fa",
}
"""#rgb or #rrggbb."""


def schema(properties: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    """The whole schema. What it does not name is refused."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    } | rules
