"""Who and what is turned away before anything is looked up: keys, scopes, methods,
paths and queries. Nothing is committed here, so these tests are quick."""

import time

import pytest

from accounts import issuing
from tests.jobs.api.conftest import Person, fields_of, person, problem
from tests.jobs.working import user_with

NONE = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def database(db: None) -> None:
    pass


def test_everything_but_the_schema_needs_a_key(nobody: Person) -> None:
    for path in ("jobs", "account", "ledger", "operations"):
        problem(nobody.get(path), 401, "unauthenticated")
    for path in ("jobs", "estimate"):
        problem(nobody.post(path, {}), 401, "unauthenticated")


def test_key_in_query_or_cookie_or_body_is_not_looked_at(owner: Person) -> None:
    key = owner.headers["X-API-Key"]
    owner.client.cookies["api_key"] = key
    answer = owner.client.get("/api/v1/jobs", {"api_key": key, "X-API-Key": key})
    problem(answer, 401, "unauthenticated")


SCOPED = [
    ("get", "jobs", "jobs:read"),
    ("post", "jobs", "jobs:write"),
    ("get", f"jobs/{NONE}", "jobs:read"),
    ("get", f"jobs/{NONE}/result", "jobs:read"),
    ("delete", f"jobs/{NONE}", "jobs:write"),
    ("post", f"jobs/{NONE}/cancel", "jobs:write"),
    ("get", "account", "account:read"),
    ("get", "ledger", "account:read"),
    ("post", "estimate", "jobs:read"),
]


@pytest.mark.parametrize(("method", "path", "scope"), SCOPED)
def test_key_without_the_scope_is_403(method: str, path: str, scope: str) -> None:
    others = [s for s in ("jobs:read", "jobs:write", "account:read") if s != scope]
    limited = person(user_with("1"), scopes=others)
    problem(getattr(limited, method)(path), 403, "forbidden")
    allowed = person(limited.user, scopes=[scope])
    assert getattr(allowed, method)(path).status_code not in {401, 403}


def test_key_that_is_over_says_how(owner: Person) -> None:
    assert owner.user is not None
    issuing.revoke(owner.user.api_keys.get())
    time.sleep(1.1)
    problem(owner.get("jobs"), 401, "key_revoked")


# Methods and paths


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("jobs", "GET, POST, HEAD, OPTIONS"),
        (f"jobs/{NONE}", "GET, DELETE, HEAD, OPTIONS"),
        (f"jobs/{NONE}/cancel", "POST, OPTIONS"),
        (f"jobs/{NONE}/result", "GET, HEAD, OPTIONS"),
        ("account", "GET, HEAD, OPTIONS"),
        ("estimate", "POST, OPTIONS"),
        ("schema", "GET, HEAD, OPTIONS"),
    ],
)
def test_method_that_is_not_there_is_405(
    owner: Person, path: str, allowed: str
) -> None:
    answer = owner.client.put(f"/api/v1/{path}", headers=owner.headers)
    problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == allowed


def test_method_of_a_list_is_none_of_what_lies_below_it(owner: Person) -> None:
    """Whatever else is wrong with the request."""
    path = f"/api/v1/batches/{NONE}/jobs?nothing=1"
    answer = owner.client.post(path, headers=owner.headers)
    problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path", ["", "jobs/", "nothing", f"jobs/{NONE}/", f"jobs/{NONE}/events", "Jobs"]
)
def test_path_that_is_not_there_is_404(owner: Person, path: str) -> None:
    problem(owner.get(path), 404, "not_found")


BAD_QUERIES = [
    ("limit=0", "limit", "range"),
    ("limit=101", "limit", "range"),
    ("limit=-1", "limit", "range"),
    ("limit=x", "limit", "range"),
    ("limit=%D9%A3", "limit", "range"),
    ("limit=", "limit", "range"),
    ("limit=1&limit=1", "limit", "repeated"),
    ("status=done", "status", "choice"),
    ("status=", "status", "choice"),
    ("status=queued&status=running", "status", "repeated"),
    ("operation=%00", "operation", "format"),
    ("operation=A", "operation", "format"),
    ("created_after=yesterday", "created_after", "format"),
    ("created_after=2026-01-01", "created_after", "format"),
    ("created_after=2026-01-01T00:00:00", "created_after", "format"),
    ("created_after=2026-13-01T00:00:00Z", "created_after", "format"),
    ("created_after=2026-01-01T00:00:60Z", "created_after", "format"),
    ("created_before=2026-01-01T00:00:00%2B25:00", "created_before", "format"),
    ("created_before=9999-12-31T23:59:59.999999Z", "created_before", "format"),
    ("created_after=0001-01-01T00:00:00%2B14:00", "created_after", "format"),
    ("cursor=", "cursor", "format"),
    ("cursor=x", "cursor", "format"),
    ("cursor=%00", "cursor", "format"),
    ("cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "cursor", "format"),
    ("page=2", "page", "unknown"),
    ("Limit=2", "Limit", "unknown"),
    ("%00=2", "?", "unknown"),
]


@pytest.mark.parametrize(("query", "field", "code"), BAD_QUERIES)
def test_query_that_is_wrong_is_named(
    owner: Person, query: str, field: str, code: str
) -> None:
    assert fields_of(owner.get(f"jobs?{query}")) == {(field, code)}


@pytest.mark.parametrize("path", ["account", "schema", f"jobs/{NONE}"])
def test_query_on_what_takes_none_is_refused(owner: Person, path: str) -> None:
    assert fields_of(owner.get(f"{path}?limit=1")) == {("limit", "unknown")}


@pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\tb"])
def test_idempotency_key_of_a_bad_form_is_refused(owner: Person, key: str) -> None:
    body = {"operation": "removebg", "image": ""}
    answer = owner.post("jobs", body, **{"Idempotency-Key": key})
    assert fields_of(answer) == {("Idempotency-Key", "format")}
