"""A running stack, an origin beside it, and somebody who signs addresses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.flows.house import Answer, House, house
from tests.onthefly.origin import Origin, origin

PHOTOS = Path(__file__).resolve().parents[1] / "data" / "photos"
TIGER = (PHOTOS / "animal_white_tiger.jpg").read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """An account that signs, as imgproxy's documentation says (Signing the URL)."""

    home: House
    base: str
    key: str
    salt: str

    def signature(self, path: str) -> str:
        message = bytes.fromhex(self.salt) + path.encode()
        digest = hmac.digest(bytes.fromhex(self.key), message, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def url(self, path: str) -> str:
        """The address of a path that begins with a slash."""
        return f"{self.base}/{self.signature(path)}{path}"

    def plain(self, options: str, source: str, extension: str = "") -> str:
        at = f"@{extension}" if extension else ""
        return self.url(f"/{options}/plain/{source}{at}")

    def get(self, options: str, source: str, extension: str = "") -> Answer:
        return get(self.home, self.plain(options, source, extension))


def get(home: House, url: str, *, key: str = "", **headers: str) -> Answer:
    """As a browser would: without a key, unless one is given."""
    sent = {"Authorization": f"Bearer {key}" if key else ""}
    return home.call("GET", url, headers=sent | headers)


def image_of(answer: Answer) -> Image.Image:
    assert answer.status == 200, (answer.status, answer.body)
    image = Image.open(io.BytesIO(answer.body))
    image.load()
    return image


def signer_of(home: House, email: str, *options: str) -> Signer:
    text = home.stack.manage("image_key", email, *options)
    values = dict(line.split("=", 1) for line in text.splitlines())
    return Signer(
        home=home,
        base=values["IMGPROXY_ENDPOINT"],
        key=values["IMGPROXY_KEY"],
        salt=values["IMGPROXY_SALT"],
    )


@pytest.fixture(scope="package")
def web() -> Iterator[Origin]:
    with origin() as server:
        yield server


@pytest.fixture(scope="package")
def home(web: Origin) -> Iterator[House]:
    settings = {
        "NIJIKA_FETCH_ALLOWED_HOSTS": web.host,
        "NIJIKA_ONTHEFLY_PRESETS": "thumb=rs:fill:60:60/q:60,nested=pr:thumb",
        "NIJIKA_ONTHEFLY_WAITING": "60",
        "NIJIKA_ONTHEFLY_WAITING_PER_ACCOUNT": "40",
    }
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        house(Path(folder), settings=settings) as built,
    ):
        yield built


@pytest.fixture(scope="package")
def owner(home: House) -> Signer:
    return signer_of(home, "you@example.org")


@pytest.fixture(scope="package")
def stranger(home: House) -> Signer:
    home.stack.manage("create_user", "stranger@example.org", "--credits", "5")
    return signer_of(home, "stranger@example.org")


@pytest.fixture
def tiger(web: Origin) -> str:
    return web.url("/tiger.jpg", TIGER)
