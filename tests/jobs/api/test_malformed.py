"""What cannot be read or is wrong: every case with its code, and nothing is made."""

import base64
import gzip
import json
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from jobs.storage import store
from tests.jobs.api.conftest import (
    DATA_URL,
    PNG,
    Person,
    count_of,
    fields_of,
    make_image,
    problem,
)

OK: dict[str, Any] = {"operation": "removebg", "image": DATA_URL}


@pytest.fixture
def database(db: None) -> None:
    pass


@pytest.fixture(autouse=True)
def _nothing_is_made(world: None) -> Any:
    yield
    assert count_of("jobs_job") == 0
    assert list(store().list()) == []


def deep(depth: int) -> bytes:
    return b'{"a":' + b"[" * depth + b"]" * depth + b"}"


MALFORMED = [
    b"",
    b" ",
    b"{",
    b"{}x",
    b"[]",
    b'"text"',
    b"null",
    b"1",
    b"\xef\xbb\xbf{}",
    b'{"a": "\xff"}',
    b'{"a": "\xed\xa0\x80"}',
    '{"a": 1}'.encode("utf-16"),
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 1, "a": 2}',
    b'{"metadata": {"a": 1, "a": 1}}',
    b"{'a': 1}",
    b'{"a": 1,}',
    b'{"a": 01}',
    b'{"a": "tab\there"}',
    deep(32),
    deep(500),
    deep(100_000),
    b'{"a":' * 40 + b"1" + b"}" * 40,
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[:24]))
def test_json_that_is_malformed_is_400(owner: Person, body: bytes) -> None:
    problem(owner.post("jobs", body), 400, "malformed_body")
    problem(owner.post("estimate", body), 400, "malformed_body")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"operation": 1}, "operation", "type"),
    ({"operation": None}, "operation", "type"),
    ({"operation": "fly"}, "operation", "unknown"),
    ({"operation": ""}, "operation", "unknown"),
    ({"engine": 1}, "engine", "type"),
    ({"engine": None}, "engine", "type"),
    ({"engine": "birefnet"}, "engine", "unknown"),
    ({"engine": "sandbox"}, "engine", "unknown"),
    ({"parameters": []}, "parameters", "type"),
    ({"parameters": None}, "parameters", "type"),
    ({"parameters": {"size": "8"}}, "parameters.size", "type"),
    ({"parameters": {"size": 8.0}}, "parameters.size", "type"),
    ({"parameters": {"size": True}}, "parameters.size", "type"),
    ({"parameters": {"size": 1e400}}, "parameters.size", "range"),
    ({"parameters": {"size": 10}}, "parameters.size", "range"),
    ({"parameters": {"crop": 1}}, "parameters.crop", "type"),
    ({"parameters": {"format": None}}, "parameters.format", "choice"),
    ({"parameters": {"format": "gif"}}, "parameters.format", "choice"),
    ({"parameters": {"colour": 1}}, "parameters.colour", "unknown"),
    ({"parameters": {"note": "\0"}}, "parameters.note", "text"),
    ({"parameters": {"note": "\ud800"}}, "parameters.note", "text"),
    ({"parameters": {"a\0b": 1}}, "parameters.a?b", "text"),
    ({"metadata": []}, "metadata", "type"),
    ({"metadata": None}, "metadata", "type"),
    ({"metadata": {str(n): n for n in range(51)}}, "metadata", "length"),
    ({"metadata": {"a": "x" * 16_384}}, "metadata", "length"),
    ({"metadata": json.loads('{"a":' * 9 + "1" + "}" * 9)}, "metadata", "depth"),
    ({"metadata": {"a": "\0"}}, "metadata.a", "text"),
    ({"metadata": {"a": ["\udfff"]}}, "metadata.a.0", "text"),
    ({"metadata": {"\ud800": 1}}, "metadata.?", "text"),
    ({"webhook_url": ""}, "webhook_url", "length"),
    ({"webhook_url": "https://example.com/" + "a" * 2048}, "webhook_url", "length"),
    ({"webhook_url": "https://example.com/\0"}, "webhook_url", "text"),
    ({"webhook_url": None}, "webhook_url", "type"),
    ({"Operation": "removebg"}, "Operation", "unknown"),
    ({"wait": 5}, "wait", "unknown"),
    ({"x" * 200: 1}, "x" * 100, "unknown"),
    ({"image": 1}, "image", "type"),
    ({"image": None}, "image", "type"),
    ({"image": [1]}, "image.0", "type"),
    ({"image": {}}, "image", "type"),
    ({"image": ""}, "image", "format"),
    ({"image": "photo.png"}, "image", "format"),
    ({"image": []}, "image", "required"),
    ({"image": [DATA_URL, DATA_URL]}, "image", "repeated"),
    ({"image": "data:image/png,abc"}, "image", "format"),
    ({"image": "data:image/png;base64,a"}, "image", "format"),
    ({"image": "data:image/png;base64,!!!!"}, "image", "format"),
    ({"image": DATA_URL + " "}, "image", "format"),
    ({"image": DATA_URL + "\n"}, "image", "format"),
    ({"mask": DATA_URL}, "mask", "unknown"),
    ({"reference": 1}, "reference", "type"),
]


@pytest.mark.parametrize(("changes", "field", "code"), WRONG)
def test_json_with_a_wrong_field_names_it(
    owner: Person, changes: dict[str, Any], field: str, code: str
) -> None:
    text = json.dumps(OK | changes).replace("Infinity", "1e400")
    assert fields_of(owner.post("jobs", text)) == {(field, code)}


def test_json_without_its_operation_and_image_names_them(owner: Person) -> None:
    assert fields_of(owner.post("jobs", {})) == {("operation", "required")}
    body = {"operation": "removebg"}
    assert fields_of(owner.post("jobs", body)) == {("image", "required")}


def test_json_with_several_mistakes_names_them_all(owner: Person) -> None:
    body = {"engine": 1, "metadata": 1, "x": 1}
    assert fields_of(owner.post("jobs", body)) == {
        ("engine", "type"),
        ("metadata", "type"),
        ("x", "unknown"),
        ("operation", "required"),
    }


def test_huge_integer_is_named_not_a_crash(owner: Person) -> None:
    text = json.dumps(OK)[:-1] + ', "metadata": {"n": ' + "9" * 5000 + "}}"
    assert fields_of(owner.post("jobs", text)) == {("metadata.n", "range")}


REFUSED_URLS = [
    "ftp://example.com/a.png",
    "file:///etc/passwd",
    "http://127.0.0.1/a.png",
    "http://[::1]/a.png",
    "http://0x7f000001/a.png",
    "http://169.254.169.254/latest",
    "http://user:secret@example.com/a.png",
    "http://example.com:6379/a.png",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_url_refused_by_its_text_is_422(owner: Person, url: str) -> None:
    answer = owner.post("jobs", OK | {"image": url})
    assert fields_of(answer, "url_not_allowed") == {("image", "url_not_allowed")}
    assert "127.0" not in answer.content.decode()


FILES = [
    (b"not an image", 415, "unsupported_media_type"),
    (b"", 415, "unsupported_media_type"),
    (b"<svg/>", 415, "unsupported_media_type"),
    (b"%!PS-Adobe-3.0 EPSF-3.0", 415, "unsupported_media_type"),
    (PNG[:20], 422, "invalid_image"),
    (b"\xff\xd8\xff\xe0", 422, "invalid_image"),
    (make_image(size=(16_001, 1)), 422, "image_too_large"),
]


@pytest.mark.parametrize(("content", "status", "code"), FILES)
def test_file_that_is_no_sound_image_is_refused(
    owner: Person, content: bytes, status: int, code: str
) -> None:
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    answers = [owner.post("jobs", OK | {"image": url})]
    parts = [("operation", "removebg"), ("image", content)]
    answers.append(send_form(owner, form(parts)))
    for answer in answers:
        assert problem(answer, status, code)["errors"][0]["field"] == "image"


def test_upload_above_the_limit_is_413(owner: Person, settings: Settings) -> None:
    settings.UPLOAD_LIMIT_BYTES = 1000
    big = PNG + bytes(2000)
    url = "data:image/png;base64," + base64.b64encode(big).decode()
    problem(owner.post("jobs", OK | {"image": url}), 413, "payload_too_large")
    answer = send_form(owner, form([("operation", "removebg"), ("image", big)]))
    problem(answer, 413, "payload_too_large")


def test_body_above_the_limit_is_413(owner: Person, settings: Settings) -> None:
    settings.JSON_LIMIT_BYTES = 100
    problem(owner.post("jobs", OK), 413, "payload_too_large")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "image/png",
     "multipart/mixed", "application/json; charset=utf-16", "application/problem+json"],
)  # fmt: skip
def test_other_content_types_are_415(owner: Person, content_type: str) -> None:
    answer = owner.send("jobs", json.dumps(OK).encode(), content_type)
    problem(answer, 415, "unsupported_media_type")


def test_compressed_body_is_415_and_not_called_malformed(owner: Person) -> None:
    body = gzip.compress(json.dumps({"operation": "removebg"}).encode())
    packed = owner.post("jobs", body, **{"Content-Encoding": "gzip"})
    assert (
        "Content-Encoding" in problem(packed, 415, "unsupported_media_type")["detail"]
    )
    plain = owner.post("jobs", {}, **{"Content-Encoding": "identity"})
    problem(plain, 422, "validation_error")


def test_json_in_utf8_may_say_so(owner: Person) -> None:
    body = json.dumps({"operation": "fly"}).encode()
    answer = owner.send("jobs", body, "application/json; charset=UTF-8")
    assert fields_of(answer) == {("operation", "unknown")}


# Forms

BOUNDARY = "xyz"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(parts: list[tuple[str, str | bytes]], end: str = "--\r\n") -> bytes:
    """A form as curl writes it: text fields for text, files for bytes."""
    body = b""
    for name, content in parts:
        file = '; filename="f.png"' if isinstance(content, bytes) else ""
        head = f'Content-Disposition: form-data; name="{name}"{file}'
        raw = content if isinstance(content, bytes) else content.encode()
        body += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + raw + b"\r\n"
    return body + f"--{BOUNDARY}{end}".encode()


def send_form(person: Person, body: bytes, content_type: str = FORM) -> Any:
    return person.send("jobs", body, content_type)


FIELDS: list[tuple[str, str | bytes]] = [("operation", "removebg"), ("image", PNG)]
WHOLE = form(FIELDS)
BROKEN = [
    b"",
    WHOLE[:-4],
    WHOLE[:-3],
    WHOLE[:-6],
    WHOLE[:100],
    WHOLE[: WHOLE.index(PNG) + 10],
    WHOLE[2:],
    b"\r\n" + WHOLE,
    b"preamble\r\n" + WHOLE,
    WHOLE + b"epilogue",
    WHOLE.replace(b"--xyz--", b"--abc--"),
    WHOLE.replace(b"\r\n", b"\n"),
    WHOLE.replace(b"Content-Disposition: ", b"Content-Disposition "),
    WHOLE.replace(b"Content-Disposition: ", b"Disposition: "),
    WHOLE.replace(b'name="operation"', b'name=""'),
    WHOLE.replace(b'name="operation"', b"title"),
    WHOLE.replace(b"form-data", b"attachment"),
    WHOLE.replace(b'name="operation"', b'name="\xff"'),
    WHOLE.replace(b"removebg", b"\xff\xfe"),
    WHOLE.replace(b'"image"', b'"image"\r\nContent-Transfer-Encoding: base64'),
    WHOLE.replace(b"Content-", b"A: " + b"x" * 20_000 + b"\r\nContent-"),
    form([(f"f{n}", "") for n in range(200)]),
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_form_that_is_malformed_is_400(owner: Person, body: bytes) -> None:
    problem(send_form(owner, body), 400, "malformed_body")


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=",
     "multipart/form-data; x=y",
     "multipart/form-data; boundary=" + "x" * 71, 'multipart/form-data; boundary="ä"'],
)  # fmt: skip
def test_form_without_a_sound_boundary_is_400(owner: Person, content_type: str) -> None:
    problem(send_form(owner, WHOLE, content_type), 400, "malformed_body")


WRONG_FORMS: list[tuple[list[tuple[str, str | bytes]], str, str]] = [
    ([("operation", "removebg")], "operation", "repeated"),
    ([("image", PNG)], "image", "repeated"),
    ([("size", "1"), ("size", "1")], "size", "repeated"),
    ([("size", "x")], "parameters.size", "type"),
    ([("size", "8.0")], "parameters.size", "type"),
    ([("size", "")], "parameters.size", "type"),
    ([("crop", "yes")], "parameters.crop", "type"),
    ([("colour", "red")], "parameters.colour", "unknown"),
    ([("format", "gif")], "parameters.format", "choice"),
    ([("size", "1"), ("parameters", '{"size": 1}')], "parameters.size", "repeated"),
    ([("parameters", "{")], "parameters", "json"),
    ([("parameters", '{"a": 1, "a": 1}')], "parameters", "json"),
    ([("parameters", "[]")], "parameters", "type"),
    ([("metadata", "1")], "metadata", "type"),
    ([("metadata", "NaN")], "metadata", "json"),
    ([("metadata", '{"a": "\\u0000"}')], "metadata.a", "text"),
    ([("note", "a\0b")], "note", "text"),
    ([("webhook_url", "")], "webhook_url", "length"),
    ([("size", b"1")], "size", "type"),
    ([("mask", PNG)], "mask", "unknown"),
]


@pytest.mark.parametrize(("more", "field", "code"), WRONG_FORMS)
def test_form_with_a_wrong_field_names_it(
    owner: Person, more: list[tuple[str, str | bytes]], field: str, code: str
) -> None:
    assert (field, code) in fields_of(send_form(owner, form(FIELDS + more)))


def test_form_without_its_fields_names_them(owner: Person) -> None:
    answer = send_form(owner, form([("image", PNG)]))
    assert fields_of(answer) == {("operation", "required")}
    answer = send_form(owner, form([("operation", "removebg")]))
    assert fields_of(answer) == {("image", "required")}
