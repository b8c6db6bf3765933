"""The words that all parts of the document are written with."""

from __future__ import annotations

from typing import Any

from jobs.webhooks.endpoints import LONGEST_URL

Schema = dict[str, Any]

NULL_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
NULL_TEXT: Schema = {"type": ["string", "null"]}
NULL_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
CREDITS: Schema = {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{4}$"}
URL: Schema = {"type": "string", "format": "uri"}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
WEBHOOK_URL: Schema = {
    "type": "string",
    "format": "uri",
    "minLength": 1,
    "maxLength": LONGEST_URL,
    "pattern": "^[hH][tT][tT][pP][sS]?://",
}


def object_of(required: bool = True, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | {"required": list(properties)} if required else schema


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def page_of(name: str) -> Schema:
    return object_of(
        items={"type": "array", "items": ref(name)},
        next_cursor={"type": ["string", "null"]},
    )
