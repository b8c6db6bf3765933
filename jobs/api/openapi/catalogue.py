"""What can be asked for, of which engines and providers, and what it would cost."""

from __future__ import annotations

from jobs.api.openapi.answers import answer, problems
from jobs.api.openapi.asking import OWN_KEYS, PAGE, query
from jobs.api.openapi.creating import job_body
from jobs.api.openapi.schema import (
    COUNT,
    CREDITS,
    NULL_TEXT,
    TEXT,
    Schema,
    object_of,
    page_of,
    ref,
)
from jobs.workers import engine_states

OWN_KEY: Schema = {
    "oneOf": [
        object_of(
            headers={"type": "array", "items": TEXT},
            price={"type": ["string", "null"]},
        ),
        {"type": "null"},
    ],
    "description": "The headers that take the client's own key for the provider, "
    "and what the job then costs here.",
}
ENGINE = object_of(
    name=TEXT,
    aliases={"type": "array", "items": TEXT},
    title=TEXT,
    default={"type": "boolean"},
    queue=NULL_TEXT | {"description": "Null until a worker has announced it."},
    available={"type": "boolean", "description": "Whether a job would start now."},
    reason=NULL_TEXT | {"description": f"Why not: {', '.join(engine_states.REASONS)}."},
    state={"enum": ["cold", "loading", "warm", "hot", "failed", None]},
    message=TEXT | {"description": "What its loading is at, or why it failed."},
    price={"type": ["string", "null"]},
    own_key=OWN_KEY,
    licence=TEXT,
    images={"oneOf": [object_of(min=COUNT, max=COUNT), {"type": "null"}]},
    roles={"type": "array", "items": TEXT, "description": "Further images."},
    needs={"type": "array", "items": TEXT, "description": "Those it must be given."},
    results=COUNT,
    is_step={"type": "boolean", "description": "Whether it may follow in `then`."},
    parameters={
        "type": ["object", "null"],
        "description": "A JSON schema (2020-12); null until a worker has announced it.",
    },
)
PROVIDER = object_of(
    name=TEXT,
    aliases={"type": "array", "items": TEXT},
    title=TEXT,
    queue=TEXT,
    available={"type": "boolean", "description": "Whether a job would start now."},
    price={"type": ["string", "null"]},
    own_key=OWN_KEY,
    licence=TEXT,
)
ESTIMATE = object_of(
    price=CREDITS,
    own_key={
        "type": "boolean",
        "description": "Whether the provider is paid with the key of the request.",
    },
    operation=TEXT,
    engine=TEXT,
    queue=TEXT,
    parameters={"type": "object"},
    then={"type": "array", "items": ref("Step")},
    steps={
        "type": "array",
        "items": object_of(operation=TEXT, engine=TEXT, price=CREDITS),
        "description": "Every step with its own price, the first one too.",
    },
    run_s={
        "type": ["number", "null"],
        "description": "How long such a run usually takes; null: not measured yet.",
    },
    eta_s={
        "type": ["number", "null"],
        "description": "About how long until its end if it came now.",
    },
)
SCHEMAS: dict[str, Schema] = {
    "Engine": ENGINE,
    "Operation": object_of(
        name=TEXT, engines={"type": "array", "items": ref("Engine")}
    ),
    "Operations": page_of("Operation"),
    "Provider": PROVIDER,
    "Providers": object_of(
        default={"type": ["string", "null"]},
        available={"type": "array", "items": TEXT},
        providers={"type": "array", "items": ref("Provider")},
    ),
    "Estimate": ESTIMATE,
}


LIST_OPERATIONS: Schema = {
    "operationId": "list_operations",
    "summary": "What can be asked for, by which engines, at what price",
    "parameters": PAGE,
    "responses": {"200": answer("The operations.", "Operations")} | problems(),
}
LIST_PROVIDERS: Schema = {
    "operationId": "list_providers",
    "summary": "Who edits images",
    "parameters": [query("format", {"enum": ["object", "array"]})],
    "responses": {
        "200": {
            "description": "The providers; with `format=array` their names alone.",
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [
                            ref("Providers"),
                            {"type": "array", "items": TEXT},
                        ]
                    }
                }
            },
        }
    }
    | problems(),
}


def _estimate() -> Schema:
    return {
        "operationId": "estimate",
        "summary": "What a job would cost",
        "parameters": OWN_KEYS,
        "requestBody": job_body(has_images=False),
        "responses": {"200": answer("The price.", "Estimate")}
        | problems(400, 413, 415),
    }


def paths() -> dict[str, Schema]:
    return {
        "/operations": {"get": LIST_OPERATIONS},
        "/providers": {"get": LIST_PROVIDERS},
        "/estimate": {"post": _estimate()},
    }
