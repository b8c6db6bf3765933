"""Reading a create request: strict JSON or a strict multipart form, one `Order` out.

400 for what cannot be read, 422 with every field that is wrong, never a guess. The same
names in both forms; what is no name of ours in a form is a parameter.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import parse_header_parameters

from gpu_worker.contract import Step
from jobs.api import multipart
from jobs.errors import BadFields, FieldError
from jobs.parsing import strict_json
from jobs.requests.inputs import Given
from jobs.requests.orders import MOST_STEPS, Order
from jobs.webhooks.endpoints import LONGEST_URL
from nijika import continuation
from nijika.errors import Malformed, TooLarge, UnsupportedMedia

# What a file may be to an operation; the engines say which of them they take.
ROLES = ("image", "mask", "reference", "reference_mask", "bg_image")
# In a form their text is JSON.
JSON_FIELDS = ("parameters", "then", "metadata")
MEMBERS = {"operation", "engine", *JSON_FIELDS, *ROLES, "webhook_url"}
FORM_OVERHEAD_BYTES = 1 << 20
METADATA_KEYS, METADATA_BYTES, METADATA_DEPTH = 50, 16 << 10, 8


@contextmanager
def order_of(request: HttpRequest) -> Iterator[Order]:
    """What the request asks for; its files are open as long as the context is.

    Raises Malformed, BadFields, TooLarge and UnsupportedMedia.
    """
    with ExitStack() as files:
        yield _order(request, files)


Content = dict[str, Any] | list[multipart.Part]


def content_of(request: HttpRequest, files: ExitStack) -> Content:
    """The members of a JSON body, or the parts of a form, which `files` closes.

    Raises Malformed, BadFields for text that is not clean, TooLarge, UnsupportedMedia.
    """
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedMedia("Send the body as it is, without a Content-Encoding.")
    content_type = request.META.get("CONTENT_TYPE", "")
    kind, options = "", dict[str, str]()
    with suppress(ValueError):
        kind, options = parse_header_parameters(content_type)
    if kind == "application/json":
        if options.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            raise UnsupportedMedia("JSON is UTF-8.")
        return _json_members(request)
    if kind == "multipart/form-data":
        return _parts(request, multipart.boundary_of(content_type), files)
    raise UnsupportedMedia("Send application/json or multipart/form-data.")


def _order(request: HttpRequest, files: ExitStack) -> Order:
    content = content_of(request, files)
    if isinstance(content, dict):
        return json_order(content)
    return _form_order(content)


# JSON


def json_object(request: HttpRequest) -> dict[str, Any]:
    """The members of a body that must be JSON.

    Raises Malformed, BadFields for text that is not clean, TooLarge, UnsupportedMedia.
    """
    with ExitStack() as files:
        content = content_of(request, files)
    if not isinstance(content, dict):
        raise UnsupportedMedia("Send application/json.")
    return content


def no_members(request: HttpRequest) -> None:
    """Where nothing is taken: an empty object is nothing, too, and so is what is not
    JSON. Raises Malformed, BadFields and TooLarge."""
    is_json = request.content_type == "application/json"
    if is_json and _content_length(request):
        body = strict_json.loads(_body(request, settings.JSON_LIMIT_BYTES))
        if not isinstance(body, dict | None):
            raise Malformed("The body is not a JSON object.")
        problems = [
            FieldError(strict_json.printable(name), "unknown", "is not a member here")
            for name in body or {}
        ]
        if problems:
            raise BadFields(*problems[:20])


def _json_members(request: HttpRequest) -> dict[str, Any]:
    body = strict_json.loads(_body(request, settings.JSON_LIMIT_BYTES))
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    strict_json.check_text(body, "")
    return body


def json_order(body: Mapping[str, Any]) -> Order:
    """What the members of a JSON object ask for. Raises BadFields."""
    problems = [*_member_problems(body), *metadata_problems(body.get("metadata", {}))]
    if problems:
        raise BadFields(*problems[:20])
    return Order(
        operation=body["operation"],
        engine=body.get("engine"),
        parameters=body.get("parameters", {}),
        then=_steps(body.get("then", [])),
        images=[image for role in ROLES for image in _images(role, body.get(role))],
        metadata=body.get("metadata", {}),
        webhook_url=body.get("webhook_url", ""),
    )


def _body(request: HttpRequest, limit_bytes: int) -> bytes:
    _check_length(request, limit_bytes)
    body = request.body
    if len(body) != _content_length(request):
        raise Malformed("The body is cut short.")
    return body


def _check_length(request: HttpRequest, limit_bytes: int) -> None:
    if _content_length(request) > limit_bytes:
        raise TooLarge(f"The body has more than {limit_bytes} bytes.")


def _content_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Malformed("The Content-Length is no number.") from None


TYPES: dict[str, tuple[type, str]] = {
    "operation": (str, "must be of type string"),
    "engine": (str, "must be of type string"),
    "parameters": (dict, "must be of type object"),
    "metadata": (dict, "must be of type object"),
    "then": (list, "must be of type array"),
    "webhook_url": (str, "must be of type string"),
    **{role: (str, "must be of type string") for role in ROLES if role != "image"},
}


def _member_problems(body: Mapping[str, Any]) -> Iterator[FieldError]:
    for name in body:
        if name not in MEMBERS:
            known = strict_json.printable(name)
            yield FieldError(known, "unknown", "is not a member here")
    if "operation" not in body:
        yield FieldError("operation", "required", "is missing")
    for name, (kind, message) in TYPES.items():
        if name in body and not isinstance(body[name], kind):
            yield FieldError(name, "type", message)
    yield from _url_problems(body.get("webhook_url"))
    yield from _image_problems(body.get("image", ""))
    yield from _then_problems(body.get("then"))


def _url_problems(url: Any) -> Iterator[FieldError]:
    """Where it leads is the order's to look at."""
    if isinstance(url, str) and not 0 < len(url) <= LONGEST_URL:
        what = f"must have 1 to {LONGEST_URL} characters"
        yield FieldError("webhook_url", "length", what)


STEP_TYPES = {name: TYPES[name] for name in ("operation", "parameters")}


def _then_problems(then: Any) -> Iterator[FieldError]:
    if not isinstance(then, list):
        return
    if not 0 < len(then) <= MOST_STEPS:
        what = f"must have 1 to {MOST_STEPS} items"
        yield FieldError("then", "length", what)
    for number, step in enumerate(then[:MOST_STEPS]):
        if isinstance(step, dict):
            yield from _step_problems(step, f"then.{number}")
        else:
            yield FieldError(f"then.{number}", "type", "must be of type object")


def _step_problems(step: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    for name in step:
        if name not in STEP_TYPES:
            known = strict_json.printable(name)
            yield FieldError(f"{path}.{known}", "unknown", "is not a member here")
    if "operation" not in step:
        yield FieldError(f"{path}.operation", "required", "is missing")
    for name, (kind, message) in STEP_TYPES.items():
        if name in step and not isinstance(step[name], kind):
            yield FieldError(f"{path}.{name}", "type", message)


def _steps(then: list[dict[str, Any]]) -> list[Step]:
    return [
        Step(operation=step["operation"], parameters=step.get("parameters", {}))
        for step in then
    ]


def _image_problems(image: Any) -> Iterator[FieldError]:
    if isinstance(image, list):
        for index, one in enumerate(image[:20]):
            if not isinstance(one, str):
                yield FieldError(f"image.{index}", "type", "must be of type string")
    elif not isinstance(image, str):
        yield FieldError("image", "type", "must be of type string or array")


def _images(role: str, value: Any) -> list[Given]:
    if isinstance(value, list):
        return [
            Given(role=role, field=f"{role}.{index}", text=one)
            for index, one in enumerate(value)
        ]
    return [] if value is None else [Given(role=role, field=role, text=value)]


def metadata_problems(metadata: Any) -> Iterator[FieldError]:
    """What is wrong with an object of this name, if it is one."""
    if not isinstance(metadata, dict) or not metadata:
        return
    if len(metadata) > METADATA_KEYS:
        most = f"must have {METADATA_KEYS} keys or fewer"
        yield FieldError("metadata", "length", most)
    if strict_json.depth_of(metadata) > METADATA_DEPTH:
        most = f"must be nested {METADATA_DEPTH} deep or less"
        yield FieldError("metadata", "depth", most)
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > METADATA_BYTES:
        most = f"must have {METADATA_BYTES} bytes or fewer"
        yield FieldError("metadata", "length", most)


# Forms


def _parts(
    request: HttpRequest, boundary: bytes, files: ExitStack
) -> list[multipart.Part]:
    limit_bytes = settings.UPLOAD_LIMIT_BYTES
    _check_length(request, limit_bytes + FORM_OVERHEAD_BYTES)
    # The front's file is the whole body and no more; Django's stream hides the file.
    in_front = continuation.FRONT in request.META
    stream = request.META["wsgi.input"] if in_front else request
    reading = multipart.read(
        cast(BinaryIO, stream), boundary, part_limit_bytes=limit_bytes, files=files
    )
    return list(reading)


def _form_order(parts: list[multipart.Part]) -> Order:
    texts = _texts(parts)
    values = _json_values(texts)
    problems = [
        *_name_problems(parts),
        *_member_problems({k: v for k, v in values.items() if k in MEMBERS - {*ROLES}}),
        *metadata_problems(values.get("metadata", {})),
    ]
    if problems:
        raise BadFields(*problems[:20])
    return Order(
        operation=values["operation"],
        engine=values.get("engine"),
        parameters=values.get("parameters", {}),
        texts={name: text for name, text in texts.items() if name not in MEMBERS},
        then=_steps(values.get("then", [])),
        images=_form_images(parts),
        metadata=values.get("metadata", {}),
        webhook_url=values.get("webhook_url", ""),
    )


def _texts(parts: list[multipart.Part]) -> dict[str, str]:
    """The text fields, but for images. Raises BadFields for text that is not clean."""
    texts = {
        strict_json.printable(part.name): part.text()
        for part in parts
        if part.filename is None and part.name not in ROLES
    }
    strict_json.check_text(texts, "")
    return texts


def _json_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """The fields with those that are JSON read. Raises BadFields."""
    values: dict[str, Any] = dict(texts)
    for name in JSON_FIELDS:
        if name in texts:
            try:
                values[name] = strict_json.loads(texts[name])
            except Malformed as error:
                raise BadFields(FieldError(name, "json", str(error))) from None
            strict_json.check_text(values[name], name)
    return values


def _name_problems(parts: list[multipart.Part]) -> Iterator[FieldError]:
    given = Counter(part.name for part in parts)
    for name, count in given.items():
        if count > 1 and name != "image":
            known = strict_json.printable(name)
            yield FieldError(known, "repeated", "is given more than once")
    for part in parts:
        if part.filename is not None and part.name not in ROLES:
            known = strict_json.printable(part.name)
            yield FieldError(known, "type", "must be a text field, not a file")


def _form_images(parts: list[multipart.Part]) -> list[Given]:
    """In the order of the roles, each role's in the order they came."""
    found = []
    for role in ROLES:
        mine = [part for part in parts if part.name == role and not _is_unused(part)]
        for index, part in enumerate(mine):
            field = role if len(mine) == 1 else f"{role}.{index}"
            found.append(_form_image(role, field, part))
    return found


def _is_unused(part: multipart.Part) -> bool:
    """What a browser sends for a file field that nobody has filled."""
    return part.filename == "" and part.size_bytes == 0


def _form_image(role: str, field: str, part: multipart.Part) -> Given:
    if part.filename is not None:
        return Given(role=role, field=field, file=part.content)
    text = part.text()
    strict_json.check_text(text, field)
    return Given(role=role, field=field, text=text)
