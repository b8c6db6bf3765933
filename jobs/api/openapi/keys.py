"""API keys, made and ended by another key."""

from __future__ import annotations

from accounts.authentication import SCOPES
from jobs.api.keys import LONGEST_NAME
from jobs.api.openapi.answers import REPLAYED, answer, header, links, problems
from jobs.api.openapi.asking import IDEMPOTENCY_KEY, PAGE, json_body
from jobs.api.openapi.schema import (
    NULL_TIME,
    TEXT,
    TIME,
    Schema,
    object_of,
    page_of,
    ref,
)

KEY_SCOPES: Schema = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"enum": list(SCOPES)},
}
KEY = object_of(
    id=TEXT,
    name=TEXT,
    prefix=TEXT | {"description": "How the secret begins."},
    test={"type": "boolean"},
    scopes={
        "type": ["array", "null"],
        "items": {"enum": list(SCOPES)},
        "description": "Null: all, those of later versions too.",
    },
    status={"enum": ["active", "expired", "revoked"]},
    current={"type": "boolean", "description": "Whether this key is asking."},
    created_at=TIME,
    expires_at=NULL_TIME,
    last_used_at=NULL_TIME,
    revoked_at=NULL_TIME,
)
SECRET: Schema = {
    "type": ["string", "null"],
    "pattern": "^nj_(live|test)_",
    "description": "Shown here and never again: null where Idempotency-Replayed says "
    "that it has been shown before.",
}
SCHEMAS: dict[str, Schema] = {
    "Key": KEY,
    "NewKey": {"allOf": [ref("Key"), object_of(secret=SECRET)]},
    "Keys": page_of("Key"),
}

KEY_ID = {"name": "key_id", "in": "path", "required": True, "schema": TEXT}
BEYOND = "403: no key makes, replaces or ends one that can do more than itself."
MADE: Schema = {
    "201": answer("The key with its secret.", "NewKey")
    | {
        "headers": {"Location": header("The key's address.")} | REPLAYED,
        "links": links("key_id", "get_key", "rotate_key", "delete_key"),
    }
}
LIST_KEYS: Schema = {
    "operationId": "list_keys",
    "summary": "API keys, newest first",
    "description": "Scope `keys:read`. A test key sees test keys alone.",
    "parameters": PAGE,
    "responses": {"200": answer("A page of keys.", "Keys")} | problems(),
}
CREATE_KEY: Schema = {
    "operationId": "create_key",
    "summary": "Make an API key",
    "description": f"Scope `keys:write`. {BEYOND} What is left out is as of the key "
    "that asks.",
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": json_body(
        "name",
        name={"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
        scopes=KEY_SCOPES,
        test={"type": "boolean"},
        expires_at=TIME,
    ),
    "responses": MADE | problems(400, 404, 409, 413, 415),
}
GET_KEY: Schema = {
    "operationId": "get_key",
    "summary": "One API key, without its secret",
    "description": "Scope `keys:read`.",
    "parameters": [KEY_ID],
    "responses": {"200": answer("The key.", "Key")} | problems(404),
}
ROTATE_KEY: Schema = {
    "operationId": "rotate_key",
    "summary": "Make a key like this one, which works on for 24 hours",
    "description": f"Scope `keys:write`. {BEYOND}",
    "parameters": [KEY_ID, IDEMPOTENCY_KEY],
    "responses": MADE | problems(400, 404, 409, 413),
}
DELETE_KEY: Schema = {
    "operationId": "delete_key",
    "summary": "Revoke an API key, everywhere within a second",
    "description": f"Scope `keys:write`. {BEYOND}",
    "parameters": [KEY_ID],
    "responses": {"204": answer("It is revoked.")} | problems(404),
}


def paths() -> dict[str, Schema]:
    return {
        "/keys": {"get": LIST_KEYS, "post": CREATE_KEY},
        "/keys/{key_id}": {"get": GET_KEY, "delete": DELETE_KEY},
        "/keys/{key_id}/rotate": {"post": ROTATE_KEY},
    }
