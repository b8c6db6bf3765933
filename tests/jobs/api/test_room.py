"""One account does not fill the store."""

from uuid import UUID

from pytest_django.fixtures import Settings

from jobs import lifecycle, retention
from jobs.files import stored
from tests.jobs.api.conftest import DATA_URL, Person

ORDER = {"operation": "removebg", "image": DATA_URL}
ANNOUNCED = {"content_type": "image/png", "size_bytes": 100}
KEY = {"Idempotency-Key": "k"}


def test_account_whose_files_take_its_room_gets_429_until_some_go(
    owner: Person, settings: Settings
) -> None:
    assert owner.user
    settings.STORED_PER_USER_BYTES = 1
    stored.forget()
    made = owner.post("jobs", ORDER, **KEY)
    assert made.status_code == 202
    stored.forget()

    refused = owner.post("jobs", ORDER)
    assert (refused.status_code, refused["Retry-After"]) == (429, "600")
    assert refused.json()["code"] == "rate_limited"
    assert owner.post("uploads", ANNOUNCED).status_code == 429
    # What was accepted before is answered as ever.
    assert owner.post("jobs", ORDER, **KEY).json()["id"] == made.json()["id"]

    mine = {"user_id": owner.user.pk, "test": False}
    lifecycle.cancel(UUID(made.json()["id"]), **mine)
    retention.erase(UUID(made.json()["id"]), **mine)
    stored.forget()
    assert owner.post("jobs", ORDER).status_code == 202


def test_limits_are_told(owner: Person) -> None:
    limits = owner.get("account").json()["limits"]
    assert limits["unfinished_jobs"] == 1000
    assert limits["stored_bytes"] == 50 * 10**9
