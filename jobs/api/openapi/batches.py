"""Batches: many jobs in one request."""

from __future__ import annotations

from django.conf import settings

from jobs.api.openapi.answers import (
    JOB_HEADERS,
    REPLAYED,
    answer,
    header,
    links,
    problems,
)
from jobs.api.openapi.asking import IDEMPOTENCY_KEY, OWN_KEYS, PAGE, query
from jobs.api.openapi.creating import job_of
from jobs.api.openapi.schema import (
    COUNT,
    CREDITS,
    NULL_TIME,
    TEXT,
    URL,
    Schema,
    object_of,
    page_of,
)
from jobs.api.parsing import METADATA_KEYS
from jobs.models import Job

BATCH = object_of(
    id=TEXT,
    status={"enum": ["running", "completed"]},
    test={"type": "boolean"},
    metadata={"type": "object"},
    created_at={"type": "string", "format": "date-time"},
    completed_at=NULL_TIME,
    size=COUNT,
    counts={"type": "object", "properties": dict.fromkeys(Job.Status.values, COUNT)},
    price=CREDITS,
    charged=CREDITS,
    job_ids={"type": "array", "items": TEXT, "description": "In the items' order."},
    urls=object_of(self=URL, jobs=URL, cancel=URL, results=URL),
)
SCHEMAS: dict[str, Schema] = {"Batch": BATCH, "Batches": page_of("Batch")}


BATCH_ID = {"name": "batch_id", "in": "path", "required": True, "schema": TEXT}
BATCH_LINKS = links(
    "batch_id", "get_batch", "list_batch_jobs", "cancel_batch", "get_batch_results"
)
LIST_BATCHES: Schema = {
    "operationId": "list_batches",
    "summary": "Batches, newest first",
    "parameters": PAGE,
    "responses": {"200": answer("A page of batches.", "Batches")} | problems(),
}
GET_BATCH: Schema = {
    "operationId": "get_batch",
    "summary": "One batch, with what became of its jobs",
    "parameters": [BATCH_ID],
    "responses": {"200": answer("The batch.", "Batch", job=True)} | problems(404),
}
LIST_BATCH_JOBS: Schema = {
    "operationId": "list_batch_jobs",
    "summary": "A batch's jobs, in the order of its items",
    "parameters": [
        BATCH_ID,
        *PAGE,
        query("status", {"enum": list(Job.Status.values)}),
    ],
    "responses": {"200": answer("A page of jobs.", "Jobs")} | problems(404),
}
CANCEL_BATCH: Schema = {
    "operationId": "cancel_batch",
    "summary": "Cancel those jobs of a batch that have not ended",
    "parameters": [BATCH_ID],
    "responses": {"200": answer("The batch.", "Batch", job=True)}
    | problems(400, 404, 413),
}
GET_BATCH_RESULTS: Schema = {
    "operationId": "get_batch_results",
    "summary": "All results of a batch, in a ZIP with a list",
    "parameters": [BATCH_ID],
    "responses": {
        "200": {
            "description": "The archive.",
            "content": {
                "application/zip": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    }
    | problems(404, 409),
}


def _create_batch() -> Schema:
    items: Schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": settings.BATCH_LIMIT,
        "items": job_of(form=False),
        "description": "Each as the body of `create_job`.",
    }
    body: Schema = {
        "type": "object",
        "properties": {
            "items": items,
            "metadata": {"type": "object", "maxProperties": METADATA_KEYS},
        },
        "required": ["items"],
        "additionalProperties": False,
    }
    accepted = answer("Accepted whole: every item is a job.", "Batch", job=True)
    made = {"Location": header("The batch's address.")} | REPLAYED
    accepted["headers"] = JOB_HEADERS | made
    accepted["links"] = BATCH_LINKS
    content = {"application/json": {"schema": body}}
    return {
        "operationId": "create_batch",
        "summary": "Create many jobs, all or none",
        "parameters": [IDEMPOTENCY_KEY, *OWN_KEYS],
        "requestBody": {"required": True, "content": content},
        "responses": {"202": accepted} | problems(400, 402, 413, 415),
    }


def paths() -> dict[str, Schema]:
    return {
        "/batches": {"post": _create_batch(), "get": LIST_BATCHES},
        "/batches/{batch_id}": {"get": GET_BATCH},
        "/batches/{batch_id}/jobs": {"get": LIST_BATCH_JOBS},
        "/batches/{batch_id}/cancel": {"post": CANCEL_BATCH},
        "/batches/{batch_id}/results": {"get": GET_BATCH_RESULTS},
    }
