"""The OpenAPI document against a running server: what it says is what is answered.

Schemathesis reads the document as a client would, sends requests that fit it and some
that do not, follows its links from what was made to what can be done with it, and looks
whether every status, content type, header and body is one that the document names.

By hand, longer and with another seed: `NIJIKA_SCHEMA_CASES=200 NIJIKA_SCHEMA_SEED=2`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import misbehaving
from tests.flows.house import House

SEED = os.environ.get("NIJIKA_SCHEMA_SEED", "20261121")
CASES = int(os.environ.get("NIJIKA_SCHEMA_CASES", "3"))
"""Of each operation."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
)
"""All but two: a body may fit the document and be refused (a cursor that we never gave
out, an image that is none), and keys are tried beside a good one, which is then one
key too many."""


def simpler(schema: Any) -> Any:
    """The schema without the conditions that no generator can solve.

    What breaks the simpler schema breaks the whole one, too; what fits only the
    simpler one is refused, which the checks allow. Shapes differ by their operation,
    so that any of them is one of them.
    """
    if isinstance(schema, list):
        return [simpler(one) for one in schema if not _misbehaves(one)]
    if not isinstance(schema, dict):
        return schema
    left = {"dependentSchemas", "dependentRequired"}
    if "if" in schema:
        left |= {"if", "then", "else"}
    return {
        "anyOf" if name == "oneOf" else name: simpler(value)
        for name, value in schema.items()
        if name not in left
    }


def _misbehaves(shape: Any) -> bool:
    """Whether this creates a job that kills its worker, or the like."""
    return isinstance(shape, dict) and shape.get("title") in misbehaving.OPERATIONS


def simpler_document(document: dict[str, Any]) -> dict[str, Any]:
    for methods in document["paths"].values():
        for operation in methods.values():
            if "requestBody" in operation:
                operation["requestBody"] = simpler(operation["requestBody"])
    schemas = {
        name: simpler(schema) if name == "Then" or name.endswith("Step") else schema
        for name, schema in document["components"]["schemas"].items()
    }
    return document | {"components": document["components"] | {"schemas": schemas}}


def check(
    home: House, folder: Path, key: str, *options: str
) -> subprocess.CompletedProcess[str]:
    document = folder / "openapi.json"
    whole = home.call("GET", "/api/v1/schema").body
    document.write_text(json.dumps(simpler_document(whole)))
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run"),
            *(str(document), "--url", f"{home.stack.url}/api/v1"),
            *("--header", f"Authorization: Bearer {key}"),
            *("--checks", ",".join(CHECKS), "--seed", SEED),
            *("--max-examples", str(CASES), "--request-timeout", "20"),
            *("--continue-on-failure", "--no-shrink", "--no-color"),
            *("--suppress-health-check", "all", "--generation-database", "none"),
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("is_test", [False, True], ids=["live key", "test key"])
def test_every_answer_is_one_that_the_document_names(
    home: House, tmp_path: Path, *, is_test: bool
) -> None:
    key = home.new_user(credits="1000", test=is_test)
    done = check(home, tmp_path, key, "--phases", "fuzzing,stateful")
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
