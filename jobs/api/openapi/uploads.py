"""Uploads: files that are sent before their jobs."""

from __future__ import annotations

from django.conf import settings

from jobs.api.openapi.answers import REPLAYED, answer, header, links, problems
from jobs.api.openapi.asking import IDEMPOTENCY_KEY
from jobs.api.openapi.schema import COUNT, NULL_COUNT, TEXT, URL, Schema, object_of
from jobs.files.uploads import TYPES as UPLOAD_TYPES

UPLOAD = object_of(
    id=TEXT,
    reference=TEXT | {"description": "What names it as an image: upload:ID."},
    status={"enum": ["waiting", "ready"]},
    test={"type": "boolean"},
    content_type={"enum": list(UPLOAD_TYPES)},
    size_bytes=COUNT,
    width_px=NULL_COUNT,
    height_px=NULL_COUNT,
    sha256={"type": ["string", "null"]},
    created_at={"type": "string", "format": "date-time"},
    expires_at={"type": "string", "format": "date-time"},
    send={
        "oneOf": [
            object_of(
                method={"const": "PUT"},
                url=URL,
                headers={"type": "object", "additionalProperties": TEXT},
                expires_at={"type": "string", "format": "date-time"},
            ),
            {"type": "null"},
        ],
        "description": "The request that brings the file; null once it is there.",
    },
    urls=object_of(self=URL),
)
SCHEMAS: dict[str, Schema] = {"Upload": UPLOAD}


UPLOAD_ID = {"name": "upload_id", "in": "path", "required": True, "schema": TEXT}
GET_UPLOAD: Schema = {
    "operationId": "get_upload",
    "summary": "One upload",
    "parameters": [UPLOAD_ID],
    "responses": {"200": answer("The upload.", "Upload")} | problems(404),
}
DELETE_UPLOAD: Schema = {
    "operationId": "delete_upload",
    "summary": "Discard an upload; jobs that use it keep their copy",
    "parameters": [UPLOAD_ID],
    "responses": {"204": answer("It is gone.")} | problems(404),
}


def _create_upload() -> Schema:
    body = object_of(
        content_type={"enum": list(UPLOAD_TYPES)},
        size_bytes={
            "type": "integer",
            "minimum": 1,
            "maximum": settings.UPLOAD_LIMIT_BYTES,
        },
    )
    content = {"application/json": {"schema": body | {"additionalProperties": False}}}
    made = answer("Where to send the file.", "Upload")
    made["headers"] = {"Location": header("The upload's address.")} | REPLAYED
    made["links"] = links("upload_id", "get_upload", "delete_upload")
    return {
        "operationId": "create_upload",
        "summary": "Announce a file that is sent by itself",
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": {"required": True, "content": content},
        "responses": {"201": made} | problems(400, 404, 413, 415),
    }


def paths() -> dict[str, Schema]:
    return {
        "/uploads": {"post": _create_upload()},
        "/uploads/{upload_id}": {"get": GET_UPLOAD, "delete": DELETE_UPLOAD},
    }
