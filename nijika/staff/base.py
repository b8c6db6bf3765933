"""What the pages of all tables have in common: to look at, and what can be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.utils import (
    display_for_value,
    flatten,
    label_for_field,
    lookup_field,
)
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter

from nijika.errors import NijikaError
from nijika.staff import audit
from nijika.staff.acts import MOST, Act, Deed
from nijika.staff.keyset import KeysetChangeList, Walk


class StaffAdmin(ModelAdmin):  # type: ignore[misc]
    """A table to look at, newest first. Nothing is added, changed or deleted by forms
    of Django's own, unless a subclass says so; then the audit log has it too."""

    acts: Sequence[Act] = ()
    time_field = "created_at"
    shown: Sequence[Any] = ()
    """The columns that a row's page lists as facts; if not these, then `fields`."""
    panels = ""
    """A template with more about one row, and `more_about` for its context."""

    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = True
    list_fullwidth = True
    list_disable_select_all = True
    compressed_fields = True
    sortable_by = ()
    show_facets = 0
    actions_selection_counter = True
    change_form_template = "staff/change_form.html"

    # The list

    def walk(self, asked: Mapping[str, str]) -> Walk:
        """Which index answers what is asked."""
        return Walk()

    def matching(self, query: str) -> Q:
        """The rows that a search means which no index answers."""
        return Q(pk__in=[])

    def get_changelist(self, request: HttpRequest, **more: Any) -> type:
        return KeysetChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return queryset, False  # the walk has, or `matching` will

    # What nobody may, and what is written of what somebody may

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> None:
        audit.record(request, f"{self.opts.model_name} added", obj)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> None:
        details = {"changed": message}
        audit.record(request, f"{self.opts.model_name} changed", obj, details=details)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            audit.record(request, f"{self.opts.model_name} deleted", row)

    # The page of one row

    def get_urls(self) -> list[URLPattern]:
        url = path(
            "act/<slug:name>/",
            self.admin_site.admin_view(self.act_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_act",
        )
        return [url, *super().get_urls()]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        extra: dict[str, Any] = {"show_history": False}
        if row is not None:
            extra |= {"acts": self._buttons(request, row), "panels": self.panels}
            if not self.has_change_permission(request, row):
                extra |= {"facts": self._facts(row), "only_shown": True}
            extra |= self.more_about(request, row)
        extra |= extra_context or {}
        return super().changeform_view(request, object_id, form_url, extra)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """What cannot be changed is shown among the facts, not as a form."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ()
        return super().get_fieldsets(request, obj)

    def _facts(self, row: Model) -> list[tuple[str, Any]]:
        """Names and values, as lists show them."""
        found = []
        for name in flatten(list(self.shown or self.fields or ())):
            field, _, value = lookup_field(name, row, self)
            if field is not None and field.is_relation:
                value = getattr(row, field.name)
            if isinstance(value, bool):
                value = "yes" if value else "no"
            shown = display_for_value(value, "-")
            found.append((str(label_for_field(name, self.model, self)), shown))
        return found

    def more_about(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {}

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Django keeps a log of its own, which we do not write."""
        url = reverse("admin:staff_action_changelist")
        subject = f"{self.opts.model_name} {object_id}"
        return redirect(f"{url}?{urlencode({'subject': subject})}")

    def _buttons(self, request: HttpRequest, row: Model) -> list[dict[str, Any]]:
        return [
            {"act": act, "url": f"{self.act_url(act)}?{urlencode({'id': row.pk})}"}
            for act in self.acts
            if act.is_allowed(request) and act.on(row)
        ]

    def act_url(self, act: Act) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_act"
        return reverse(name, args=[act.name])

    # Acts

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {
            act.name: (partial(_ask, act), act.name, act.title)
            for act in self.acts
            if act.on_many and act.is_allowed(request)
        }

    def act_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask on GET; on POST do it, or ask again where that is refused."""
        act = next((one for one in self.acts if one.name == name), None)
        if act is None:
            raise Http404
        if not act.is_allowed(request):
            raise PermissionDenied
        rows = self._rows(request)
        if request.method != "POST":
            return self.ask(request, act, rows, act.form())
        form = act.form(request.POST)
        if not form.is_valid():
            return self.ask(request, act, rows, form)
        return self._do(
            act, Deed(request=request, rows=rows, given=form.cleaned_data), form
        )

    def check_rows(self, rows: Sequence[Any]) -> None:
        """Raises NijikaError if nothing at all may be done with one of these rows."""

    def _rows(self, request: HttpRequest) -> list[Any]:
        given = request.POST if request.method == "POST" else request.GET
        ids = given.getlist("id")[:MOST]
        try:
            rows = list(self.get_queryset(request).filter(pk__in=ids).order_by("pk"))
        except (ValidationError, ValueError):
            rows = []
        if not rows:
            raise Http404
        return rows

    def _do(self, act: Act, deed: Deed, form: Any) -> HttpResponse:
        try:
            self.check_rows(deed.rows)
            done = act.do(deed)
        except NijikaError as error:
            form.add_error(None, str(error))
            return self.ask(deed.request, act, deed.rows, form)
        if isinstance(done, HttpResponse):
            return done
        self.message_user(deed.request, done, messages.SUCCESS)
        return redirect(self._back(deed.rows))

    def _back(self, rows: Sequence[Model]) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        if len(rows) == 1:
            return reverse(f"{name}_change", args=[rows[0].pk])
        return reverse(f"{name}_changelist")

    def ask(
        self, request: HttpRequest, act: Act, rows: Sequence[Model], form: Any
    ) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": act.title,
            "act": act,
            "rows": rows,
            "form": form,
            "opts": self.opts,
            "back": self._back(rows),
            "action": self.act_url(act),
        }
        return render(request, "staff/act.html", context)


def _ask(
    act: Act, admin: StaffAdmin, request: HttpRequest, rows: QuerySet[Any]
) -> HttpResponse:
    """What an entry of a list's menu leads to."""
    return admin.ask(request, act, list(rows.order_by("pk")[:MOST]), act.form())


Method = TypeVar("Method", bound=Callable[..., str])


def labelled(title: str, colours: Mapping[str, str]) -> Callable[[Method], Method]:
    """A column whose values are labels; `colours` are unfold's names, by value."""

    def mark(method: Method) -> Method:
        method.short_description = title  # type: ignore[attr-defined]
        method.label = colours  # type: ignore[attr-defined]
        return method

    return mark


def short(row_id: UUID) -> str:
    """An id by its ends: where it is in time, and what tells it from its neighbours.
    The whole one is its title."""
    text = str(row_id)
    mark = '<span class="staff-mono" title="{}">{}…{}</span>'
    return format_html(mark, text, text[:8], text[-6:])


class Choice(DropdownFilter):  # type: ignore[misc]
    """A filter by a column's value, whose choices cost no look at the table."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(**{self.parameter_name: self.read(value)})

    def read(self, value: str) -> Any:
        return value


def choice(column: str, choices: Sequence[str], title: str = "") -> type[Choice]:
    """A filter of this column by these values."""

    class Given(Choice):
        parameter_name = column

        def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
            return [(value, value) for value in choices]

    Given.title = title or column
    return Given


class Mode(Choice):
    """Live or test."""

    title = "mode"
    parameter_name = "test"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("0", "live"), ("1", "test")]

    def read(self, value: str) -> bool:
        return value == "1"


class Narrow(Choice):
    """A parameter that the walk takes in; the menu of filters does not show it."""

    title = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        return False


def narrow(name: str) -> type[Narrow]:
    class Given(Narrow):
        parameter_name = name

    return Given
