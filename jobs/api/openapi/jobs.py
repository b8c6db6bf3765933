"""Jobs: made, followed, fetched, erased."""

from __future__ import annotations

from gpu_worker.contract import STAGES
from jobs.api.openapi.answers import (
    JOB_HEADERS,
    REPLAYED,
    answer,
    header,
    links,
    problems,
)
from jobs.api.openapi.asking import (
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    OWN_KEYS,
    PAGE,
    PREFER,
    WAIT,
    query,
)
from jobs.api.openapi.creating import job_body, steps
from jobs.api.openapi.schema import (
    COUNT,
    CREDITS,
    NULL_COUNT,
    NULL_TIME,
    TEXT,
    TIME,
    URL,
    Schema,
    object_of,
    page_of,
    ref,
)
from jobs.api.pages import OPERATION
from jobs.errors import JOB_CODES
from jobs.following import outlook
from jobs.models import Job

RESULT = object_of(
    index=COUNT,
    url=URL | {"description": "A link that needs no key and lasts an hour."},
    content_type=TEXT,
    width_px=COUNT,
    height_px=COUNT,
    size_bytes=COUNT,
    sha256=TEXT,
    details={"type": "object"},
)
ERROR = object_of(
    code=TEXT | {"description": f"{', '.join(JOB_CODES)}; more may come."},
    message=TEXT,
    retryable={"type": "boolean"},
)
PROGRESS = object_of(step=COUNT, total=COUNT, message=TEXT)
STEP = object_of(operation=TEXT, parameters={"type": "object"})
JOB = object_of(
    id=TEXT,
    operation=TEXT,
    engine=TEXT,
    queue=TEXT,
    status={"enum": list(Job.Status.values)},
    test={"type": "boolean"},
    parameters={"type": "object"},
    then={"type": "array", "items": ref("Step")},
    metadata={"type": "object"},
    attempt={"type": "integer", "minimum": 1},
    retry_of={"type": ["string", "null"]},
    batch={
        "oneOf": [object_of(id=TEXT, index=COUNT), {"type": "null"}],
        "description": "The batch that it came with, and its place there.",
    },
    created_at={"type": "string", "format": "date-time"},
    started_at=NULL_TIME,
    ended_at=NULL_TIME,
    expires_at=NULL_TIME,
    erased_at=NULL_TIME,
    position=NULL_COUNT,
    progress={"oneOf": [PROGRESS, {"type": "null"}]},
    price=CREDITS,
    charged=CREDITS,
    results={"type": "array", "items": ref("Result")},
    error={"oneOf": [ERROR, {"type": "null"}]},
    timings=object_of(
        queued_ms=NULL_COUNT,
        engine_ms=NULL_COUNT,
        platform_ms=NULL_COUNT,
        total_ms=NULL_COUNT,
    ),
    stages={
        "type": ["object", "null"],
        "additionalProperties": COUNT,
        "description": f"What the run's time went into: {', '.join(STAGES)}.",
    },
    waiting={
        "oneOf": [
            object_of(
                reason={"enum": [*outlook.REASONS]},
                message=TEXT,
                eta_s={"type": ["number", "null"]},
            ),
            {"type": "null"},
        ],
        "description": "Of a queued job: what for, and about how long until its end.",
    },
    urls=object_of(self=URL, result=URL, events=URL, cancel=URL),
)


def schemas() -> dict[str, Schema]:
    """What jobs are answered with, and the steps that may follow."""
    told = {"Job": JOB, "Jobs": page_of("Job"), "Result": RESULT, "Step": STEP}
    return told | steps()


JOB_ID = {"name": "job_id", "in": "path", "required": True, "schema": TEXT}
INDEX = {
    "name": "index",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 9999},
}
JOB_LINKS = links(
    "job_id",
    "get_job",
    "follow_job",
    "cancel_job",
    "get_result",
    "get_nth_result",
    "delete_job",
)
ENTITY_TAG = {"ETag": header("For If-None-Match: changes with what is shown.")}
LIST_JOBS: Schema = {
    "operationId": "list_jobs",
    "summary": "Jobs, newest first",
    "parameters": [
        *PAGE,
        query("status", {"enum": list(Job.Status.values)}),
        query("operation", {"type": "string", "pattern": f"^{OPERATION}$"}),
        query("created_after", TIME),
        query("created_before", TIME),
    ],
    "responses": {"200": answer("A page of jobs.", "Jobs")} | problems(),
}
GET_JOB: Schema = {
    "operationId": "get_job",
    "summary": "One job",
    "parameters": [JOB_ID, WAIT, IF_NONE_MATCH],
    "responses": {
        "200": answer("The job.", "Job", job=True)
        | {"headers": JOB_HEADERS | ENTITY_TAG},
        "304": {"description": "It is still as your ETag says.", "headers": ENTITY_TAG},
    }
    | problems(404),
}
DELETE_JOB: Schema = {
    "operationId": "delete_job",
    "summary": "Erase an ended job's files",
    "parameters": [JOB_ID],
    "responses": {"204": answer("The files are gone; the job stays.", job=True)}
    | problems(404, 409),
}
LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "schema": {"type": "string", "pattern": "^([0-9]{1,18})?$"},
    "description": "The last event that has come: go on after it.",
}
FOLLOW_JOB: Schema = {
    "operationId": "follow_job",
    "summary": "A job's events while they happen, until its end",
    "parameters": [JOB_ID, LAST_EVENT_ID],
    "responses": {
        "200": {
            "description": "Server-sent events: queued, started, requeued, succeeded, "
            "failed and cancelled, with an id each; between them progress, without.",
            "content": {"text/event-stream": {}},
            "headers": JOB_HEADERS,
        },
        "204": answer("The job has ended, and that you have heard.", job=True),
    }
    | problems(404),
}
CANCEL_JOB: Schema = {
    "operationId": "cancel_job",
    "summary": "Cancel an unfinished job",
    "parameters": [JOB_ID],
    "responses": {"200": answer("The job, cancelled.", "Job", job=True)}
    | problems(400, 404, 409, 413),
}
GET_RESULT: Schema = {
    "operationId": "get_result",
    "summary": "The first result's bytes",
    "parameters": [JOB_ID, IF_NONE_MATCH],
    "responses": {
        "200": {
            "description": "The file.",
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            "headers": JOB_HEADERS,
        },
        "302": {"description": "Where the file is.", "headers": JOB_HEADERS},
        "304": {"description": "You have it."},
    }
    | problems(404, 409),
}
GET_NTH_RESULT: Schema = GET_RESULT | {
    "operationId": "get_nth_result",
    "summary": "One result's bytes",
    "parameters": [JOB_ID, INDEX, IF_NONE_MATCH],
}


def _create_job() -> Schema:
    accepted = answer("Accepted: the job, queued.", "Job", job=True)
    made = {"Location": header("The job's address.")} | REPLAYED
    accepted["headers"] = JOB_HEADERS | made
    accepted["links"] = JOB_LINKS
    ended = answer("Waited for: the job, ended.", "Job", job=True)
    ended["headers"] = accepted["headers"] | {
        "Preference-Applied": header("The waiting that was preferred.")
    }
    ended["links"] = JOB_LINKS
    return {
        "operationId": "create_job",
        "summary": "Create a job",
        "parameters": [IDEMPOTENCY_KEY, PREFER, *OWN_KEYS],
        "requestBody": job_body(),
        "responses": {"200": ended, "202": accepted} | problems(400, 402, 413, 415),
    }


def paths() -> dict[str, Schema]:
    return {
        "/jobs": {"post": _create_job(), "get": LIST_JOBS},
        "/jobs/{job_id}": {"get": GET_JOB, "delete": DELETE_JOB},
        "/jobs/{job_id}/events": {"get": FOLLOW_JOB},
        "/jobs/{job_id}/cancel": {"post": CANCEL_JOB},
        "/jobs/{job_id}/result": {"get": GET_RESULT},
        "/jobs/{job_id}/result/{index}": {"get": GET_NTH_RESULT},
    }
