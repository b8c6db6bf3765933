"""API keys: whose, what for, and when they were last used."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib import admin
from django.utils import timezone

from accounts.models import ApiKey
from nijika.staff import finding, issuing
from nijika.staff.acts import Act
from nijika.staff.base import Mode, StaffAdmin, labelled, narrow
from nijika.staff.keyset import SEARCH, Walk


def _works(key: ApiKey) -> bool:
    expired = key.expires_at is not None and key.expires_at <= timezone.now()
    return key.revoked_at is None and not expired


class ApiKeyAdmin(StaffAdmin):
    list_display = (
        "prefix",
        "user",
        "name",
        "mode",
        "state",
        "created_at",
        "last_used_at",
        "expires_at",
    )
    list_filter = (Mode, narrow("user"))
    list_select_related = ("user",)
    search_fields = ("prefix",)
    search_help_text = "A key, its visible beginning, or an e-mail"
    fields = (
        ("prefix", "name"),
        ("user", "test", "scopes"),
        ("created_at", "last_used_at"),
        ("expires_at", "revoked_at"),
    )
    acts = (
        Act(
            name="rotate",
            title="Rotate",
            says="Another key like it is shown once; this one works on for a day.",
            permission="accounts.change_apikey",
            icon="autorenew",
            do=issuing.rotate,
            on=_works,
            on_many=False,
        ),
        Act(
            name="revoke",
            title="Revoke",
            says="It stops within a second, for ever.",
            permission="accounts.change_apikey",
            icon="key_off",
            do=issuing.revoke,
            on=lambda key: key.revoked_at is None,
            is_dangerous=True,
        ),
    )

    def walk(self, asked: Mapping[str, str]) -> Walk:
        if asked.get("user", "").isdecimal():
            where = {"user_id": int(asked["user"])}
            return Walk(where=where, answers=frozenset({"user"}))
        if SEARCH in asked:
            return Walk(
                where=_named(asked[SEARCH].strip()), answers=frozenset({SEARCH})
            )
        return Walk()

    @admin.display(description="mode")
    def mode(self, key: ApiKey) -> str:
        return "test" if key.test else "live"

    @labelled("state", {"active": "success", "revoked": "danger", "expired": "warning"})
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "active" if _works(key) else "expired"


def _named(term: str) -> dict[str, list[int]]:
    if term.startswith("nj_"):
        return {"pk__in": [key.pk for key in finding.keys_of(term)]}
    return {"user_id__in": [user.pk for user in finding.people(term)]}


admin.site.register(ApiKey, ApiKeyAdmin)
