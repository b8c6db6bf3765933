"""What requests share: their parameters, and bodies in JSON."""

from __future__ import annotations

from jobs.api.openapi.schema import TEXT, Schema, object_of
from jobs.api.pages import MOST
from jobs.api.wishes import LONGEST_WAIT_S
from jobs.requests import sealing


def query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "schema": schema}


def json_body(*required: str, **properties: Schema) -> Schema:
    schema = object_of(required=False, **properties) | {"additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {"required": True, "content": {"application/json": {"schema": schema}}}


PAGE = [
    query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 20}),
    query(
        "cursor",
        {
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]{22,}$",
            "description": "`next_cursor` of the page before.",
        },
    ),
]
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key and the same request is the same thing made once.",
}
OWN_KEYS = [
    {
        "name": header,
        "in": "header",
        "schema": {"type": "string", "maxLength": sealing.MOST_CHARACTERS},
        "description": f"A key of your own for {provider}, which then pays the job's "
        "engine if it is one of that provider. Used for this request alone, kept "
        "sealed until its end, never shown.",
    }
    for provider, headers in sealing.HEADERS.items()
    for header in headers
]
PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": TEXT,
    "description": f"wait=N (1 to {LONGEST_WAIT_S} seconds): answer when the job has "
    "ended, or when the time is up.",
}
WAIT = query("wait", {"type": "integer", "minimum": 1, "maximum": LONGEST_WAIT_S}) | {
    "description": "Seconds: answer when the job has ended, or when the time is up."
}
IF_NONE_MATCH = {"name": "If-None-Match", "in": "header", "schema": TEXT}
