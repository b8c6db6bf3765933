"""The API as an OpenAPI 3.1 document: what `views` answers, said once.

What every answer shares (problems, headers, who may call) is added by the functions
here; each operation's parameters come from the engines that workers have announced.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from gpu_worker.contract import STAGES, EngineSpec
from jobs import engine_states, engines, outlook, sealing
from jobs.api.pages import MOST, OPERATION
from jobs.api.parsing import JSON_FIELDS, METADATA_KEYS
from jobs.api.wishes import LONGEST_WAIT_S
from jobs.errors import JOB_CODES
from jobs.models import Job, WebhookDelivery
from jobs.orders import MOST_STEPS
from jobs.uploads import TYPES as UPLOAD_TYPES
from jobs.webhooks.endpoints import LONGEST_URL
from jobs.webhooks.events import TYPES as WEBHOOK_TYPES

Schema = dict[str, Any]

NULL_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
NULL_TEXT: Schema = {"type": ["string", "null"]}
NULL_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
CREDITS: Schema = {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{4}$"}
URL: Schema = {"type": "string", "format": "uri"}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def _object(required: bool = True, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | {"required": list(properties)} if required else schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str) -> Schema:
    return _object(
        items={"type": "array", "items": _ref(name)},
        next_cursor={"type": ["string", "null"]},
    )


RESULT = _object(
    index=COUNT,
    url=URL | {"description": "A link that needs no key and lasts an hour."},
    content_type=TEXT,
    width_px=COUNT,
    height_px=COUNT,
    size_bytes=COUNT,
    sha256=TEXT,
    details={"type": "object"},
)
ERROR = _object(
    code=TEXT | {"description": f"{', '.join(JOB_CODES)}; more may come."},
    message=TEXT,
    retryable={"type": "boolean"},
)
PROGRESS = _object(step=COUNT, total=COUNT, message=TEXT)
STEP = _object(operation=TEXT, parameters={"type": "object"})
JOB = _object(
    id=TEXT,
    operation=TEXT,
    engine=TEXT,
    queue=TEXT,
    status={"enum": list(Job.Status.values)},
    test={"type": "boolean"},
    parameters={"type": "object"},
    then={"type": "array", "items": _ref("Step")},
    metadata={"type": "object"},
    attempt={"type": "integer", "minimum": 1},
    retry_of={"type": ["string", "null"]},
    batch={
        "oneOf": [_object(id=TEXT, index=COUNT), {"type": "null"}],
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
    results={"type": "array", "items": _ref("Result")},
    error={"oneOf": [ERROR, {"type": "null"}]},
    timings=_object(
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
            _object(
                reason={"enum": [*outlook.REASONS]},
                message=TEXT,
                eta_s={"type": ["number", "null"]},
            ),
            {"type": "null"},
        ],
        "description": "Of a queued job: what for, and about how long until its end.",
    },
    urls=_object(self=URL, result=URL, events=URL, cancel=URL),
)
OWN_KEY: Schema = {
    "oneOf": [
        _object(
            headers={"type": "array", "items": TEXT},
            price={"type": ["string", "null"]},
        ),
        {"type": "null"},
    ],
    "description": "The headers that take the client's own key for the provider, "
    "and what the job then costs here.",
}
ENGINE = _object(
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
    images={"oneOf": [_object(min=COUNT, max=COUNT), {"type": "null"}]},
    roles={"type": "array", "items": TEXT, "description": "Further images."},
    needs={"type": "array", "items": TEXT, "description": "Those it must be given."},
    results=COUNT,
    is_step={"type": "boolean", "description": "Whether it may follow in `then`."},
    parameters={
        "type": ["object", "null"],
        "description": "A JSON schema (2020-12); null until a worker has announced it.",
    },
)
PROVIDER = _object(
    name=TEXT,
    aliases={"type": "array", "items": TEXT},
    title=TEXT,
    queue=TEXT,
    available={"type": "boolean", "description": "Whether a job would start now."},
    price={"type": ["string", "null"]},
    own_key=OWN_KEY,
    licence=TEXT,
)
LIMITS = _object(
    upload_bytes=COUNT | {"description": "Of one file."},
    image_pixels=COUNT,
    image_side_px=COUNT,
    unfinished_jobs=COUNT | {"description": "At a time; 0: no limit."},
    unfinished_test_jobs=COUNT,
    stored_bytes=COUNT | {"description": "Of one account's files; 0: no limit."},
)
PROBLEM = _object(
    type=TEXT,
    title=TEXT,
    status={"type": "integer"},
    detail=TEXT,
    code=TEXT,
    error=TEXT,
    error_type=TEXT,
    request_id=TEXT,
)
PROBLEM["properties"]["errors"] = {
    "type": "array",
    "items": _object(field=TEXT, code=TEXT, message=TEXT),
}
BATCH = _object(
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
    urls=_object(self=URL, jobs=URL, cancel=URL, results=URL),
)
UPLOAD = _object(
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
            _object(
                method={"const": "PUT"},
                url=URL,
                headers={"type": "object", "additionalProperties": TEXT},
                expires_at={"type": "string", "format": "date-time"},
            ),
            {"type": "null"},
        ],
        "description": "The request that brings the file; null once it is there.",
    },
    urls=_object(self=URL),
)
WEBHOOK_EVENTS: Schema = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"enum": list(WEBHOOK_TYPES)},
}
WEBHOOK_URL: Schema = {
    "type": "string",
    "format": "uri",
    "minLength": 1,
    "maxLength": LONGEST_URL,
    "pattern": "^[hH][tT][tT][pP][sS]?://",
}
WEBHOOK_SECRET: Schema = {"type": "string", "pattern": "^whsec_"}
WEBHOOK_ENDPOINT = _object(
    id=TEXT,
    url=URL,
    description=TEXT,
    events=WEBHOOK_EVENTS,
    enabled={"type": "boolean"},
    disabled_at=NULL_TIME,
    disabled_by={"enum": ["owner", "staff", "gone", None]},
    created_at={"type": "string", "format": "date-time"},
    old_secret_until=NULL_TIME
    | {"description": "Until when the secret before the rotation signs too."},
    test={"type": "boolean"},
)
WEBHOOK_DELIVERY = _object(
    id=TEXT,
    event_id=TEXT | {"description": "The header webhook-id, the same in all tries."},
    type={"enum": [*WEBHOOK_TYPES, "ping"]},
    endpoint_id={
        "type": ["string", "null"],
        "description": "Null for what goes to the job's own webhook_url.",
    },
    job_id={"type": ["string", "null"]},
    status={"enum": list(WebhookDelivery.Status.values)},
    attempts=COUNT,
    created_at={"type": "string", "format": "date-time"},
    next_at=NULL_TIME,
    ended_at=NULL_TIME,
)
WEBHOOK_ATTEMPT = _object(
    number=COUNT,
    at={"type": "string", "format": "date-time"},
    status=NULL_COUNT | {"description": "Null where nobody answered."},
    error={"type": ["string", "null"]},
    milliseconds=COUNT,
    answer=TEXT | {"description": "How the answer's body begins."},
)
ENTRY_KINDS = ["grant", "purchase", "hold", "settle", "adjustment", "refund"]
SCHEMAS: dict[str, Schema] = {
    "Job": JOB,
    "Jobs": _list_of("Job"),
    "Result": RESULT,
    "Step": STEP,
    "Engine": ENGINE,
    "Operation": _object(name=TEXT, engines={"type": "array", "items": _ref("Engine")}),
    "Operations": _list_of("Operation"),
    "Provider": PROVIDER,
    "Providers": _object(
        default={"type": ["string", "null"]},
        available={"type": "array", "items": TEXT},
        providers={"type": "array", "items": _ref("Provider")},
    ),
    "Entry": _object(
        id=TEXT,
        kind={"enum": ENTRY_KINDS},
        amount=CREDITS,
        available_after=CREDITS,
        held_after=CREDITS,
        reference=TEXT,
        note=TEXT,
        created_at={"type": "string", "format": "date-time"},
    ),
    "Ledger": _list_of("Entry"),
    "Account": _object(
        email=TEXT,
        credits=_object(available=CREDITS, held=CREDITS),
        limits=LIMITS,
        test={"type": "boolean"},
    ),
    "Estimate": _object(
        price=CREDITS,
        own_key={
            "type": "boolean",
            "description": "Whether the provider is paid with the key of the request.",
        },
        operation=TEXT,
        engine=TEXT,
        queue=TEXT,
        parameters={"type": "object"},
        then={"type": "array", "items": _ref("Step")},
        steps={
            "type": "array",
            "items": _object(operation=TEXT, engine=TEXT, price=CREDITS),
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
    ),
    "Batch": BATCH,
    "Batches": _list_of("Batch"),
    "Upload": UPLOAD,
    "WebhookEndpoint": WEBHOOK_ENDPOINT,
    "NewWebhookEndpoint": {
        "allOf": [_ref("WebhookEndpoint"), _object(secret=WEBHOOK_SECRET)]
    },
    "WebhookEndpoints": _list_of("WebhookEndpoint"),
    "WebhookSecret": _object(secret=WEBHOOK_SECRET, old_secret_until=NULL_TIME),
    "WebhookDelivery": WEBHOOK_DELIVERY,
    "WebhookDeliveries": _list_of("WebhookDelivery"),
    "LoggedWebhookDelivery": {
        "allOf": [
            _ref("WebhookDelivery"),
            _object(log={"type": "array", "items": WEBHOOK_ATTEMPT}),
        ]
    },
    "Problem": PROBLEM,
}

IMAGE: Schema = {
    "type": "string",
    "pattern": "^(https?://|data:|job:|upload:)",
    "description": "A URL, a data URL in base64, job:ID, job:ID/input or upload:ID.",
}


def _body(*, form: bool) -> Schema:
    """What creates a job: one shape per operation, for their parameters differ."""
    shapes = [
        _create(operation, form=form)
        for operation in engines.offered()
        if operation.engines
    ]
    return {"oneOf": shapes} if shapes else _object(operation=TEXT)


def _create(operation: engines.Operation, *, form: bool) -> Schema:
    spec = operation.engines[0]
    file: Schema = {"type": "string", "format": "binary"} if form else IMAGE
    several: Schema = {"type": "array", "items": file, "maxItems": spec.images[1]}
    properties: Schema = {
        "operation": {"const": operation.name},
        "engine": {"enum": [one.engine for one in operation.engines]},
        "parameters": _parameters(spec.parameters),
        "metadata": {
            "type": "object",
            "maxProperties": METADATA_KEYS,
            "description": "Given back unchanged. With a test key a text as `sandbox` "
            "asks for delays and errors: `delay:5 fail:engine_failed`.",
        },
        "webhook_url": WEBHOOK_URL
        | {"description": "Is told of the job's end by a signed POST."},
    }
    if _followers():
        properties["then"] = _ref("Then")
    if spec.images[1]:
        properties["image"] = file if spec.images[1] == 1 else several
    properties |= dict.fromkeys(spec.roles, file)
    required = ["operation", *(["image"] if spec.images[0] else []), *spec.needs]
    required += _required(_parameters(spec.parameters))
    return {
        "title": operation.name,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _followers() -> list[EngineSpec]:
    """What may follow an operation."""
    specs = [operation.engines[0] for operation in engines.offered()]
    return [spec for spec in specs if spec.is_step]


def _then() -> Schema:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_STEPS,
        "items": {"oneOf": [_follower(spec) for spec in _followers()]},
        "description": "Steps on what the operation made, in this order and in the "
        "same run. The price is the sum of all; the last one says how the result is "
        "written.",
    }


def _follower(spec: EngineSpec) -> Schema:
    parameters = _parameters(spec.parameters)
    return {
        "title": spec.operation,
        "type": "object",
        "properties": {
            "operation": {"const": spec.operation},
            "parameters": parameters,
        },
        "required": ["operation", *_required(parameters)],
        "additionalProperties": False,
    }


def _required(parameters: Schema) -> list[str]:
    return ["parameters"] if parameters.get("required") else []


def _parameters(schema: Schema) -> Schema:
    """The engine's schema without what belongs to a whole document."""
    return {k: v for k, v in schema.items() if k not in {"$schema", "$id"}}


# Answers


def _json(name: str) -> Schema:
    return {"application/json": {"schema": _ref(name)}}


def _header(description: str) -> Schema:
    return {"description": description, "schema": TEXT}


JOB_HEADERS = {
    "X-Credits-Charged": _header("What this job has cost."),
    "X-Credits-Remaining": _header("What the account has available."),
}
REPLAYED = {
    "Idempotency-Replayed": {
        "description": "There where this key has made it before.",
        "schema": {"const": "true"},
    }
}
REASONS = {
    400: "malformed_body",
    401: "unauthenticated, key_expired, key_revoked",
    402: "insufficient_credits",
    403: "forbidden, account_suspended",
    404: "not_found; where something is made: what this Idempotency-Key made is gone",
    409: "The state of the job does not allow that.",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "validation_error and others; `errors` names the fields",
    429: "rate_limited",
    503: "unavailable, engine_unavailable",
}
ALWAYS = (401, 403, 422, 429, 503)


def _problems(*statuses: int, always: tuple[int, ...] = ALWAYS) -> Schema:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {
        str(status): {"description": REASONS[status], "content": content}
        for status in sorted({*always, *statuses})
    }


def _answer(description: str, name: str | None = None, *, job: bool = False) -> Schema:
    answer: Schema = {"description": description}
    if name:
        answer["content"] = _json(name)
    if job:
        answer["headers"] = JOB_HEADERS
    return answer


def _links(parameter: str, *operations: str) -> Schema:
    """What can be done next with what the answer shows, by its id."""
    return {
        one: {"operationId": one, "parameters": {parameter: "$response.body#/id"}}
        for one in operations
    }


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "schema": schema}


PAGE = [
    _query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 20}),
    _query(
        "cursor",
        {
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]{22,}$",
            "description": "`next_cursor` of the page before.",
        },
    ),
]
JOB_ID = {"name": "job_id", "in": "path", "required": True, "schema": TEXT}
INDEX = {
    "name": "index",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": 9999},
}
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
WAIT = _query("wait", {"type": "integer", "minimum": 1, "maximum": LONGEST_WAIT_S}) | {
    "description": "Seconds: answer when the job has ended, or when the time is up."
}
IF_NONE_MATCH = {"name": "If-None-Match", "in": "header", "schema": TEXT}


def _paths() -> dict[str, Schema]:
    return {
        "/jobs": {"post": _create_job(), "get": LIST_JOBS},
        "/jobs/{job_id}": {"get": GET_JOB, "delete": DELETE_JOB},
        "/jobs/{job_id}/events": {"get": FOLLOW_JOB},
        "/jobs/{job_id}/cancel": {"post": CANCEL_JOB},
        "/jobs/{job_id}/result": {"get": GET_RESULT},
        "/jobs/{job_id}/result/{index}": {"get": GET_NTH_RESULT},
        "/batches": {"post": _create_batch(), "get": LIST_BATCHES},
        "/batches/{batch_id}": {"get": GET_BATCH},
        "/batches/{batch_id}/jobs": {"get": LIST_BATCH_JOBS},
        "/batches/{batch_id}/cancel": {"post": CANCEL_BATCH},
        "/batches/{batch_id}/results": {"get": GET_BATCH_RESULTS},
        "/uploads": {"post": _create_upload()},
        "/uploads/{upload_id}": {"get": GET_UPLOAD, "delete": DELETE_UPLOAD},
        "/webhook-endpoints": {
            "post": CREATE_ENDPOINT,
            "get": LIST_ENDPOINTS,
        },
        "/webhook-endpoints/{endpoint_id}": {
            "get": GET_ENDPOINT,
            "patch": CHANGE_ENDPOINT,
            "delete": DELETE_ENDPOINT,
        },
        "/webhook-endpoints/{endpoint_id}/secret": {"get": GET_ENDPOINT_SECRET},
        "/webhook-endpoints/{endpoint_id}/rotate": {"post": ROTATE_ENDPOINT},
        "/webhook-endpoints/{endpoint_id}/ping": {"post": PING_ENDPOINT},
        "/webhook-endpoints/{endpoint_id}/replay": {"post": REPLAY_RANGE},
        "/webhook-deliveries": {"get": LIST_DELIVERIES},
        "/webhook-deliveries/{delivery_id}": {"get": GET_DELIVERY},
        "/webhook-deliveries/{delivery_id}/replay": {"post": REPLAY_DELIVERY},
        "/webhook-secret": {"get": GET_SECRET},
        "/webhook-secret/rotate": {"post": ROTATE_SECRET},
        "/operations": {"get": LIST_OPERATIONS},
        "/providers": {"get": LIST_PROVIDERS},
        "/account": {"get": GET_ACCOUNT},
        "/ledger": {"get": GET_LEDGER},
        "/estimate": {"post": _estimate()},
        "/schema": {"get": GET_SCHEMA},
        "/docs": {"get": GET_DOCS},
    }


JOB_LINKS = _links(
    "job_id",
    "get_job",
    "follow_job",
    "cancel_job",
    "get_result",
    "get_nth_result",
    "delete_job",
)
BATCH_LINKS = _links(
    "batch_id", "get_batch", "list_batch_jobs", "cancel_batch", "get_batch_results"
)
ENDPOINT_LINKS = _links(
    "endpoint_id",
    "get_webhook_endpoint",
    "change_webhook_endpoint",
    "get_webhook_endpoint_secret",
    "rotate_webhook_endpoint_secret",
    "ping_webhook_endpoint",
    "replay_webhook_endpoint",
    "delete_webhook_endpoint",
)


def _request_body() -> Schema:
    content = {
        "application/json": {"schema": _body(form=False)},
        "multipart/form-data": {
            "schema": _body(form=True),
            "encoding": {
                name: {"contentType": "application/json"} for name in JSON_FIELDS
            },
        },
    }
    return {"required": True, "content": content}


def _create_job() -> Schema:
    accepted = _answer("Accepted: the job, queued.", "Job", job=True)
    made = {"Location": _header("The job's address.")} | REPLAYED
    accepted["headers"] = JOB_HEADERS | made
    accepted["links"] = JOB_LINKS
    ended = _answer("Waited for: the job, ended.", "Job", job=True)
    ended["headers"] = accepted["headers"] | {
        "Preference-Applied": _header("The waiting that was preferred.")
    }
    ended["links"] = JOB_LINKS
    return {
        "operationId": "create_job",
        "summary": "Create a job",
        "parameters": [IDEMPOTENCY_KEY, PREFER, *OWN_KEYS],
        "requestBody": _request_body(),
        "responses": {"200": ended, "202": accepted} | _problems(400, 402, 413, 415),
    }


def _create_batch() -> Schema:
    items: Schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": settings.BATCH_LIMIT,
        "items": _body(form=False),
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
    accepted = _answer("Accepted whole: every item is a job.", "Batch", job=True)
    made = {"Location": _header("The batch's address.")} | REPLAYED
    accepted["headers"] = JOB_HEADERS | made
    accepted["links"] = BATCH_LINKS
    content = {"application/json": {"schema": body}}
    return {
        "operationId": "create_batch",
        "summary": "Create many jobs, all or none",
        "parameters": [IDEMPOTENCY_KEY, *OWN_KEYS],
        "requestBody": {"required": True, "content": content},
        "responses": {"202": accepted} | _problems(400, 402, 413, 415),
    }


def _create_upload() -> Schema:
    body = _object(
        content_type={"enum": list(UPLOAD_TYPES)},
        size_bytes={
            "type": "integer",
            "minimum": 1,
            "maximum": settings.UPLOAD_LIMIT_BYTES,
        },
    )
    content = {"application/json": {"schema": body | {"additionalProperties": False}}}
    made = _answer("Where to send the file.", "Upload")
    made["headers"] = {"Location": _header("The upload's address.")} | REPLAYED
    made["links"] = _links("upload_id", "get_upload", "delete_upload")
    return {
        "operationId": "create_upload",
        "summary": "Announce a file that is sent by itself",
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": {"required": True, "content": content},
        "responses": {"201": made} | _problems(400, 404, 413, 415),
    }


def _estimate() -> Schema:
    return {
        "operationId": "estimate",
        "summary": "What a job would cost",
        "parameters": OWN_KEYS,
        "requestBody": _request_body(),
        "responses": {"200": _answer("The price.", "Estimate")}
        | _problems(400, 413, 415),
    }


ENTITY_TAG = {"ETag": _header("For If-None-Match: changes with what is shown.")}
TIME = {"type": "string", "format": "date-time"}
LIST_JOBS: Schema = {
    "operationId": "list_jobs",
    "summary": "Jobs, newest first",
    "parameters": [
        *PAGE,
        _query("status", {"enum": list(Job.Status.values)}),
        _query("operation", {"type": "string", "pattern": f"^{OPERATION}$"}),
        _query("created_after", TIME),
        _query("created_before", TIME),
    ],
    "responses": {"200": _answer("A page of jobs.", "Jobs")} | _problems(),
}
GET_JOB: Schema = {
    "operationId": "get_job",
    "summary": "One job",
    "parameters": [JOB_ID, WAIT, IF_NONE_MATCH],
    "responses": {
        "200": _answer("The job.", "Job", job=True)
        | {"headers": JOB_HEADERS | ENTITY_TAG},
        "304": {"description": "It is still as your ETag says.", "headers": ENTITY_TAG},
    }
    | _problems(404),
}
DELETE_JOB: Schema = {
    "operationId": "delete_job",
    "summary": "Erase an ended job's files",
    "parameters": [JOB_ID],
    "responses": {"204": _answer("The files are gone; the job stays.", job=True)}
    | _problems(404, 409),
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
        "204": _answer("The job has ended, and that you have heard.", job=True),
    }
    | _problems(404),
}
CANCEL_JOB: Schema = {
    "operationId": "cancel_job",
    "summary": "Cancel an unfinished job",
    "parameters": [JOB_ID],
    "responses": {"200": _answer("The job, cancelled.", "Job", job=True)}
    | _problems(404, 409),
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
    | _problems(404, 409),
}
GET_NTH_RESULT: Schema = GET_RESULT | {
    "operationId": "get_nth_result",
    "summary": "One result's bytes",
    "parameters": [JOB_ID, INDEX, IF_NONE_MATCH],
}
BATCH_ID = {"name": "batch_id", "in": "path", "required": True, "schema": TEXT}
LIST_BATCHES: Schema = {
    "operationId": "list_batches",
    "summary": "Batches, newest first",
    "parameters": PAGE,
    "responses": {"200": _answer("A page of batches.", "Batches")} | _problems(),
}
GET_BATCH: Schema = {
    "operationId": "get_batch",
    "summary": "One batch, with what became of its jobs",
    "parameters": [BATCH_ID],
    "responses": {"200": _answer("The batch.", "Batch", job=True)} | _problems(404),
}
LIST_BATCH_JOBS: Schema = {
    "operationId": "list_batch_jobs",
    "summary": "A batch's jobs, in the order of its items",
    "parameters": [
        BATCH_ID,
        *PAGE,
        _query("status", {"enum": list(Job.Status.values)}),
    ],
    "responses": {"200": _answer("A page of jobs.", "Jobs")} | _problems(404),
}
CANCEL_BATCH: Schema = {
    "operationId": "cancel_batch",
    "summary": "Cancel those jobs of a batch that have not ended",
    "parameters": [BATCH_ID],
    "responses": {"200": _answer("The batch.", "Batch", job=True)} | _problems(404),
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
    | _problems(404, 409),
}
UPLOAD_ID = {"name": "upload_id", "in": "path", "required": True, "schema": TEXT}
GET_UPLOAD: Schema = {
    "operationId": "get_upload",
    "summary": "One upload",
    "parameters": [UPLOAD_ID],
    "responses": {"200": _answer("The upload.", "Upload")} | _problems(404),
}
DELETE_UPLOAD: Schema = {
    "operationId": "delete_upload",
    "summary": "Discard an upload; jobs that use it keep their copy",
    "parameters": [UPLOAD_ID],
    "responses": {"204": _answer("It is gone.")} | _problems(404),
}
LIST_OPERATIONS: Schema = {
    "operationId": "list_operations",
    "summary": "What can be asked for, by which engines, at what price",
    "parameters": PAGE,
    "responses": {"200": _answer("The operations.", "Operations")} | _problems(),
}
LIST_PROVIDERS: Schema = {
    "operationId": "list_providers",
    "summary": "Who edits images",
    "parameters": [_query("format", {"enum": ["object", "array"]})],
    "responses": {
        "200": {
            "description": "The providers; with `format=array` their names alone.",
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [
                            _ref("Providers"),
                            {"type": "array", "items": TEXT},
                        ]
                    }
                }
            },
        }
    }
    | _problems(),
}
GET_ACCOUNT: Schema = {
    "operationId": "get_account",
    "summary": "The account behind this key",
    "responses": {"200": _answer("The account.", "Account")} | _problems(),
}
GET_LEDGER: Schema = {
    "operationId": "list_ledger",
    "summary": "Every movement of credits, newest first",
    "parameters": PAGE,
    "responses": {"200": _answer("A page of entries.", "Ledger")} | _problems(),
}


# Webhooks

ENDPOINT_ID = {"name": "endpoint_id", "in": "path", "required": True, "schema": TEXT}
DELIVERY_ID = {"name": "delivery_id", "in": "path", "required": True, "schema": TEXT}
ENDPOINT_MEMBERS: dict[str, Schema] = {
    "url": WEBHOOK_URL,
    "events": WEBHOOK_EVENTS,
    "description": {"type": "string", "maxLength": 200},
}


def _json_body(*required: str, **properties: Schema) -> Schema:
    schema = _object(required=False, **properties) | {"additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {"required": True, "content": {"application/json": {"schema": schema}}}


CREATE_ENDPOINT: Schema = {
    "operationId": "create_webhook_endpoint",
    "summary": "Add a receiver of events",
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": _json_body("url", "events", **ENDPOINT_MEMBERS),
    "responses": {
        "201": _answer("The endpoint with its secret.", "NewWebhookEndpoint")
        | {
            "headers": {"Location": _header("The endpoint's address.")} | REPLAYED,
            "links": ENDPOINT_LINKS,
        }
    }
    | _problems(400, 404, 409, 413, 415),
}
LIST_ENDPOINTS: Schema = {
    "operationId": "list_webhook_endpoints",
    "summary": "Webhook endpoints, newest first",
    "parameters": PAGE,
    "responses": {"200": _answer("A page of endpoints.", "WebhookEndpoints")}
    | _problems(),
}
GET_ENDPOINT: Schema = {
    "operationId": "get_webhook_endpoint",
    "summary": "One webhook endpoint",
    "parameters": [ENDPOINT_ID],
    "responses": {"200": _answer("The endpoint.", "WebhookEndpoint")} | _problems(404),
}
CHANGE_ENDPOINT: Schema = {
    "operationId": "change_webhook_endpoint",
    "summary": "Change a webhook endpoint, switch it off or on",
    "parameters": [ENDPOINT_ID],
    "requestBody": _json_body(**ENDPOINT_MEMBERS, enabled={"type": "boolean"}),
    "responses": {"200": _answer("The endpoint.", "WebhookEndpoint")}
    | _problems(400, 404, 413, 415),
}
DELETE_ENDPOINT: Schema = {
    "operationId": "delete_webhook_endpoint",
    "summary": "Remove a webhook endpoint and its log",
    "parameters": [ENDPOINT_ID],
    "responses": {"204": _answer("It is gone.")} | _problems(404),
}
GET_ENDPOINT_SECRET: Schema = {
    "operationId": "get_webhook_endpoint_secret",
    "summary": "What signs for a webhook endpoint",
    "parameters": [ENDPOINT_ID],
    "responses": {"200": _answer("The secret.", "WebhookSecret")} | _problems(404),
}
ROTATE_ENDPOINT: Schema = {
    "operationId": "rotate_webhook_endpoint_secret",
    "summary": "Make another secret; for 24 hours both sign",
    "parameters": [ENDPOINT_ID],
    "responses": {"200": _answer("The new secret.", "WebhookSecret")} | _problems(404),
}
SENT: Schema = _answer("It is on its way.", "WebhookDelivery") | {
    "headers": {"Location": _header("The delivery's address.")},
    "links": _links("delivery_id", "get_webhook_delivery", "replay_webhook_delivery"),
}
PING_ENDPOINT: Schema = {
    "operationId": "ping_webhook_endpoint",
    "summary": "Send a test event",
    "parameters": [ENDPOINT_ID],
    "responses": {"202": SENT} | _problems(404, 409),
}
REPLAY_RANGE: Schema = {
    "operationId": "replay_webhook_endpoint",
    "summary": "Send an endpoint's events of a time again",
    "parameters": [ENDPOINT_ID],
    "requestBody": _json_body(
        "since",
        "until",
        since=TIME,
        until=TIME,
        status={"enum": ["failed", "delivered"], "default": "failed"},
    ),
    "responses": {
        "202": {
            "description": "How many are on their way.",
            "content": {"application/json": {"schema": _object(replayed=COUNT)}},
        }
    }
    | _problems(400, 404, 409, 413, 415),
}
LIST_DELIVERIES: Schema = {
    "operationId": "list_webhook_deliveries",
    "summary": "What was sent to whom, newest first",
    "parameters": [
        *PAGE,
        _query("endpoint", {"type": "string", "format": "uuid"}),
        _query("job", {"type": "string", "format": "uuid"}),
        _query("status", {"enum": list(WebhookDelivery.Status.values)}),
        _query("type", {"enum": [*WEBHOOK_TYPES, "ping"]}),
    ],
    "responses": {"200": _answer("A page of deliveries.", "WebhookDeliveries")}
    | _problems(),
}
GET_DELIVERY: Schema = {
    "operationId": "get_webhook_delivery",
    "summary": "One delivery, with what came of each try",
    "parameters": [DELIVERY_ID],
    "responses": {"200": _answer("The delivery.", "LoggedWebhookDelivery")}
    | _problems(404),
}
REPLAY_DELIVERY: Schema = {
    "operationId": "replay_webhook_delivery",
    "summary": "Send one delivery again",
    "parameters": [DELIVERY_ID],
    "responses": {"202": SENT} | _problems(404, 409),
}
GET_SECRET: Schema = {
    "operationId": "get_webhook_secret",
    "summary": "What signs for the webhook_url of your jobs",
    "responses": {"200": _answer("The secret.", "WebhookSecret")} | _problems(),
}
ROTATE_SECRET: Schema = {
    "operationId": "rotate_webhook_secret",
    "summary": "Make another secret for your jobs' webhook_url; for 24 hours both sign",
    "responses": {"200": _answer("The new secret.", "WebhookSecret")} | _problems(),
}


# About the API itself

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
    | _problems(always=(422, 429)),
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
    | _problems(always=(429,)),
}


def document() -> Schema:
    """The whole document, as of now."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nijika",
            "version": "1",
            "description": "Jobs on images: send one, follow it, fetch the result.",
        },
        "servers": [{"url": f"{settings.PUBLIC_URL}/api/v1"}],
        "security": [{"key": []}, {"bearer": []}],
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS | ({"Then": _then()} if _followers() else {}),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }
