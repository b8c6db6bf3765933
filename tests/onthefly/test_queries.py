"""The older addresses, /api/images/resize and /api/v1/resize, on a running stack."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.flows.house import Answer, House
from tests.onthefly.conftest import Signer, get, image_of
from tests.onthefly.origin import Origin

PATHS = ["/api/images/resize", "/api/v1/resize"]


def asked(home: House, path: str, **query: Any) -> Answer:
    return get(home, f"{path}?{urlencode(query)}", key=home.stack.key)


@pytest.mark.parametrize("path", PATHS)
def test_resize_fills_the_box_and_answers_a_jpeg(
    home: House, tiger: str, path: str
) -> None:
    answer = asked(home, path, url=tiger, width=100, height=100)
    image = image_of(answer)
    assert (image.format, image.size) == ("JPEG", (100, 100))
    control = answer.headers["Cache-Control"]
    assert control.startswith("private, max-age=") and control.endswith("immutable")


@pytest.mark.parametrize(
    ("query", "format", "size"),
    [
        ({"width": 90}, "JPEG", (90, 60)),
        ({"height": 60, "format": "png"}, "PNG", (90, 60)),
        ({"width": 90, "height": 90, "fit": "contain"}, "JPEG", (90, 90)),
        ({"width": 90, "height": 90, "fit": "inside"}, "JPEG", (90, 60)),
        ({"width": 90, "height": 90, "fit": "outside"}, "JPEG", (135, 90)),
        ({"width": 90, "height": 90, "fit": "fill"}, "JPEG", (90, 90)),
        ({"width": 90, "fit": "fill"}, "JPEG", (90, 60)),
        ({"height": 60, "fit": "fill", "format": "png"}, "PNG", (90, 60)),
        ({"width": 3000, "fit": "contain", "enlarge": "0"}, "JPEG", (1000, 667)),
        ({"width": 3000, "height": 10}, "JPEG", (3000, 10)),
        ({"width": 90, "format": "webp", "quality": 10}, "WEBP", (90, 60)),
        ({"width": 90, "blur_sigma": 2.5, "grayscale": "true"}, "JPEG", (90, 60)),
    ],
)
def test_resize_honours_the_parameters_of_both_services(
    home: House, tiger: str, query: dict[str, Any], format: str, size: tuple[int, int]
) -> None:
    image = image_of(asked(home, PATHS[0], url=tiger, **query))
    assert (image.format, image.size) == (format, size)
    if "grayscale" in query:
        red, green, blue = image.convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
        assert abs(red - green) < 3 and abs(green - blue) < 3


def test_resize_redirects_to_the_file_where_asked(home: House, tiger: str) -> None:
    query = urlencode({"url": tiger, "width": 81, "redirect": "1"})
    status, location = unfollowed(home, query)
    assert status == 302
    assert location.startswith(f"{home.stack.url}/api/images/files/")
    file = get(home, location)
    assert image_of(file).size == (81, 54)
    assert file.headers["Cache-Control"].startswith("public, max-age=")
    assert file.headers["Cache-Control"].endswith(", immutable")
    name = location.rpartition("/")[2]
    assert get(home, f"/api/images/files/{name.replace('jpg', 'png')}").status == 404


def unfollowed(home: House, query: str) -> tuple[int, str]:
    """Status and Location of an answer, as a browser sees them before it goes there."""
    parts = urlsplit(home.stack.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"Authorization": f"Bearer {home.stack.key}"}
    connection.request("GET", f"{PATHS[0]}?{query}", headers=headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.headers["Location"]


@pytest.mark.parametrize("path", PATHS)
def test_resize_takes_a_signature_instead_of_a_key(
    home: House, owner: Signer, stranger: Signer, tiger: str, path: str
) -> None:
    account = owner.base.rpartition("/")[2]
    text = f"{path}?{urlencode({'url': tiger, 'width': 82, 'account': account})}"
    answer = get(home, f"{text}&signature={owner.signature(text)}")
    assert image_of(answer).size == (82, 55)
    assert answer.headers["Cache-Control"].startswith("public")
    wrong = [
        f"{text}&signature={stranger.signature(text)}",
        f"{text.replace('82', '83')}&signature={owner.signature(text)}",
        f"{text}&signature={owner.signature(text)}&width=83",
        f"{text}&signature=",
        f"{path}?signature={owner.signature(text)}",
    ]
    statuses = [get(home, url).status for url in wrong]
    assert statuses == [403, 403, 400, 403, 403]


@pytest.mark.parametrize("path", PATHS)
def test_resize_is_no_open_proxy(
    home: House, web: Origin, tiger: str, path: str
) -> None:
    before = web.asked["/tiger.jpg"]
    answer = get(home, f"{path}?{urlencode({'url': tiger, 'width': 84})}")
    assert (answer.status, answer.body["code"]) == (401, "unauthenticated")
    assert web.asked["/tiger.jpg"] == before


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"width": 9},
        {"width": 4097},
        {"width": "1e2"},
        {"width": "-10"},
        {"height": ""},
        {"format": "gif"},
        {"fit": "crop"},
        {"quality": 0},
        {"quality": 101},
        {"blur_sigma": 101},
        {"blur_sigma": "nan"},
        {"grayscale": "yes"},
        {"colour": "red"},
    ],
)
def test_resize_refuses_what_it_does_not_honour(
    home: House, tiger: str, query: dict[str, Any]
) -> None:
    given = {"url": tiger} | query if query else {"width": 20}
    answer = asked(home, PATHS[0], **given)
    assert (answer.status, answer.body["code"]) == (400, "validation_error")
    assert answer.headers["Cache-Control"] == "no-store"


def test_resize_with_a_test_key_sees_test_jobs_only(home: House, tiger: str) -> None:
    test_key = home.stack.manage("create_key", "you@example.org", "--test")
    url = f"{PATHS[0]}?{urlencode({'url': tiger, 'width': 85})}"
    assert image_of(get(home, url, key=test_key)).size == (85, 57)
