"""Signed addresses on a running stack: what a browser gets."""

from __future__ import annotations

from imgproxy import ImgProxy

from tests.flows.house import House
from tests.onthefly.conftest import Signer, get, image_of
from tests.onthefly.origin import Origin


def test_picture_of_a_url_builder_from_pypi_is_served(
    home: House, owner: Signer, tiger: str
) -> None:
    builder = ImgProxy(
        tiger,
        proxy_host=owner.base,
        key=owner.key,
        salt=owner.salt,
        width=200,
        height=100,
        resizing_type="fill",
        extension="webp",
    )
    answer = get(home, builder("q:70"))
    image = image_of(answer)
    assert (image.format, image.size) == ("WEBP", (200, 100))
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Cache-Control"].startswith("public, max-age=604")
    assert answer.headers["Cache-Control"].endswith(", immutable")


def test_picture_asked_for_again_is_neither_fetched_nor_made(
    home: House, owner: Signer, web: Origin, tiger: str
) -> None:
    url = owner.plain("rs:fit:120:120", f"{tiger}", "jpg")
    first, asked = get(home, url), web.asked["/tiger.jpg"]
    second = get(home, url)
    assert second.body == first.body
    assert second.headers["ETag"] == first.headers["ETag"]
    assert web.asked["/tiger.jpg"] == asked
    matching = {"If-None-Match": first.headers["ETag"]}
    assert get(home, url, **matching).status == 304
