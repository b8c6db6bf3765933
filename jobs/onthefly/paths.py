"""A path below /img/ in its parts.

    /img/{account}/{signature}/{option}/…/{source in base64, split at will}[.{format}]
    /img/{account}/{signature}/{option}/…/plain/{source, percent-encoded}[@{format}]

As in imgproxy's documentation ("Processing an image", 3.30). An option has a colon,
the first part without one begins the source.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from jobs.onthefly.errors import BadRequest

PREFIX = "/img/"
PLAIN = "plain"
MOST_OPTIONS = 64
MOST_LENGTH = 12_000

_BASE64 = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# Servers in between make one slash of two.
_MERGED_SLASHES = re.compile(r"(/plain/(?:https?|HTTPS?)):/(?=[^/])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a path says before anything of it is believed. `path` is what was signed."""

    account: str
    signature: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The options in their order, the source's text, the format asked for or ''."""

    options: tuple[str, ...]
    source: str
    extension: str


def split(raw_path: str) -> Signed:
    """The parts of an undecoded path. Raises BadRequest."""
    if len(raw_path) > MOST_LENGTH:
        raise BadRequest("The address is too long.")
    account, _, rest = raw_path.removeprefix(PREFIX).partition("/")
    # Some builders resolve against the base address, which must then end in a slash;
    # the others put one of their own behind it.
    signature, slash, path = rest.lstrip("/").partition("/")
    if not (account and signature and slash):
        raise BadRequest("It takes /img/account/signature/options/source.")
    path = _MERGED_SLASHES.sub(r"\1://", f"/{path}")
    return Signed(account=account, signature=signature, path=path)


def described(path: str) -> Described:
    """What a signed path asks for. Raises BadRequest."""
    parts = path.removeprefix("/").split("/")
    first = next((n for n, part in enumerate(parts) if ":" not in part), len(parts))
    if first > MOST_OPTIONS:
        raise BadRequest("There are too many options.")
    options, rest = parts[:first], parts[first:]
    if rest and rest[0] == PLAIN:
        source, extension = _plain("/".join(rest[1:]))
    else:
        source, extension = _encoded("".join(rest))
    if not source:
        raise BadRequest("The source is missing.")
    decoded = tuple(text_of(option) for option in options)
    return Described(options=decoded, source=source, extension=extension)


def text_of(encoded: str) -> str:
    """Percent-encoded UTF-8 as text. Raises BadRequest."""
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise BadRequest("The address is not in UTF-8.") from None


def from_base64(text: str, what: str) -> str:
    """URL-safe base64 of UTF-8 as text. Raises BadRequest."""
    text = text.rstrip("=")
    try:
        if _BASE64.fullmatch(text) is None:
            raise ValueError(text)
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise BadRequest(f"{what} is not URL-safe base64 of a text.") from None


def _plain(rest: str) -> tuple[str, str]:
    source, at, extension = rest.partition("@")
    if "@" in extension:
        raise BadRequest("An @ of the source itself is written %40.")
    return text_of(source), text_of(extension) if at else ""


def _encoded(rest: str) -> tuple[str, str]:
    source, dot, extension = rest.partition(".")
    if "." in extension:
        raise BadRequest("There is more than one format.")
    return from_base64(source, "The source"), text_of(extension) if dot else ""
