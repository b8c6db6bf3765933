"""API keys over the API: no key makes, replaces or ends one that can do more."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import authentication, issuing
from accounts.authentication import SCOPES
from accounts.models import ApiKey
from tests.jobs.api.conftest import Person, fields_of, person, problem
from tests.jobs.submitting import together
from tests.jobs.working import user_with

NOBODYS = "0192f0c0-0000-7000-8000-000000000000"


def made(by: Person, **body: Any) -> dict[str, Any]:
    answer = by.post("keys", {"name": "made"} | body)
    assert answer.status_code == 201, answer.content
    shown: dict[str, Any] = answer.json()
    return shown


def as_holder(of: Person, key: dict[str, Any]) -> Person:
    return Person(
        client=Client(), user=of.user, headers={"X-API-Key": str(key["secret"])}
    )


def soon(**time: float) -> str:
    return (timezone.now() + timedelta(**time)).isoformat()


def test_key_is_made_used_listed_and_revoked(owner: Person) -> None:
    answer = owner.post("keys", {"name": "laptop", "scopes": ["jobs:read"]})
    key = answer.json()
    path = f"keys/{key['id']}"
    assert answer["Location"] == f"https://nijika.example/api/v1/{path}"
    holder = as_holder(owner, key)
    assert holder.get("jobs").status_code == 200
    problem(holder.get("account"), 403, "forbidden")
    secret = key.pop("secret")
    assert secret.startswith(key["prefix"])
    assert owner.get(path).json() | {"last_used_at": None} == key
    listed = owner.get("keys?limit=1").json()
    assert [one["id"] for one in listed["items"]] == [key["id"]]
    (first,) = owner.get(f"keys?cursor={listed['next_cursor']}").json()["items"]
    assert (first["current"], first["scopes"]) == (True, None)
    assert secret not in str(ApiKey.objects.values())
    assert owner.delete(path).status_code == owner.delete(path).status_code == 204
    assert owner.get(path).json()["status"] == "revoked"


def test_replay_shows_the_key_but_never_its_secret_again(owner: Person) -> None:
    body = {"name": "laptop"}
    first = owner.post("keys", body, **{"Idempotency-Key": "one"})
    again = owner.post("keys", body, **{"Idempotency-Key": "one"})
    assert again["Idempotency-Replayed"] == "true"
    assert again.json() == first.json() | {"secret": None}
    other = owner.post("keys", {"name": "other"}, **{"Idempotency-Key": "one"})
    problem(other, 422, "idempotency_key_reused")
    path = f"keys/{first.json()['id']}/rotate"
    rotated = owner.post(path, **{"Idempotency-Key": "two"})
    replayed = owner.post(path, **{"Idempotency-Key": "two"})
    assert rotated.status_code == replayed.status_code == 201
    assert replayed.json() == rotated.json() | {"secret": None}
    assert ApiKey.objects.count() == 3


def test_rotated_key_works_on_beside_its_successor(owner: Person) -> None:
    old = made(owner, scopes=["jobs:read"])
    answer = owner.post(f"keys/{old['id']}/rotate")
    new = answer.json()
    assert answer["Location"].endswith(f"/keys/{new['id']}")
    assert (new["name"], new["scopes"], new["expires_at"]) == (
        "made",
        ["jobs:read"],
        None,
    )
    for key in (old, new):
        assert as_holder(owner, key).get("jobs").status_code == 200
    assert owner.get(f"keys/{old['id']}").json()["expires_at"]
    owner.delete(f"keys/{new['id']}")
    problem(owner.post(f"keys/{new['id']}/rotate"), 409, "key_not_active")


def test_key_without_the_scope_sees_and_makes_none(owner: Person) -> None:
    every = [one for one in SCOPES if not one.startswith("keys:")]
    holder = as_holder(owner, made(owner, scopes=every))
    problem(holder.get("keys"), 403, "forbidden")
    problem(holder.post("keys", {"name": "x"}), 403, "forbidden")
    reader = as_holder(owner, made(owner, scopes=["keys:read"]))
    (mine,) = [one for one in reader.get("keys").json()["items"] if one["current"]]
    problem(reader.post("keys", {"name": "x"}), 403, "forbidden")
    problem(reader.post(f"keys/{mine['id']}/rotate"), 403, "forbidden")
    problem(reader.delete(f"keys/{mine['id']}"), 403, "forbidden")


def test_narrow_key_reaches_no_wider_one(owner: Person) -> None:
    (wide,) = owner.get("keys").json()["items"]
    narrow = made(owner, scopes=["keys:write", "jobs:read"])
    holder = as_holder(owner, narrow)
    attempt = {"name": "x", "scopes": ["keys:write", "jobs:write"]}
    problem(holder.post("keys", attempt), 403, "forbidden")
    problem(holder.post(f"keys/{wide['id']}/rotate"), 403, "forbidden")
    problem(holder.delete(f"keys/{wide['id']}"), 403, "forbidden")
    assert owner.get(f"keys/{wide['id']}").json()["status"] == "active"
    assert made(holder)["scopes"] == ["keys:write", "jobs:read"]
    assert made(holder, scopes=["jobs:read"])["scopes"] == ["jobs:read"]


def test_test_key_reaches_no_live_one(owner: Person) -> None:
    holder = as_holder(owner, made(owner, test=True))
    live = made(owner)
    assert live["test"] is False
    problem(holder.post("keys", {"name": "x", "test": False}), 403, "forbidden")
    for answer in (
        holder.get(f"keys/{live['id']}"),
        holder.post(f"keys/{live['id']}/rotate"),
        holder.delete(f"keys/{live['id']}"),
    ):
        problem(answer, 404, "not_found")
    own = made(holder)
    assert own["test"] and own["secret"].startswith("nj_test_")
    assert {one["test"] for one in holder.get("keys").json()["items"]} == {True}


def test_key_that_ends_leaves_none_behind_that_does_not(owner: Person) -> None:
    ending = made(owner, expires_at=soon(hours=1))
    lasting = made(owner)
    holder = as_holder(owner, ending)
    later = {"name": "x", "expires_at": soon(hours=2)}
    problem(holder.post("keys", later), 403, "forbidden")
    problem(holder.post(f"keys/{lasting['id']}/rotate"), 403, "forbidden")
    assert made(holder)["expires_at"] == ending["expires_at"]
    heir = holder.post(f"keys/{ending['id']}/rotate").json()
    assert heir["expires_at"] == ending["expires_at"]


def test_keys_of_strangers_are_not_there(owner: Person, stranger: Person) -> None:
    key = made(owner)
    for of in (key["id"], NOBODYS, "x", key["id"].upper()):
        problem(stranger.get(f"keys/{of}"), 404, "not_found")
        problem(stranger.post(f"keys/{of}/rotate"), 404, "not_found")
        problem(stranger.delete(f"keys/{of}"), 404, "not_found")
    assert len(stranger.get("keys").json()["items"]) == 1


def test_key_that_was_just_revoked_makes_no_other(
    owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "REFRESH_S", 60)
    monkeypatch.setattr(authentication, "TOO_OLD_S", 60)
    holder = as_holder(owner, made(owner))
    assert holder.get("keys").status_code == 200
    ApiKey.objects.filter(name="made").update(revoked_at=timezone.now())
    problem(holder.post("keys", {"name": "x"}), 401, "key_revoked")


def test_account_has_only_so_many_keys(owner: Person, settings: Settings) -> None:
    settings.KEYS_PER_USER = 2
    key = made(owner)
    problem(owner.post("keys", {"name": "x"}), 409, "too_many_keys")
    problem(owner.post(f"keys/{key['id']}/rotate"), 409, "too_many_keys")
    owner.delete(f"keys/{key['id']}")
    made(owner)


def test_keys_made_at_once_stay_within_the_number(
    owner: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEYS_PER_USER = 3
    usual = issuing.issue

    def slowly(*who: Any, **key: Any) -> issuing.Issued:
        time.sleep(0.05)
        return usual(*who, **key)

    monkeypatch.setattr(issuing, "issue", slowly)
    answers = together(*[lambda: owner.post("keys", {"name": "x"})] * 5)
    assert sorted(one.status_code for one in answers) == [201, 201, 409, 409, 409]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "name", "required"),
        ({"name": ""}, "name", "length"),
        ({"name": "x" * 101}, "name", "length"),
        ({"name": None}, "name", "type"),
        ({"name": "x", "scope": []}, "scope", "unknown"),
        ({"name": "x", "scopes": []}, "scopes", "length"),
        ({"name": "x", "scopes": None}, "scopes", "type"),
        ({"name": "x", "scopes": ["all"]}, "scopes.0", "choice"),
        ({"name": "x", "scopes": [["jobs:read"]]}, "scopes.0", "choice"),
        ({"name": "x", "scopes": ["jobs:read"] * 2}, "scopes.1", "repeated"),
        ({"name": "x", "test": "false"}, "test", "type"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at", "format"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "range"),
    ],
)
def test_body_is_strict(
    owner: Person, body: dict[str, Any], field: str, code: str
) -> None:
    assert (field, code) in fields_of(owner.post("keys", body))


def test_all_scopes_go_with_a_key_that_has_all() -> None:
    """One without scopes has those of later versions; one that names all has not."""
    every = person(user_with("5"), scopes=list(SCOPES))
    wide = issuing.issue(every.user, name="wide").key  # type: ignore[arg-type]
    assert made(every)["scopes"] == list(SCOPES)
    problem(every.delete(f"keys/{wide.public_id}"), 403, "forbidden")
