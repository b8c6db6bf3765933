"""All that is kept about a person, for themselves. Other apps add theirs by signal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.dispatch import Signal

from accounts import browsers, linking
from accounts.models import ApiKey, User

exporting = Signal()
"""Sent with `user_id`; a receiver gives names of lists with their rows, as JSON takes
them. The rows are read one by one while they are sent."""

Rows = Iterable[Mapping[str, Any]]


def document(user: User) -> Iterator[bytes]:
    """One JSON object, piece by piece: `account`, then a list for each kind of data."""
    account = {
        "id": user.pk,
        "email": user.email,
        "role": user.role,
        "created_at": user.created_at,
        "last_login": user.last_login,
    }
    yield b'{\n"account": ' + _json(account)
    for name, rows in _parts(user):
        yield b",\n" + _json(name) + b": ["
        for index, row in enumerate(rows):
            yield (b",\n" if index else b"\n") + _json(row)
        yield b"]"
    yield b"\n}\n"


def _parts(user: User) -> Iterator[tuple[str, Rows]]:
    yield "linked_accounts", map(_link, linking.links_of(user))
    yield "sessions", map(_browser, browsers.list_of(user, current=None))
    yield "api_keys", map(_key, ApiKey.objects.filter(user=user).order_by("pk"))
    for _, said in exporting.send(sender=User, user_id=user.pk):
        parts: Any = said
        yield from parts.items()


def _link(account: Any) -> dict[str, Any]:
    said = account.extra_data
    return {
        "provider": account.provider,
        "id": account.uid,
        "login": said.get("login", ""),
        "url": said.get("html_url", ""),
        "linked_at": account.date_joined,
        "last_signed_in_at": account.last_login,
    }


def _browser(browser: browsers.Browser) -> dict[str, Any]:
    return {
        "browser": browser.agent,
        "address": browser.address,
        "signed_in_with": browser.by,
        "signed_in_at": browser.signed_in_at,
        "seen_at": browser.seen_at,
    }


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "prefix": key.prefix,
        "test": key.test,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, default=str, ensure_ascii=False).encode()
