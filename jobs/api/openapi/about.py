"""About the API itself."""

from __future__ import annotations

from jobs.api.openapi.answers import problems
from jobs.api.openapi.schema import TEXT, Schema

UNASKED: Schema = {"security": []}
"""Of what needs no key."""
GET_SCHEMA: Schema = UNASKED | {
    "operationId": "get_schema",
    "summary": "This document",
    "responses": {
        "200": {
            "description": "OpenAPI 3.1. It follows the engines that are there.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    }
    | problems(always=(422, 429)),
}
GET_DOCS: Schema = UNASKED | {
    "operationId": "get_docs",
    "summary": "A page that shows this document",
    "responses": {
        "200": {
            "description": "The page.",
            "content": {"text/html": {"schema": TEXT}},
        }
    }
    | problems(always=(429,)),
}


def paths() -> dict[str, Schema]:
    return {
        "/schema": {"get": GET_SCHEMA},
        "/docs": {"get": GET_DOCS},
    }
