"""Webhooks over HTTP: three people, strict bodies, and the table of hostile URLs."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django.fixtures import Settings
from standardwebhooks import Webhook

from jobs.models import Job, WebhookDelivery, WebhookEndpoint
from jobs.webhooks import events
from jobs.webhooks.delivering import Deliverer
from tests.gpu_worker.test_fetch_guard import TEXTS
from tests.jobs.api.conftest import (
    DATA_URL,
    Person,
    fields_of,
    person,
    problem,
    succeed,
)
from tests.jobs.webhooks.receiving import receiver, status
from tests.jobs.working import TestWorker

ENDPOINT = {"url": "https://example.com/hook", "events": ["job.succeeded"]}
NOBODYS = "0192f0c0-0000-7000-8000-000000000000"


def added(owner: Person, **changes: Any) -> dict[str, Any]:
    answer = owner.post("webhook-endpoints", ENDPOINT | changes)
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


def patch(owner: Person, path: str, body: Any) -> Any:
    url = f"/api/v1/{path}"
    return owner.client.patch(
        url, body, content_type="application/json", headers=owner.headers
    )


# Endpoints


def test_endpoint_is_made_listed_shown_and_removed(owner: Person) -> None:
    answer = owner.post("webhook-endpoints", ENDPOINT)
    made = answer.json()
    secret = made.pop("secret")
    assert answer["Location"].endswith(f"/api/v1/webhook-endpoints/{made['id']}")
    assert (made["enabled"], made["events"]) == (True, ["job.succeeded"])
    path = f"webhook-endpoints/{made['id']}"
    assert owner.get(path).json() == made
    assert owner.get("webhook-endpoints").json()["items"] == [made]
    Webhook(secret)
    assert owner.get(f"{path}/secret").json()["secret"] == secret
    assert owner.delete(path).status_code == 204
    problem(owner.get(path), 404, "not_found")
    assert owner.get("webhook-endpoints").json()["items"] == []


def test_endpoints_come_in_pages(owner: Person) -> None:
    ids = [added(owner)["id"] for _ in range(3)]
    first = owner.get("webhook-endpoints?limit=2").json()
    second = owner.get(f"webhook-endpoints?cursor={first['next_cursor']}").json()
    assert [one["id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


def test_endpoint_is_changed_switched_off_and_on(owner: Person) -> None:
    path = f"webhook-endpoints/{added(owner)['id']}"
    changed = patch(
        owner,
        path,
        {"url": "https://example.com/2", "events": ["job.failed"], "description": "x"},
    ).json()
    assert (changed["url"], changed["events"]) == (
        "https://example.com/2",
        ["job.failed"],
    )
    off = patch(owner, path, {"enabled": False}).json()
    assert (off["enabled"], off["disabled_by"]) == (False, "owner")
    problem(owner.post(f"{path}/ping"), 409, "webhook_endpoint_off")
    assert patch(owner, path, {"enabled": True}).json()["disabled_at"] is None


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"url": "https://example.com/"}, "events", "required"),
        ({"events": ["job.failed"]}, "url", "required"),
        (ENDPOINT | {"url": 1}, "url", "type"),
        (ENDPOINT | {"url": ""}, "url", "length"),
        (ENDPOINT | {"url": "https://example.com/" + "a" * 2048}, "url", "length"),
        (ENDPOINT | {"events": []}, "events", "length"),
        (ENDPOINT | {"events": "job.failed"}, "events", "type"),
        (ENDPOINT | {"events": ["job.requeued"]}, "events.0", "choice"),
        (ENDPOINT | {"events": [["job.failed"]]}, "events.0", "choice"),
        (ENDPOINT | {"events": ["ping"]}, "events.0", "choice"),
        (ENDPOINT | {"events": ["job.failed"] * 2}, "events.1", "repeated"),
        (ENDPOINT | {"description": "x" * 201}, "description", "length"),
        (ENDPOINT | {"description": "\0"}, "description", "text"),
        (ENDPOINT | {"secret": "mine"}, "secret", "unknown"),
        (ENDPOINT | {"enabled": True}, "enabled", "unknown"),
    ],
)
def test_endpoint_that_is_wrong_names_the_field(
    owner: Person, body: Any, field: str, code: str
) -> None:
    assert (field, code) in fields_of(owner.post("webhook-endpoints", body))
    assert not WebhookEndpoint.objects.exists()


HOSTILE = [url for url in TEXTS if url and "\0" not in url and len(url) <= 2048]
HOSTILE = [url for url in HOSTILE if url.isascii() or url.isprintable()]


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
def test_hostile_url_is_refused_for_endpoints_and_jobs(
    owner: Person, url: str, settings: Settings
) -> None:
    settings.FETCH_ALLOWED_HOSTS = ["minio:9000"]
    made = owner.post("webhook-endpoints", ENDPOINT | {"url": url})
    assert fields_of(made, "url_not_allowed") == {("url", "url_not_allowed")}
    body = {"operation": "removebg", "image": DATA_URL, "webhook_url": url}
    job = owner.post("jobs", body)
    assert fields_of(job, "url_not_allowed") == {("webhook_url", "url_not_allowed")}
    assert not Job.objects.exists()


def test_hosts_that_inputs_may_reach_are_closed_to_webhooks(
    owner: Person, settings: Settings
) -> None:
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1:9000"]
    url = {"url": "http://127.0.0.1:9000/"}
    refused = owner.post("webhook-endpoints", ENDPOINT | url)
    problem(refused, 422, "url_not_allowed")
    path = f"webhook-endpoints/{added(owner)['id']}"
    problem(patch(owner, path, url), 422, "url_not_allowed")


def test_endpoints_are_limited_per_account_and_mode(
    owner: Person, settings: Settings
) -> None:
    settings.WEBHOOK_ENDPOINTS = 2
    added(owner)
    added(owner)
    refused = owner.post("webhook-endpoints", ENDPOINT)
    problem(refused, 409, "too_many_webhook_endpoints")
    assert owner.user is not None
    added(person(owner.user, test=True))


def test_endpoint_is_made_once_per_idempotency_key(owner: Person) -> None:
    key = {"Idempotency-Key": "one"}
    first = owner.post("webhook-endpoints", ENDPOINT, **key)
    again = owner.post("webhook-endpoints", ENDPOINT, **key)
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"
    assert WebhookEndpoint.objects.count() == 1
    other = owner.post("webhook-endpoints", ENDPOINT | {"description": "2"}, **key)
    problem(other, 422, "idempotency_key_reused")
    assert WebhookEndpoint.objects.count() == 1


# Who may what

CALLS = [
    ("GET", "webhook-endpoints/{endpoint}"),
    ("PATCH", "webhook-endpoints/{endpoint}"),
    ("DELETE", "webhook-endpoints/{endpoint}"),
    ("GET", "webhook-endpoints/{endpoint}/secret"),
    ("POST", "webhook-endpoints/{endpoint}/rotate"),
    ("POST", "webhook-endpoints/{endpoint}/ping"),
    ("POST", "webhook-endpoints/{endpoint}/replay"),
    ("GET", "webhook-deliveries/{delivery}"),
    ("POST", "webhook-deliveries/{delivery}/replay"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_what_is_a_strangers_or_the_other_modes_is_not_there(
    owner: Person, stranger: Person, nobody: Person, method: str, path: str
) -> None:
    endpoint = added(owner)["id"]
    delivery = owner.post(f"webhook-endpoints/{endpoint}/ping").json()["id"]
    url = "/api/v1/" + path.format(endpoint=endpoint, delivery=delivery)
    body = "{}"
    if url.endswith(f"{endpoint}/replay"):
        body = '{"since": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}'

    def call(who: Person) -> Any:
        return who.client.generic(
            method, url, body, content_type="application/json", headers=who.headers
        )

    assert owner.user is not None
    for other in (stranger, person(owner.user, test=True)):
        problem(call(other), 404, "not_found")
    problem(call(nobody), 401, "unauthenticated")
    problem(call(person(owner.user, scopes=["jobs:write"])), 403, "forbidden")
    assert WebhookDelivery.objects.filter(status="pending").count() == 1
    assert WebhookEndpoint.objects.get().generation == 1
    assert call(owner).status_code in (200, 202, 204)


def test_ids_that_cannot_be_are_not_there(owner: Person) -> None:
    for one in ("1", "x", NOBODYS, NOBODYS.upper()):
        problem(owner.get(f"webhook-endpoints/{one}"), 404, "not_found")
        problem(owner.get(f"webhook-deliveries/{one}"), 404, "not_found")


def test_lists_show_only_what_is_the_callers(owner: Person, stranger: Person) -> None:
    owner.post(f"webhook-endpoints/{added(owner)['id']}/ping")
    assert owner.user is not None
    for other in (stranger, person(owner.user, test=True)):
        assert other.get("webhook-endpoints").json()["items"] == []
        assert other.get("webhook-deliveries").json()["items"] == []


def test_secret_of_an_account_is_its_own_in_each_mode_and_rotates(
    owner: Person, stranger: Person
) -> None:
    assert owner.user is not None
    people = (owner, stranger, person(owner.user, test=True))
    secrets = [one.get("webhook-secret").json()["secret"] for one in people]
    assert len(set(secrets)) == 3
    rotated = owner.post("webhook-secret/rotate").json()
    assert rotated["secret"] not in secrets and rotated["old_secret_until"]
    now = [one.get("webhook-secret").json()["secret"] for one in people]
    assert now == [rotated["secret"], *secrets[1:]]


# Deliveries


def test_job_with_an_address_is_delivered_logged_and_replayed(
    owner: Person, worker: TestWorker, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver(status(200, b"thank you")) as here:
        job = owner.submit(webhook_url=here.url)
        succeed(worker, job["id"])
        [pending] = owner.get("webhook-deliveries").json()["items"]
        assert (pending["status"], pending["endpoint_id"]) == ("pending", None)
        _deliver()
        [hook] = here.hooks
        assert hook.said["data"] == owner.get(f"jobs/{job['id']}").json() | {
            "results": hook.said["data"]["results"]
        }
        assert hook.id == pending["event_id"]
        shown = owner.get(f"webhook-deliveries/{pending['id']}").json()
        assert (shown["status"], shown["attempts"]) == ("delivered", 1)
        [attempt] = shown["log"]
        assert (attempt["status"], attempt["answer"]) == (200, "thank you")
        again = owner.post(f"webhook-deliveries/{pending['id']}/replay")
        assert (again.status_code, again.json()["status"]) == (202, "pending")
        _deliver()
        assert here.ids == [pending["event_id"]] * 2


def _deliver() -> None:
    deliverer = Deliverer()
    while WebhookDelivery.objects.filter(status="pending").exists():
        deliverer.turn()


def test_deliveries_are_filtered_and_paged(owner: Person) -> None:
    one, two = added(owner)["id"], added(owner)["id"]
    pings = [owner.post(f"webhook-endpoints/{e}/ping").json() for e in (one, two, two)]
    assert pings[0]["type"] == events.PING
    newest = [p["id"] for p in pings][::-1]
    page = owner.get("webhook-deliveries?limit=2").json()
    rest = owner.get(f"webhook-deliveries?cursor={page['next_cursor']}").json()
    assert [p["id"] for p in page["items"] + rest["items"]] == newest
    for query, count in (
        (f"endpoint={two}", 2),
        (f"job={NOBODYS}", 0),
        ("status=pending", 3),
        ("status=failed", 0),
        ("type=ping", 3),
    ):
        found = owner.get(f"webhook-deliveries?{query}").json()["items"]
        assert len(found) == count, query
    for query in ("endpoint=1", "job=x", "status=gone", "type=x", "limit=0", "x=1"):
        problem(owner.get(f"webhook-deliveries?{query}"), 422, "validation_error")


def test_range_is_replayed(owner: Person) -> None:
    path = f"webhook-endpoints/{added(owner)['id']}"
    for _ in range(2):
        owner.post(f"{path}/ping")
    patch(owner, path, {"enabled": False})
    times = {"since": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}
    problem(owner.post(f"{path}/replay", times), 409, "webhook_endpoint_off")
    patch(owner, path, {"enabled": True})
    answer = owner.post(f"{path}/replay", times)
    assert (answer.status_code, answer.json()) == (202, {"replayed": 2})
    assert owner.post(f"{path}/replay", times).json() == {"replayed": 0}
    wrong = times | {"since": "yesterday", "status": "failed"}
    assert fields_of(owner.post(f"{path}/replay", wrong)) == {("since", "format")}
    wrong = times | {"status": "pending"}
    assert fields_of(owner.post(f"{path}/replay", wrong)) == {("status", "choice")}
