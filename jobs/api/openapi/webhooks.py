"""Webhooks: endpoints, what was sent to them, and what signs it."""

from __future__ import annotations

from jobs.api.openapi.answers import REPLAYED, answer, header, links, problems
from jobs.api.openapi.asking import IDEMPOTENCY_KEY, PAGE, json_body, query
from jobs.api.openapi.schema import (
    COUNT,
    NULL_COUNT,
    NULL_TIME,
    TEXT,
    TIME,
    URL,
    WEBHOOK_URL,
    Schema,
    object_of,
    page_of,
    ref,
)
from jobs.models import WebhookDelivery
from jobs.webhooks.events import TYPES as WEBHOOK_TYPES

WEBHOOK_EVENTS: Schema = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"enum": list(WEBHOOK_TYPES)},
}
WEBHOOK_SECRET: Schema = {"type": "string", "pattern": "^whsec_"}
WEBHOOK_ENDPOINT = object_of(
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
WEBHOOK_DELIVERY = object_of(
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
WEBHOOK_ATTEMPT = object_of(
    number=COUNT,
    at={"type": "string", "format": "date-time"},
    status=NULL_COUNT | {"description": "Null where nobody answered."},
    error={"type": ["string", "null"]},
    milliseconds=COUNT,
    answer=TEXT | {"description": "How the answer's body begins."},
)
SCHEMAS: dict[str, Schema] = {
    "WebhookEndpoint": WEBHOOK_ENDPOINT,
    "NewWebhookEndpoint": {
        "allOf": [ref("WebhookEndpoint"), object_of(secret=WEBHOOK_SECRET)]
    },
    "WebhookEndpoints": page_of("WebhookEndpoint"),
    "WebhookSecret": object_of(secret=WEBHOOK_SECRET, old_secret_until=NULL_TIME),
    "WebhookDelivery": WEBHOOK_DELIVERY,
    "WebhookDeliveries": page_of("WebhookDelivery"),
    "LoggedWebhookDelivery": {
        "allOf": [
            ref("WebhookDelivery"),
            object_of(log={"type": "array", "items": WEBHOOK_ATTEMPT}),
        ]
    },
}


ENDPOINT_ID = {"name": "endpoint_id", "in": "path", "required": True, "schema": TEXT}
DELIVERY_ID = {"name": "delivery_id", "in": "path", "required": True, "schema": TEXT}
ENDPOINT_MEMBERS: dict[str, Schema] = {
    "url": WEBHOOK_URL,
    "events": WEBHOOK_EVENTS,
    "description": {"type": "string", "maxLength": 200},
}
ENDPOINT_LINKS = links(
    "endpoint_id",
    "get_webhook_endpoint",
    "change_webhook_endpoint",
    "get_webhook_endpoint_secret",
    "rotate_webhook_endpoint_secret",
    "ping_webhook_endpoint",
    "replay_webhook_endpoint",
    "delete_webhook_endpoint",
)
CREATE_ENDPOINT: Schema = {
    "operationId": "create_webhook_endpoint",
    "summary": "Add a receiver of events",
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": json_body("url", "events", **ENDPOINT_MEMBERS),
    "responses": {
        "201": answer("The endpoint with its secret.", "NewWebhookEndpoint")
        | {
            "headers": {"Location": header("The endpoint's address.")} | REPLAYED,
            "links": ENDPOINT_LINKS,
        }
    }
    | problems(400, 404, 409, 413, 415),
}
LIST_ENDPOINTS: Schema = {
    "operationId": "list_webhook_endpoints",
    "summary": "Webhook endpoints, newest first",
    "parameters": PAGE,
    "responses": {"200": answer("A page of endpoints.", "WebhookEndpoints")}
    | problems(),
}
GET_ENDPOINT: Schema = {
    "operationId": "get_webhook_endpoint",
    "summary": "One webhook endpoint",
    "parameters": [ENDPOINT_ID],
    "responses": {"200": answer("The endpoint.", "WebhookEndpoint")} | problems(404),
}
CHANGE_ENDPOINT: Schema = {
    "operationId": "change_webhook_endpoint",
    "summary": "Change a webhook endpoint, switch it off or on",
    "parameters": [ENDPOINT_ID],
    "requestBody": json_body(**ENDPOINT_MEMBERS, enabled={"type": "boolean"}),
    "responses": {"200": answer("The endpoint.", "WebhookEndpoint")}
    | problems(400, 404, 413, 415),
}
DELETE_ENDPOINT: Schema = {
    "operationId": "delete_webhook_endpoint",
    "summary": "Remove a webhook endpoint and its log",
    "parameters": [ENDPOINT_ID],
    "responses": {"204": answer("It is gone.")} | problems(404),
}
GET_ENDPOINT_SECRET: Schema = {
    "operationId": "get_webhook_endpoint_secret",
    "summary": "What signs for a webhook endpoint",
    "parameters": [ENDPOINT_ID],
    "responses": {"200": answer("The secret.", "WebhookSecret")} | problems(404),
}
ROTATE_ENDPOINT: Schema = {
    "operationId": "rotate_webhook_endpoint_secret",
    "summary": "Make another secret; for 24 hours both sign",
    "parameters": [ENDPOINT_ID],
    "responses": {"200": answer("The new secret.", "WebhookSecret")}
    | problems(400, 404, 413),
}
SENT: Schema = answer("It is on its way.", "WebhookDelivery") | {
    "headers": {"Location": header("The delivery's address.")},
    "links": links("delivery_id", "get_webhook_delivery", "replay_webhook_delivery"),
}
PING_ENDPOINT: Schema = {
    "operationId": "ping_webhook_endpoint",
    "summary": "Send a test event",
    "parameters": [ENDPOINT_ID],
    "responses": {"202": SENT} | problems(400, 404, 409, 413),
}
REPLAY_RANGE: Schema = {
    "operationId": "replay_webhook_endpoint",
    "summary": "Send an endpoint's events of a time again",
    "parameters": [ENDPOINT_ID],
    "requestBody": json_body(
        "since",
        "until",
        since=TIME,
        until=TIME,
        status={"enum": ["failed", "delivered"], "default": "failed"},
    ),
    "responses": {
        "202": {
            "description": "How many are on their way.",
            "content": {"application/json": {"schema": object_of(replayed=COUNT)}},
        }
    }
    | problems(400, 404, 409, 413, 415),
}
LIST_DELIVERIES: Schema = {
    "operationId": "list_webhook_deliveries",
    "summary": "What was sent to whom, newest first",
    "parameters": [
        *PAGE,
        query("endpoint", {"type": "string", "format": "uuid"}),
        query("job", {"type": "string", "format": "uuid"}),
        query("status", {"enum": list(WebhookDelivery.Status.values)}),
        query("type", {"enum": [*WEBHOOK_TYPES, "ping"]}),
    ],
    "responses": {"200": answer("A page of deliveries.", "WebhookDeliveries")}
    | problems(),
}
GET_DELIVERY: Schema = {
    "operationId": "get_webhook_delivery",
    "summary": "One delivery, with what came of each try",
    "parameters": [DELIVERY_ID],
    "responses": {"200": answer("The delivery.", "LoggedWebhookDelivery")}
    | problems(404),
}
REPLAY_DELIVERY: Schema = {
    "operationId": "replay_webhook_delivery",
    "summary": "Send one delivery again",
    "parameters": [DELIVERY_ID],
    "responses": {"202": SENT} | problems(400, 404, 409, 413),
}
GET_SECRET: Schema = {
    "operationId": "get_webhook_secret",
    "summary": "What signs for the webhook_url of your jobs",
    "responses": {"200": answer("The secret.", "WebhookSecret")} | problems(),
}
ROTATE_SECRET: Schema = {
    "operationId": "rotate_webhook_secret",
    "summary": "Make another secret for your jobs' webhook_url; for 24 hours both sign",
    "responses": {"200": answer("The new secret.", "WebhookSecret")}
    | problems(400, 413),
}


def paths() -> dict[str, Schema]:
    return {
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
    }
