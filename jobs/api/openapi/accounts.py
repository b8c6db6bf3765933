"""The account behind the key, and its ledger."""

from __future__ import annotations

from jobs.api.openapi.answers import answer, problems
from jobs.api.openapi.asking import PAGE
from jobs.api.openapi.schema import COUNT, CREDITS, TEXT, Schema, object_of, page_of

LIMITS = object_of(
    upload_bytes=COUNT | {"description": "Of one file."},
    image_pixels=COUNT,
    image_side_px=COUNT,
    unfinished_jobs=COUNT | {"description": "At a time; 0: no limit."},
    unfinished_test_jobs=COUNT,
    stored_bytes=COUNT | {"description": "Of one account's files; 0: no limit."},
)
ENTRY_KINDS = ["grant", "purchase", "hold", "settle", "adjustment", "refund"]
SCHEMAS: dict[str, Schema] = {
    "Entry": object_of(
        id=TEXT,
        kind={"enum": ENTRY_KINDS},
        amount=CREDITS,
        available_after=CREDITS,
        held_after=CREDITS,
        reference=TEXT,
        note=TEXT,
        created_at={"type": "string", "format": "date-time"},
    ),
    "Ledger": page_of("Entry"),
    "Account": object_of(
        email=TEXT,
        credits=object_of(available=CREDITS, held=CREDITS),
        limits=LIMITS,
        test={"type": "boolean"},
    ),
}


GET_ACCOUNT: Schema = {
    "operationId": "get_account",
    "summary": "The account behind this key",
    "responses": {"200": answer("The account.", "Account")} | problems(),
}
GET_LEDGER: Schema = {
    "operationId": "list_ledger",
    "summary": "Every movement of credits, newest first",
    "parameters": PAGE,
    "responses": {"200": answer("A page of entries.", "Ledger")} | problems(),
}


def paths() -> dict[str, Schema]:
    return {
        "/account": {"get": GET_ACCOUNT},
        "/ledger": {"get": GET_LEDGER},
    }
