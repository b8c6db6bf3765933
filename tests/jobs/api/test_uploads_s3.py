"""Uploads where the store itself receives them: a real server that speaks S3."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from jobs.models import Job, Upload
from jobs.storage import store
from tests import s3
from tests.jobs.api.conftest import PNG, Person, make_image
from tests.jobs.api.test_uploads import announce, field_errors, stored


@pytest.fixture(autouse=True)
def in_s3(
    world: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    with s3.in_use(tmp_path_factory.mktemp("s3"), settings, monkeypatch):
        yield


def put(upload: dict[str, Any], content: bytes, **headers: str) -> int:
    asked = upload["send"]
    request = urllib.request.Request(
        asked["url"], data=content, headers=asked["headers"] | headers, method="PUT"
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_file_goes_to_the_store_and_becomes_an_image(owner: Person) -> None:
    upload = announce(owner)
    assert put(upload, PNG) == 200

    job = owner.submit(image=upload["reference"])

    [given] = Job.objects.get(pk=job["id"]).inputs
    assert (given["key"], stored(given["key"])) == (f"inputs/{job['id']}/0", PNG)
    assert owner.get(f"uploads/{upload['id']}").json()["status"] == "ready"
    assert not [f for f in store().list("uploads") if f.key.endswith("/sent")]


def test_store_refuses_what_was_not_announced(owner: Person) -> None:
    upload = announce(owner)
    assert put(upload, PNG + b"x", **{"Content-Length": str(len(PNG) + 1)}) == 403
    assert put(upload, PNG, **{"Content-Type": "text/html"}) == 403
    assert owner.get(f"uploads/{upload['id']}").json()["status"] == "waiting"


def test_file_that_is_not_what_it_says_is_no_image(owner: Person) -> None:
    jpeg = make_image("JPEG")
    upload = announce(owner, size_bytes=len(jpeg))
    assert put(upload, jpeg) == 200

    body = {"operation": "removebg", "image": upload["reference"]}
    refused = owner.post("jobs", body)

    assert refused.status_code == 422
    assert field_errors(refused) == [("image", "validation_error")]
    assert owner.get(f"uploads/{upload['id']}").json()["status"] == "waiting"


def test_what_is_sent_later_changes_nothing(owner: Person) -> None:
    upload = announce(owner)
    put(upload, PNG)
    first = owner.submit(image=upload["reference"])

    assert put(upload, PNG[:-1] + b"x") == 200

    again = owner.submit(image=upload["reference"])
    keys = [f"inputs/{one['id']}/0" for one in (first, again)]
    assert [stored(key) for key in keys] == [PNG, PNG]
    assert Upload.objects.get().sha256
