"""What an old client has sent, by the names that its system has for it.

JSON or a form; an image as a file, as base64 with or without `data:`, or as a URL. A
member that is null is one that was not sent: old clients send all that they know.
"""

from __future__ import annotations

import binascii
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from django.conf import settings
from django.http import HttpRequest

from jobs.api import parsing
from jobs.api.multipart import Part
from jobs.errors import BadFields, FieldError
from jobs.parsing import schemas, strict_json
from jobs.requests.inputs import Given
from nijika.errors import TooLarge

_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*:", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
TRUE, FALSE = {"true", "1"}, {"false", "0"}
# What old clients and their frameworks make of `image`.
IMAGE_NAMES = ("images", "images[]", "image", "image[]")


@contextmanager
def fields_of(request: HttpRequest) -> Iterator[Fields]:
    """The request's fields; its files are open as long as the context is.

    Raises Malformed, BadFields, TooLarge and UnsupportedMedia.
    """
    with ExitStack() as files:
        content = parsing.content_of(request, files)
        if isinstance(content, dict):
            yield Fields(values=content, files={}, is_form=False)
        else:
            yield _form(content)


def _form(parts: list[Part]) -> Fields:
    values: dict[str, Any] = {}
    files: dict[str, list[BinaryIO]] = defaultdict(list)
    for part in parts:
        name = strict_json.printable(part.name)
        if part.filename is None:
            text = part.text()
            strict_json.check_text(text, name)
            if name in values:
                raise _bad(name, "repeated", "is given more than once")
            values[name] = text
        elif part.filename or part.size_bytes:  # not a file field left empty
            files[name].append(part.content)
    return Fields(values=values, files=files, is_form=True)


class Fields:
    """Each field is taken once; `finish` refuses what nobody has taken.

    `old_names` are those of the parameters that were taken, for errors about them.
    """

    def __init__(
        self,
        *,
        values: Mapping[str, Any],
        files: Mapping[str, list[BinaryIO]],
        is_form: bool,
    ) -> None:
        self._values = {k: v for k, v in values.items() if v is not None}
        self._files = dict(files)
        self.is_form = is_form
        self.old_names: dict[str, str] = {}

    def finish(self) -> None:
        """Raises BadFields for what is left."""
        left = [*self._values, *self._files]
        if left:
            unknown = [
                FieldError(strict_json.printable(name), "unknown", "is not known here")
                for name in left[:20]
            ]
            raise BadFields(*unknown)

    def has(self, name: str) -> bool:
        return name in self._values or name in self._files

    def having(self, **values: Any) -> Fields:
        """These fields, with some that the client need not send."""
        self._values |= {
            k: str(v).lower() if self.is_form else v for k, v in values.items()
        }
        return self

    # Values

    def take(self, name: str, kind: str = "string", default: Any = None) -> Any:
        """The value as it was sent; a form's text as the JSON type `kind`."""
        if name not in self._values:
            return default
        value = self._values.pop(name)
        if not self.is_form or kind == "string":
            return value
        if kind == "boolean":
            return _boolean(value)
        return schemas.read_text({"type": kind}, value)

    def text(self, name: str, default: str = "") -> str:
        """Raises BadFields for what is no text."""
        return str(self._checked(name, "string", str, default))

    def flag(self, name: str, *, default: bool) -> bool:
        """Raises BadFields for what is no boolean."""
        return bool(self._checked(name, "boolean", bool, default))

    def _checked(self, name: str, kind: str, wanted: type, default: Any) -> Any:
        value = self.take(name, kind, default)
        if not isinstance(value, wanted):
            raise _bad(name, "type", f"must be of type {kind}")
        return value

    def parameters(self, **wanted: tuple[str, str]) -> dict[str, Any]:
        """Those that were sent: `new=("old", "integer")`."""
        found = {}
        for new, (old, kind) in wanted.items():
            value = self.take(old, kind)
            if value is not None:
                found[new] = value
                self.old_names[new] = old
        return found

    def rest(self) -> dict[str, Any]:
        """All values that nobody has taken, by their own names."""
        rest, self._values = self._values, {}
        return rest

    def refuse(self, name: str, *, unless: object, message: str) -> None:
        """Raises BadFields if a field asks for what is not to be had here."""
        kind = "boolean" if isinstance(unless, bool) else "string"
        value = self.take(name, kind, unless)
        if value != unless and not (unless is None and value in (False, "")):
            raise _bad(name, "unsupported", message)

    # Images

    def images(self, role: str, *names: str) -> list[Given]:
        """All images under these names, files first, each in the order they came."""
        given, used = [], []
        for name in _spellings(names):
            found: list[BinaryIO | str] = [*self._files.pop(name, [])]
            found += _texts(name, self._values.pop(name, []))
            used += [name] if found else []
            many = len(found) > 1
            for index, one in enumerate(found):
                field = f"{name}.{index}" if many else name
                given.append(_given(role, field, one))
        if len(used) == 1:
            self.old_names.setdefault(role, used[0])
        return given

    def image(self, role: str, *names: str) -> list[Given]:
        """The one image under these names, or none. Raises BadFields for several."""
        given = self.images(role, *names)
        if len(given) > 1:
            raise _bad(given[1].field, "repeated", "is given more than once")
        return given


def _spellings(names: tuple[str, ...]) -> list[str]:
    return [
        one for name in names for one in (IMAGE_NAMES if name == "image" else (name,))
    ]


def required(given: list[Given], name: str) -> list[Given]:
    """Raises BadFields where there is none."""
    if not given:
        raise _bad(name, "required", "is missing")
    return given


def _boolean(text: str) -> Any:
    lower = text.strip().lower()
    return lower in TRUE if lower in TRUE | FALSE else text


def _texts(name: str, value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise _bad(name, "type", "must be an image as text")
    return texts


def _given(role: str, field: str, image: BinaryIO | str) -> Given:
    if not isinstance(image, str):
        return Given(role=role, field=field, file=image)
    if _SCHEME.match(image):
        return Given(role=role, field=field, text=image)
    return Given(role=role, field=field, file=io.BytesIO(_decoded(field, image)))


def _decoded(field: str, text: str) -> bytes:
    """The bytes of plain base64, in which old clients may have broken lines."""
    if len(text) * 3 // 4 > settings.UPLOAD_LIMIT_BYTES * 1.1:
        raise TooLarge(f"At most {settings.UPLOAD_LIMIT_BYTES} bytes are taken here.")
    try:
        decoded = binascii.a2b_base64(_BLANKS.sub("", text), strict_mode=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise _bad(field, "format", "must be base64, a data URL or a URL")
    return decoded


def _bad(field: str, code: str, message: str) -> BadFields:
    return BadFields(FieldError(field, code, message))
