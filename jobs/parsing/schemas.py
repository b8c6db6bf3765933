"""JSON schemas of parameters: strict types, errors by field, defaults filled in.

Types are as they look in JSON: 8.0 and true are no integers, "8" is no number. What an
error says comes from the schema, never from the value: a value may be 70 MB or secret.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jsonschema.exceptions import ValidationError
from jsonschema.validators import Draft202012Validator, extend
from referencing import Registry

from jobs.errors import BadFields, FieldError
from jobs.parsing import strict_json
from nijika.errors import Malformed

MOST_ERRORS = 20
MOST_KNOWN, MOST_KNOWN_LENGTH = 500, 2000

_types = Draft202012Validator.TYPE_CHECKER.redefine(
    "integer",
    lambda checker, value: isinstance(value, int) and not isinstance(value, bool),
)


def _properties(
    validator: Any, properties: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    """As the library's, but an error of the schema `false` says where it is."""
    if not isinstance(instance, dict):
        return
    for name, member in properties.items():
        if name not in instance:
            continue
        if member is False:
            yield ValidationError("", validator="false", path=[name])
        else:
            yield from validator.descend(
                instance[name], member, path=name, schema_path=name
            )


_Validator = extend(
    Draft202012Validator, {"properties": _properties}, type_checker=_types
)


class Schema:
    """A compiled schema of an object that stands at `path` in the request."""

    def __init__(self, schema: dict[str, Any], *, path: str) -> None:
        self._schema = schema
        self._path = path
        # An empty registry: a reference to another document is never fetched.
        self._validator = _Validator(schema, registry=Registry())
        self._known: dict[str, dict[str, Any]] = {}
        images = schema.get("x-images")
        self._images = _Validator(images, registry=Registry()) if images else None

    def normalised(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with defaults filled in. Raises BadFields.

        Validating costs some hundred microseconds, and most clients send the same
        parameters again and again: what was right is remembered.
        """
        text = json.dumps(value)
        if text not in self._known:
            self._check(value)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            if len(text) > MOST_KNOWN_LENGTH:
                return self._filled(value)
            self._known[text] = self._filled(value)
        return copy.deepcopy(self._known[text])

    def check_images(self, value: Mapping[str, Any], roles: Iterable[str]) -> None:
        """What does not go with the images that come along: the schema's `x-images` is
        a schema of the parameters with a member for every image, by its role.

        Raises BadFields.
        """
        if self._images is None:
            return
        try:
            self._check({**value, **dict.fromkeys(roles, True)}, self._images)
        except BadFields as bad:
            raise BadFields(*(self._of_request(one) for one in bad.errors)) from None

    def _of_request(self, error: Mapping[str, str]) -> FieldError:
        """The error where it belongs: what is no parameter is an image, by its role."""
        field = error["field"]
        name = field.removeprefix(f"{self._path}.")
        if name not in self._schema.get("properties", {}):
            field = name
        return FieldError(field, error["code"], error["message"])

    def _check(self, value: Mapping[str, Any], validator: Any = None) -> None:
        errors: list[FieldError] = []
        for error in (validator or self._validator).iter_errors(value):
            errors += _field_errors(error, self._path)
            if len(errors) >= MOST_ERRORS:
                break
        if errors:
            raise BadFields(*errors[:MOST_ERRORS])

    def _filled(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """With every default that goes with the rest: a quality's does not where the
        format that was asked for has none."""
        filled: dict[str, Any] = _with_defaults(self._schema, dict(value))
        if self._validator.is_valid(filled):
            return filled
        kept = dict(value)
        for name in filled:
            if self._validator.is_valid(kept | {name: filled[name]}):
                kept[name] = filled[name]
        return kept


def _with_defaults(schema: Any, value: Any) -> Any:
    if not isinstance(schema, dict) or not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, member in schema.get("properties", {}).items():
        if name in filled:
            filled[name] = _with_defaults(member, filled[name])
        elif isinstance(member, dict) and "default" in member:
            filled[name] = copy.deepcopy(member["default"])
    return filled


def _field_errors(error: ValidationError, path: str) -> Iterator[FieldError]:
    field = ".".join([path, *(str(part) for part in error.absolute_path)])
    wanted, keyword = error.validator_value, str(error.validator)
    if keyword == "required":
        for name in wanted:
            if name not in error.instance:
                yield FieldError(f"{field}.{name}", "required", "is missing")
    elif keyword in {"additionalProperties", "unevaluatedProperties"}:
        for name in _unknown(error):
            name = strict_json.printable(name)
            yield FieldError(f"{field}.{name}", "unknown", "is not a parameter here")
    elif keyword == "dependentRequired":
        for name, beside in _also_needed(wanted, error.instance):
            message = f"is needed beside {beside}"
            yield FieldError(f"{field}.{name}", "required", message)
    elif keyword == "anyOf" and all("required" in one for one in wanted):
        names = ", ".join(name for one in wanted for name in one["required"])
        yield FieldError(field, "required", f"must have at least one of {names}")
    elif keyword == "false":
        yield FieldError(field, "unknown", "does not go with the other parameters")
    elif keyword == "not" and "x-refused" in error.schema:
        yield FieldError(field, "unsupported", error.schema["x-refused"])
    elif keyword in MEANINGS:
        code, describe = MEANINGS[keyword]
        yield FieldError(field, code, _form_of(error) or describe(wanted))
    else:
        message = _form_of(error) or "is not of a form that is allowed here"
        yield FieldError(field, "invalid", message)


def _form_of(error: ValidationError) -> str:
    """What must be written, in words, where the schema has them or they are plain."""
    keyword, schema = error.validator, error.schema
    if not isinstance(schema, dict):
        return ""
    if keyword in {"pattern", "anyOf"}:
        return str(schema.get("x-form", ""))
    least, most = schema.get("minItems"), schema.get("maxItems")
    if keyword in {"minItems", "maxItems"} and least == most:
        return f"must have exactly {most} items"
    return ""


def _unknown(error: ValidationError) -> list[str]:
    schema = error.schema if isinstance(error.schema, dict) else {}
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [
        name
        for name in error.instance
        if name not in known and not any(re.search(one, name) for one in patterns)
    ]


def _also_needed(wanted: Any, instance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each member that is missing, and the one that needs it."""
    return [
        (name, given)
        for given, names in wanted.items()
        if given in instance
        for name in names
        if name not in instance
    ]


def _types_text(wanted: Any) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    return "must be of type " + " or ".join(names)


def _choices_text(wanted: Any) -> str:
    return "must be one of " + ", ".join(json.dumps(choice) for choice in wanted)


MEANINGS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "type": ("type", _types_text),
    "enum": ("choice", _choices_text),
    "const": ("choice", lambda wanted: _choices_text([wanted])),
    "minimum": ("range", lambda wanted: f"must be at least {wanted}"),
    "maximum": ("range", lambda wanted: f"must be at most {wanted}"),
    "exclusiveMinimum": ("range", lambda wanted: f"must be above {wanted}"),
    "exclusiveMaximum": ("range", lambda wanted: f"must be below {wanted}"),
    "multipleOf": ("range", lambda wanted: f"must be a multiple of {wanted}"),
    "minLength": ("length", lambda wanted: f"must have {wanted} characters or more"),
    "maxLength": ("length", lambda wanted: f"must have {wanted} characters or fewer"),
    "minItems": ("length", lambda wanted: f"must have {wanted} items or more"),
    "maxItems": ("length", lambda wanted: f"must have {wanted} items or fewer"),
    "uniqueItems": ("choice", lambda wanted: "must not have an item twice"),
    "pattern": ("format", lambda wanted: f"must match {wanted}"),
}


def read_text(schema: Any, text: str) -> Any:
    """A form field's text as one of the schema's types, else as the text it is."""
    types = _types_of(schema)
    if "integer" in types and re.fullmatch(r"-?(0|[1-9][0-9]{0,30})", text):
        return int(text)
    if "number" in types and re.fullmatch(NUMBER, text):
        return json.loads(text)
    if "boolean" in types and text in {"true", "false"}:
        return text == "true"
    if types & {"object", "array"} and text.lstrip()[:1] in {"{", "["}:
        return _read_json(text)
    return text


def _read_json(text: str) -> Any:
    try:
        return strict_json.loads(text)
    except Malformed:
        return text


TYPES = {int: "integer", float: "number", bool: "boolean"}
NUMBER = r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?"


def _types_of(schema: Any) -> set[str]:
    """Every type that a schema allows at its top, as far as it says so there."""
    if not isinstance(schema, dict):
        return set()
    named = schema.get("type", [])
    types = {named} if isinstance(named, str) else set(named)
    types |= {TYPES.get(type(value), "string") for value in schema.get("enum", [])}
    for part in (*schema.get("anyOf", []), *schema.get("oneOf", [])):
        types |= _types_of(part)
    return types
