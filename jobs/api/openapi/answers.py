"""What every answer shares: problems, headers, and what can be done next."""

from __future__ import annotations

from jobs.api.openapi.schema import TEXT, Schema, object_of, ref

PROBLEM = object_of(
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
    "items": object_of(field=TEXT, code=TEXT, message=TEXT),
}
SCHEMAS: dict[str, Schema] = {"Problem": PROBLEM}


def header(description: str) -> Schema:
    return {"description": description, "schema": TEXT}


JOB_HEADERS = {
    "X-Credits-Charged": header("What this job has cost."),
    "X-Credits-Remaining": header("What the account has available."),
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


def problems(*statuses: int, always: tuple[int, ...] = ALWAYS) -> Schema:
    content = {"application/problem+json": {"schema": ref("Problem")}}
    return {
        str(status): {"description": REASONS[status], "content": content}
        for status in sorted({*always, *statuses})
    }


def answer(description: str, name: str | None = None, *, job: bool = False) -> Schema:
    answer: Schema = {"description": description}
    if name:
        answer["content"] = _content(name)
    if job:
        answer["headers"] = JOB_HEADERS
    return answer


def _content(name: str) -> Schema:
    return {"application/json": {"schema": ref(name)}}


def links(parameter: str, *operations: str) -> Schema:
    """What can be done next with what the answer shows, by its id."""
    return {
        one: {"operationId": one, "parameters": {parameter: "$response.body#/id"}}
        for one in operations
    }
