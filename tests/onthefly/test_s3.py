"""Pictures that are kept in S3: the client is sent there."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from accounts import image_keys
from jobs.onthefly import renditions, studio
from jobs.storage import store
from tests import s3
from tests.flows.house import eventually
from tests.jobs.working import user_with
from tests.onthefly.conftest import TIGER
from tests.onthefly.origin import Origin

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def in_s3(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    with s3.in_use(tmp_path_factory.mktemp("s3"), settings, monkeypatch):
        renditions.forget()
        image_keys.forget()
        yield
        studio.close()


def test_kept_picture_is_a_redirect_to_a_presigned_url(
    settings: Settings, web: Origin
) -> None:
    settings.FETCH_ALLOWED_HOSTS = [web.host]
    row = image_keys.of(user_with("5"))
    path = f"/w:60/plain/{web.url('/s3.jpg', TIGER)}@png"
    digest = image_keys.pair_of(row).signature(path.encode())
    signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    address = f"/img/{row.account}/{signature}{path}"
    fresh = Client().get(address)
    assert (fresh.status_code, fresh["Content-Type"]) == (200, "image/png")
    eventually(lambda: list(store().list(renditions.ROOT)) or None, within_s=20)
    again = eventually(lambda: _if(Client().get(address), 302), within_s=20)
    assert again["Cache-Control"] == "public, max-age=60"
    with urllib.request.urlopen(again["Location"]) as answer:
        assert answer.read() == fresh.content
        assert answer.headers["Content-Type"] == "image/png"
    assert web.asked["/s3.jpg"] == 1


def _if(answer: object, status: int) -> object | None:
    return answer if answer.status_code == status else None
