"""What each hosted engine can be asked for: members that the provider honours, and of
the others none, so that what it would ignore is refused."""

from __future__ import annotations

from typing import Any

from gpu_worker.contract import EngineSpec
from gpu_worker.engines import parameters
from gpu_worker.engines.hosted import options
from gpu_worker.engines.parameters import edit, generate, output

ENDING_S = 60.0
"""What a run may take beside the provider's time: reading, fetching, encoding."""
LICENCE = "the provider's terms"
MEMBERS = ("prompt", "angle", "scene", "width", "height")
"""What all of them honour, of what the operation has; a size by bringing the result to
it."""


def spec(operation: str, engine: str, *members: str, **rest: Any) -> EngineSpec:
    """An engine that honours `MEMBERS`, these, and how the result is written."""
    module = edit if operation == "edit" else generate
    wanted = {*MEMBERS, *members, *generate.OUTPUT}
    properties = {n: one for n, one in module.PROPERTIES.items() if n in wanted}
    given: dict[str, Any] = {
        "operation": operation,
        "engine": engine,
        "queue": "remote",
        "parameters": parameters.schema(properties, _rules(operation)),
        "images": module.IMAGES,
        "results": generate.MOST_RESULTS if "n" in members else 1,
        "run_limit_s": options.timeout_s() + ENDING_S,
        "licence": LICENCE,
        "extra": "remote",
    }
    return EngineSpec(**(given | rest))


def _rules(operation: str) -> dict[str, Any]:
    rules: dict[str, Any] = {"allOf": [output.RULES]}
    if operation == "generate":
        return rules | {"required": ["prompt"]}
    return rules | {"dependentRequired": {"width": ["height"], "height": ["width"]}}
