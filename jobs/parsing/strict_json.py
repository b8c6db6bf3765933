"""JSON as RFC 8259 means it, and a little stricter: one reader for everything we take.

Refused as malformed: bytes that are not UTF-8, a byte order mark, NaN and Infinity, a
repeated key, nesting deeper than 32. Refused as invalid, by field, because PostgreSQL
and half the world's clients cannot hold them: NUL, lone surrogates, and numbers that
are beyond any type.
"""

from __future__ import annotations

import json
import math
from typing import Any

from jobs.errors import BadFields, FieldError
from nijika.errors import Malformed

MOST_DEPTH = 32
MOST_DIGITS = 1000


def loads(text: bytes | str) -> Any:
    """The value. Raises Malformed."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = _decoder.decode(text)
    except Malformed:
        raise
    except UnicodeDecodeError:
        raise Malformed("The text is not UTF-8.") from None
    except RecursionError:
        raise Malformed(TOO_DEEP) from None
    except ValueError:
        raise Malformed("The text is not JSON.") from None
    if depth_of(value) > MOST_DEPTH:
        raise Malformed(TOO_DEEP)
    return value


TOO_DEEP = f"The text is nested more than {MOST_DEPTH} deep."


def depth_of(value: Any) -> int:
    """How deep objects and lists are nested: 0 for a plain value."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [
            member
            for one in level
            for member in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


def check_text(value: Any, path: str) -> None:
    """Raises BadFields if a text or number anywhere in the value cannot be kept."""
    if errors := _text_errors(value, path):
        raise BadFields(*errors[:20])


def _text_errors(value: Any, path: str) -> list[FieldError]:
    if isinstance(value, str):
        return [] if is_clean(value) else [FieldError(path, "text", UNCLEAN)]
    if isinstance(value, float):
        return [] if math.isfinite(value) else [FieldError(path, "range", TOO_BIG)]
    if isinstance(value, list):
        return [
            error
            for index, one in enumerate(value)
            for error in _text_errors(one, f"{path}.{index}")
        ]
    if isinstance(value, dict):
        return [error for pair in value.items() for error in _member(*pair, path)]
    return []


def _member(name: str, value: Any, path: str) -> list[FieldError]:
    where = f"{path}.{printable(name)}" if path else printable(name)
    if not is_clean(name):
        return [FieldError(where, "text", UNCLEAN)]
    return _text_errors(value, where)


UNCLEAN = "must not contain NUL or half a surrogate pair"
TOO_BIG = "is beyond any number that can be kept"


def is_clean(text: str) -> bool:
    """Whether a text can be kept: no NUL, no lone surrogate."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """A name from outside, short and clean enough to be repeated in an answer."""
    return name[:100].replace("\0", "?").encode("utf-8", "replace").decode()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("An object has a key twice.")
    return members


def _constant(name: str) -> Any:
    raise Malformed(f"{name} is not JSON.")


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= MOST_DIGITS else math.inf


_decoder = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer
)
