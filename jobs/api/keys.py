"""API keys over the API: listed, made, replaced and ended by another key.

A secret is in the one answer that makes its key and is kept nowhere; so a replay under
an `Idempotency-Key` shows the key with `secret: null`, never a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import own_keys
from accounts.authentication import SCOPES
from accounts.errors import KeyNotFound
from accounts.issuing import Issued
from accounts.models import ApiKey
from jobs.accepting import idempotency
from jobs.api import pages, parsing, wishes
from jobs.api.base import ApiView
from jobs.api.rendering import API, answer, page_view, time_text
from jobs.errors import BadFields, FieldError
from jobs.ids import new_id
from jobs.parsing import strict_json
from jobs.requests.inputs import job_id_of

LONGEST_NAME = 100
TYPES: Mapping[str, tuple[type, str]] = {
    "name": (str, "must be of type string"),
    "scopes": (list, "must be of type array"),
    "test": (bool, "must be of type boolean"),
    "expires_at": (str, "must be of type string"),
}

Make = Callable[[UUID], Issued]


class KeysApiView(ApiView):
    """What the views of keys share."""

    def view(self, key: ApiKey) -> dict[str, Any]:
        return key_view(key) | {"current": key.pk == self.caller.key_id}

    def made(self, request: HttpRequest, what: list[Any], make: Make) -> HttpResponse:
        """The answer with the new key, or with the one that this wish made before."""
        wish = wishes.once(request, self.caller, "key", what)
        fresh = new_id()
        with transaction.atomic():
            key_id = idempotency.claim(wish, fresh)
            issued = make(fresh) if key_id == fresh else None
            key = own_keys.find(self.caller, key_id)
        secret = issued.secret if issued else None
        response = answer(self.view(key) | {"secret": secret}, status=201)
        response["Location"] = f"{settings.PUBLIC_URL}{API}/keys/{key_id}"
        if issued is None:
            response["Idempotency-Replayed"] = "true"
        return response


class KeysView(KeysApiView):
    scopes = {"GET": "keys:read", "POST": "keys:write"}
    queries = {"GET": pages.PAGE}

    def get(self, request: HttpRequest) -> HttpResponse:
        page = pages.page_of(self.query, "keys")
        before = int(page.after) if page.after else None
        found = own_keys.listed(self.caller, before=before, limit=page.limit + 1)
        shown = found[: page.limit]
        more = len(found) > page.limit
        cursor = pages.cursor("keys", str(shown[-1].pk)) if more else None
        return answer(page_view([self.view(key) for key in shown], cursor))

    def post(self, request: HttpRequest) -> HttpResponse:
        body = parsing.json_object(request)
        wanted = wanted_of(body)

        def make(key_id: UUID) -> Issued:
            _check_future(wanted)
            return own_keys.create(self.caller, wanted, key_id=key_id)

        return self.made(request, ["new", body], make)


class KeyView(KeysApiView):
    scopes = {"GET": "keys:read", "DELETE": "keys:write"}

    def get(self, request: HttpRequest, key_id: str) -> HttpResponse:
        return answer(self.view(own_keys.find(self.caller, _id_of(key_id))))

    def delete(self, request: HttpRequest, key_id: str) -> HttpResponse:
        own_keys.revoke(self.caller, _id_of(key_id))
        return HttpResponse(status=204)


class RotateKeyView(KeysApiView):
    """A key like it; the old one works on for a day."""

    scopes = {"POST": "keys:write"}
    takes_nothing = True

    def post(self, request: HttpRequest, key_id: str) -> HttpResponse:
        old = _id_of(key_id)
        return self.made(
            request,
            ["instead of", str(old)],
            lambda fresh: own_keys.rotate(self.caller, old, key_id=fresh),
        )


def key_view(key: ApiKey) -> dict[str, Any]:
    return {
        "id": str(key.public_id),
        "name": key.name,
        "prefix": key.prefix,
        "test": key.test,
        # Null: all of them, and those that there will be.
        "scopes": key.scopes or None,
        "status": _status(key),
        "created_at": time_text(key.created_at),
        "expires_at": time_text(key.expires_at),
        "last_used_at": time_text(key.last_used_at),
        "revoked_at": time_text(key.revoked_at),
    }


def _status(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return "expired"
    return "active"


def wanted_of(body: Mapping[str, Any]) -> own_keys.Wanted:
    """Raises BadFields."""
    if problems := list(_problems(body)):
        raise BadFields(*problems[:20])
    expires_at = pages.time_of("expires_at", body) if "expires_at" in body else None
    return own_keys.Wanted(
        name=body["name"].strip(),
        test=body.get("test"),
        scopes=body.get("scopes"),
        expires_at=expires_at,
    )


def _check_future(wanted: own_keys.Wanted) -> None:
    """Of what is made now; a replay may come later. Raises BadFields."""
    if wanted.expires_at is not None and wanted.expires_at <= timezone.now():
        raise BadFields(FieldError("expires_at", "range", "must be in the future"))


def _problems(body: Mapping[str, Any]) -> Iterator[FieldError]:
    for name in body:
        if name not in TYPES:
            known = strict_json.printable(name)
            yield FieldError(known, "unknown", "is not a member here")
    if "name" not in body:
        yield FieldError("name", "required", "is missing")
    for name, (kind, message) in TYPES.items():
        if name in body and not isinstance(body[name], kind):
            yield FieldError(name, "type", message)
    yield from _name_problems(body.get("name"))
    yield from _scope_problems(body.get("scopes"))


def _name_problems(name: Any) -> Iterator[FieldError]:
    if isinstance(name, str) and not 0 < len(name.strip()) <= LONGEST_NAME:
        what = f"must have 1 to {LONGEST_NAME} characters"
        yield FieldError("name", "length", what)


def _scope_problems(wanted: Any) -> Iterator[FieldError]:
    if not isinstance(wanted, list):
        return
    if not 0 < len(wanted) <= len(SCOPES):
        what = f"must have 1 to {len(SCOPES)} items"
        yield FieldError("scopes", "length", what)
    for number, one in enumerate(wanted[: len(SCOPES)]):
        if one not in SCOPES:
            what = f"must be one of {', '.join(SCOPES)}"
            yield FieldError(f"scopes.{number}", "choice", what)
        elif one in wanted[:number]:
            yield FieldError(f"scopes.{number}", "repeated", "is given twice")


def _id_of(text: str) -> UUID:
    """One that cannot exist is like one that is not yours."""
    key_id = job_id_of(text)
    if key_id is None:
        raise KeyNotFound
    return key_id
