"""The audit log: who of staff did what, to whom, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin

from nijika.staff import finding
from nijika.staff.base import StaffAdmin, narrow
from nijika.staff.keyset import SEARCH, Walk
from nijika.staff.models import Action


class ActionAdmin(StaffAdmin):
    list_display = (
        "at",
        "actor",
        "action",
        "user",
        "subject",
        "reason",
        "more",
        "address",
    )
    list_display_links = ("at",)
    list_filter = (narrow("user"), narrow("actor"), narrow("subject"))
    list_select_related = ("actor", "user")
    search_fields = ("subject",)
    search_help_text = "The e-mail of who did it, or a subject like “job ID”"
    fields = (
        ("at", "actor", "action"),
        ("user", "subject"),
        ("reason",),
        ("more", "address", "request_id"),
    )
    time_field = "at"

    def walk(self, asked: Mapping[str, str]) -> Walk:
        query = asked.get(SEARCH, "").strip()
        for name in ("user", "actor"):
            if asked.get(name, "").isdecimal():
                where: dict[str, Any] = {f"{name}_id": int(asked[name])}
                return Walk(where=where, answers=frozenset({name}))
        if "subject" in asked:
            where = {"subject": asked["subject"]}
            return Walk(where=where, answers=frozenset({"subject"}))
        if "@" in query:
            ids = [user.pk for user in finding.people(query)[:1]]
            return Walk(where={"actor_id__in": ids}, answers=frozenset({SEARCH}))
        if query:
            return Walk(where={"subject": query}, answers=frozenset({SEARCH}))
        return Walk()

    @admin.display(description="details")
    def more(self, action: Action) -> str:
        return ", ".join(f"{name}: {value}" for name, value in action.details.items())


admin.site.register(Action, ActionAdmin)
