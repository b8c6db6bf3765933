"""A file is announced, sent past the API, and used by its owner for a day."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from pytest_django.fixtures import Settings

from jobs import retention
from jobs.files import uploads
from jobs.models import IdempotencyKey, Job, Upload
from jobs.storage import store
from tests.flows.house import eventually
from tests.jobs.api.conftest import PNG, Person, make_image, person
from tests.jobs.submitting import locked, together

ANNOUNCED = {"content_type": "image/png", "size_bytes": len(PNG)}


def announce(who: Person, **changes: Any) -> dict[str, Any]:
    answer = who.post("uploads", ANNOUNCED | changes)
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


def send(upload: dict[str, Any], content: bytes = PNG, **headers: str) -> Any:
    """PUT as the answer says; nobody's key is with it."""
    asked = upload["send"]
    wanted = {"content_type": asked["headers"]["Content-Type"]} | headers
    parts = urlsplit(asked["url"])
    return Client().put(f"{parts.path}?{parts.query}", content, **wanted)


def stored(key: str) -> bytes:
    with store().open(key) as file:
        return file.read()


def field_errors(answer: Any) -> list[tuple[str, str]]:
    return [(one["field"], one["code"]) for one in answer.json()["errors"]]


def test_upload_is_sent_without_a_key_and_used_as_an_image(owner: Person) -> None:
    upload = announce(owner)
    sent = send(upload)
    assert (sent.status_code, sent.json()["status"]) == (200, "ready")
    shown = owner.get(f"uploads/{upload['id']}").json()
    assert (shown["status"], shown["width_px"], shown["send"]) == ("ready", 8, None)

    job = owner.submit(image=upload["reference"])

    [given] = Job.objects.get(pk=job["id"]).inputs
    assert given["key"] == f"inputs/{job['id']}/0"
    assert given["sha256"] == shown["sha256"]
    assert stored(given["key"]) == PNG


def test_job_keeps_its_image_when_the_upload_is_discarded(owner: Person) -> None:
    upload = announce(owner)
    send(upload)
    job = owner.submit(image=upload["reference"])

    assert owner.delete(f"uploads/{upload['id']}").status_code == 204

    assert owner.get(f"uploads/{upload['id']}").status_code == 404
    assert owner.delete(f"uploads/{upload['id']}").status_code == 404
    assert not list(store().list("uploads"))
    assert stored(f"inputs/{job['id']}/0") == PNG
    again = {"operation": "removebg", "image": upload["reference"]}
    assert field_errors(owner.post("jobs", again)) == [("image", "not_found")]


def test_upload_is_its_owners_and_its_modes(owner: Person, stranger: Person) -> None:
    upload = announce(owner)
    send(upload)
    for other in (stranger, person(owner.user, test=True)):
        wish = {"operation": "removebg", "image": upload["reference"]}
        assert other.get(f"uploads/{upload['id']}").status_code == 404
        assert other.delete(f"uploads/{upload['id']}").status_code == 404
        if other is stranger:
            refused = other.post("jobs", wish)
            assert field_errors(refused) == [("image", "not_found")]
    found = uploads.files_of(
        [Upload.objects.get().pk], user_id=Upload.objects.get().user_id, test=True
    )
    assert found == {}


def test_upload_that_was_not_sent_is_no_image_yet(owner: Person) -> None:
    upload = announce(owner)
    refused = owner.post(
        "jobs", {"operation": "removebg", "image": upload["reference"]}
    )
    assert field_errors(refused) == [("image", "no_file")]
    for text in ("upload:x", "upload:" + "0" * 36, "upload:"):
        refused = owner.post("jobs", {"operation": "removebg", "image": text})
        assert field_errors(refused) == [("image", "not_found")]


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("content_type", "required"), ("size_bytes", "required")]),
        (ANNOUNCED | {"name": "x"}, [("name", "unknown")]),
        (ANNOUNCED | {"content_type": "text/html"}, [("content_type", "choice")]),
        (ANNOUNCED | {"size_bytes": 0}, [("size_bytes", "range")]),
        (ANNOUNCED | {"size_bytes": 50_000_001}, [("size_bytes", "range")]),
        (ANNOUNCED | {"size_bytes": True}, [("size_bytes", "type")]),
        (ANNOUNCED | {"size_bytes": "9"}, [("size_bytes", "type")]),
    ],
)
def test_announcement_that_cannot_be_kept_is_refused(
    owner: Person, body: Any, errors: Any
) -> None:
    refused = owner.post("uploads", body)
    assert refused.status_code == 422
    assert field_errors(refused) == errors
    assert not Upload.objects.exists()


def test_file_that_is_not_as_announced_is_refused(owner: Person) -> None:
    jpeg = make_image("JPEG")
    upload = announce(owner)
    longer = send(upload, PNG + b"x")
    other_type = send(upload, PNG, content_type="image/jpeg")
    lies = send(announce(owner, size_bytes=len(jpeg)), jpeg)
    no_image = send(announce(owner, size_bytes=9), b"<html>xx>")

    assert field_errors(longer) == [("Content-Length", "size")]
    assert field_errors(other_type) == [("Content-Type", "type")]
    assert field_errors(lies) == [("content_type", "type")]
    assert no_image.status_code == 415
    assert not Upload.objects.filter(ready_at__isnull=False).exists()
    assert not list(store().list("uploads"))


@pytest.mark.parametrize("member", ["type", "size", "expires", "signature"])
def test_changed_address_is_refused(owner: Person, member: str) -> None:
    upload = announce(owner)
    at = upload["send"]["url"].index(f"{member}=") + len(member) + 1
    url = upload["send"]["url"]
    changed = "2" if url[at] != "2" else "3"
    upload["send"]["url"] = url[:at] + changed + url[at + 1 :]
    assert send(upload).status_code == 403


def test_address_of_another_upload_is_refused(owner: Person) -> None:
    upload, other = announce(owner), announce(owner)
    upload["send"]["url"] = upload["send"]["url"].replace(upload["id"], other["id"])
    assert send(upload).status_code == 403


def test_address_ends(owner: Person, settings: Settings) -> None:
    settings.UPLOAD_SEND_S = -2
    with pytest.raises(AssertionError):  # over before it is shown
        announce(owner)
    upload = Upload.objects.get()
    sent = {"send": {"url": uploads.url(upload), "headers": {"Content-Type": "x"}}}
    assert send(sent).status_code == 403


def test_same_file_twice_is_fine_and_another_is_refused(owner: Person) -> None:
    upload = announce(owner)
    other = PNG[:-1] + bytes([PNG[-1] ^ 1])
    assert send(upload).status_code == 200
    assert send(upload).status_code == 200

    refused = send(upload, other)

    assert (refused.status_code, refused.json()["code"]) == (409, "upload_done")
    [file] = store().list("uploads")
    assert stored(file.key) == PNG


def test_two_files_at_once_leave_one(owner: Person) -> None:
    upload = announce(owner)
    other = PNG[:-1] + bytes([PNG[-1] ^ 1])
    acts = [partial(send, upload, one) for one in (PNG, other, PNG, other)]

    codes = [answer.status_code for answer in together(*acts)]

    assert sorted(codes) == [200, 200, 409, 409]
    [file] = store().list("uploads")
    assert file.key == Upload.objects.get().key


def test_idempotency_key_makes_one_upload(owner: Person, stranger: Person) -> None:
    header = {"Idempotency-Key": "k"}
    first = owner.post("uploads", ANNOUNCED, **header)
    again = owner.post("uploads", ANNOUNCED, **header)
    assert again.json()["id"] == first.json()["id"]
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first

    other = owner.post("uploads", ANNOUNCED | {"size_bytes": 1}, **header)
    job = owner.post(
        "jobs", {"operation": "removebg", "image": "https://a.example/"}, **header
    )

    assert other.json()["code"] == job.json()["code"] == "idempotency_key_reused"
    assert stranger.post("uploads", ANNOUNCED, **header).status_code == 201
    assert Upload.objects.count() == 2
    assert not Job.objects.exists()


def test_key_of_a_job_makes_no_upload(owner: Person) -> None:
    header = {"Idempotency-Key": "k"}
    body = {"operation": "removebg", "image": "https://a.example/"}
    assert owner.post("jobs", body, **header).status_code == 202

    refused = owner.post("uploads", ANNOUNCED, **header)

    assert refused.json()["code"] == "idempotency_key_reused"
    assert not Upload.objects.exists()


def test_refused_upload_does_not_use_up_its_key(
    owner: Person, settings: Settings
) -> None:
    settings.UPLOADS_PER_USER = 0
    refused = owner.post("uploads", ANNOUNCED, **{"Idempotency-Key": "k"})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused["Retry-After"]
    assert not IdempotencyKey.objects.exists()


def test_twins_at_once_are_one_upload(owner: Person) -> None:
    act = partial(owner.post, "uploads", ANNOUNCED, **{"Idempotency-Key": "k"})

    answers = together(*[act] * 6)

    assert {one.status_code for one in answers} == {201}
    assert len({one.json()["id"] for one in answers}) == 1
    assert sum("Idempotency-Replayed" not in one for one in answers) == 1
    assert Upload.objects.count() == 1


def test_twin_in_flight_is_waited_for(owner: Person) -> None:
    assert owner.user
    key = "SELECT pg_advisory_xact_lock(hashtextextended(%s || ':false:k', 0))"
    with locked(key, [owner.user.pk]):
        refused = owner.post("uploads", ANNOUNCED, **{"Idempotency-Key": "k"})
        assert owner.post("uploads", ANNOUNCED).status_code == 201
    assert (refused.status_code, refused["Retry-After"]) == (503, "2")


def test_uploads_are_counted_one_after_the_other(
    owner: Person, settings: Settings
) -> None:
    assert owner.user
    settings.UPLOADS_PER_USER = 1
    number = "SELECT pg_advisory_xact_lock(hashtextextended('uploads ' || %s, 0))"
    act = partial(owner.post, "uploads", ANNOUNCED)
    with locked(number, [owner.user.pk]) as release, ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(_closing, act) for _ in range(3)]
        eventually(_three_wait, within_s=5)
        release()
        codes = sorted(one.result().status_code for one in sent)
    assert codes == [201, 429, 429]


def _closing(act: Callable[[], Any]) -> Any:
    try:
        return act()
    finally:
        connection.close()


def _three_wait() -> bool | None:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone() == (3,) or None


def test_account_has_only_so_many_uploads(owner: Person, settings: Settings) -> None:
    settings.UPLOADS_PER_USER = 3

    answers = together(*[partial(owner.post, "uploads", ANNOUNCED)] * 8)

    assert sorted(one.status_code for one in answers) == [201] * 3 + [429] * 5


def test_what_is_over_is_swept(owner: Person) -> None:
    kept, over = announce(owner), announce(owner)
    send(kept)
    send(over)
    Upload.objects.filter(pk=over["id"]).update(expires_at=Now() - uploads.GRACE)
    assert owner.get(f"uploads/{over['id']}").status_code == 404

    retention.clean()

    assert [str(one.pk) for one in Upload.objects.all()] == [kept["id"]]
    assert [file.key.split("/")[1] for file in store().list("uploads")] == [kept["id"]]


def test_orphaned_files_are_swept(
    owner: Person, settings: Settings, tmp_path: Path
) -> None:
    kept, lost = announce(owner), announce(owner)
    send(kept)
    send(lost)
    Upload.objects.filter(pk=lost["id"]).delete()
    settings.ORPHAN_AFTER_S = -1

    assert retention.sweep() == [f"uploads/{lost['id']}"]

    assert [file.key.split("/")[1] for file in store().list("uploads")] == [kept["id"]]
