"""People: who they are, what they have and use, and what staff can do about them.

A moderator sees, and suspends who is no staff. An admin gives roles and credits. Nobody
is deleted here, for what people did stays in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from allauth.socialaccount.models import SocialAccount
from django import forms
from django.contrib import admin
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from accounts import joining, staff
from accounts.models import SUSPEND, ApiKey, User
from billing import ledger
from jobs.models import Job
from jobs.upkeep import figures
from nijika.errors import Conflict
from nijika.staff import audit, credits, finding, issuing
from nijika.staff.acts import Act, Deed, ReasonForm, reason
from nijika.staff.base import Choice, StaffAdmin, choice, labelled
from nijika.staff.keyset import SEARCH, Walk
from nijika.staff.models import Action

SHOWN = 10
"""How many of a user's entries, jobs and deeds their page shows."""


class HasLeft(Conflict):
    """This person has left; the row stays for the ledger's sake alone."""


class NoPassword(Conflict):
    """Customers sign in through a provider; only staff may have a password."""


class RoleForm(ReasonForm):
    role = forms.ChoiceField(
        choices=User.Role.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="A moderator sees everything and suspends; an admin does the rest.",
    )
    field_order = ("role", "reason")


class PasswordForm(ReasonForm):
    password = forms.CharField(widget=UnfoldAdminPasswordWidget, strip=False)
    field_order = ("password", "reason")

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password)
        return password


class NewUserForm(forms.ModelForm):  # type: ignore[type-arg]
    """Whom to let in, and why: they get the welcome credits."""

    reason = reason()


@transaction.atomic
def suspend(deed: Deed) -> str:
    for user in deed.rows:
        if staff.suspend(user.pk, spare_staff=_spares_staff(deed)):
            _record(deed, "suspended", user)
    return _said(deed.rows, "suspended")


@transaction.atomic
def resume(deed: Deed) -> str:
    for user in deed.rows:
        if staff.resume(user.pk, spare_staff=_spares_staff(deed)):
            _record(deed, "suspension ended", user)
    return _said(deed.rows, "back")


@transaction.atomic
def set_role(deed: Deed) -> str:
    [user] = deed.rows
    role = deed.given["role"]
    was = staff.set_role(user.pk, role)
    if was != role:
        _record(deed, "role given", user, {"from": was, "to": role})
    return f"{user.email} is {role} now."


@transaction.atomic
def set_password(deed: Deed) -> str:
    """Ends the user's other sessions, too: they are bound to the password's hash."""
    [user] = deed.rows
    if not user.is_staff:
        raise NoPassword
    user.set_password(deed.given["password"])
    user.save(update_fields=["password"])
    _record(deed, "password set", user)
    return f"{user.email} has another password."


def _spares_staff(deed: Deed) -> bool:
    """Whoever is no admin reaches no staff."""
    return not deed.request.user.has_perm("accounts.change_user")


def _record(
    deed: Deed, what: str, user: User, details: dict[str, Any] | None = None
) -> None:
    audit.record(
        deed.request,
        what,
        user,
        user_id=user.pk,
        reason=deed.reason,
        details=details,
        once=deed.once(user),
    )


def _said(users: Sequence[User], what: str) -> str:
    if len(users) == 1:
        return f"{users[0].email} is {what}."
    return f"{len(users)} users are {what}."


def _is_here(user: User) -> bool:
    return user.deleted_at is None


class Suspended(Choice):
    title = "state"
    parameter_name = "suspended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "suspended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset  # the walk does it


class UserAdmin(StaffAdmin):
    list_display = (
        "email",
        "role_label",
        "state",
        "available",
        "held",
        "created_at",
        "last_login",
    )
    list_filter = (choice("role", User.Role.values), Suspended)
    list_select_related = ("wallet",)
    search_fields = ("email",)
    search_help_text = "An e-mail or its beginning, or an id"
    ordering = ("-pk",)
    form = NewUserForm
    fields = ("email", "reason")
    shown = ("id", "email", "created_at", "last_login", "suspended_at", "deleted_at")
    panels = "staff/user.html"
    acts = (
        Act(
            name="credits",
            title="Give or take credits",
            says="Every one of them gets (or loses) this much, all or none.",
            permission="billing.change_wallet",
            icon="payments",
            do=credits.move,
            form=credits.CreditsForm,
            on=_is_here,
        ),
        Act(
            name="key",
            title="Make a key",
            says="The key is shown once, on the next page.",
            permission="accounts.add_apikey",
            icon="key",
            do=issuing.make,
            form=issuing.KeyForm,
            on=_is_here,
            on_many=False,
        ),
        Act(
            name="role",
            title="Change role",
            says="It holds from the next click on. The last admin stays one.",
            permission="accounts.change_user",
            icon="shield_person",
            do=set_role,
            form=RoleForm,
            on=_is_here,
            on_many=False,
        ),
        Act(
            name="password",
            title="Set a password",
            says="For staff alone. It is shown to nobody; tell it them yourself.",
            permission="accounts.change_user",
            icon="password",
            do=set_password,
            form=PasswordForm,
            on=lambda user: user.is_staff,
            on_many=False,
        ),
        Act(
            name="suspend",
            title="Suspend",
            says="Keys and sessions stop within a second. Running jobs go on.",
            permission=SUSPEND,
            icon="block",
            do=suspend,
            on=lambda user: _is_here(user) and user.suspended_at is None,
            is_dangerous=True,
        ),
        Act(
            name="resume",
            title="End the suspension",
            says="Keys and sign-in work again.",
            permission=SUSPEND,
            icon="check_circle",
            do=resume,
            on=lambda user: _is_here(user) and user.suspended_at is not None,
        ),
    )

    def walk(self, asked: Mapping[str, str]) -> Walk:
        if SEARCH in asked:
            found = [user.pk for user in finding.people(asked[SEARCH].strip())]
            return Walk(where={"pk__in": found}, answers=frozenset({SEARCH}))
        where: dict[str, Any]
        if asked.get("role") in (User.Role.MODERATOR, User.Role.ADMIN):
            where = {"role": asked["role"]}
            return Walk(where=where, answers=frozenset({"role"}))
        if asked.get("suspended") == "1":
            where = {"suspended_at__isnull": False}
            return Walk(where=where, answers=frozenset({"suspended"}))
        return Walk()

    def check_rows(self, rows: Sequence[User]) -> None:
        if any(user.deleted_at is not None for user in rows):
            raise HasLeft

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.add_user")

    def save_model(
        self, request: HttpRequest, obj: User, form: Any, change: bool
    ) -> None:
        obj.set_unusable_password()
        obj.save()
        joining.welcome(obj)
        why = form.cleaned_data["reason"]
        audit.record(request, "user added", obj, user_id=obj.pk, reason=why)

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> None:
        """`save_model` has written it."""

    def more_about(self, request: HttpRequest, row: User) -> dict[str, Any]:
        available, held = ledger.balance(row.pk)
        jobs = Job.objects.filter(user_id=row.pk, test=False)
        return {
            "person": row,
            "available": available,
            "held": held,
            "entries": ledger.statement(row.pk, limit=SHOWN),
            "jobs": jobs.order_by("-created_at", "-id").only(*_OF_A_JOB)[:SHOWN],
            "keys": ApiKey.objects.filter(user=row).order_by("-pk")[:SHOWN],
            "deeds": _deeds_on(row),
            "usage": figures.usage_of(row.pk),
            "links": _links(row),
            "logins": _logins(row),
            "has_password": row.has_usable_password(),
        }

    @labelled("role", {"admin": "primary", "moderator": "info", "user": ""})
    def role_label(self, user: User) -> str:
        return user.role

    @labelled("state", {"active": "success", "suspended": "danger"})
    def state(self, user: User) -> str:
        if user.deleted_at is not None:
            return "left"
        return "active" if user.suspended_at is None else "suspended"

    @admin.display(description="available")
    def available(self, user: User) -> str:
        return f"{user.wallet.available:,.2f}" if hasattr(user, "wallet") else "0.00"

    @admin.display(description="held")
    def held(self, user: User) -> str:
        return f"{user.wallet.held:,.2f}" if hasattr(user, "wallet") else "0.00"


_OF_A_JOB = ("id", "operation", "engine", "status", "charged", "created_at", "error")


def _deeds_on(user: User) -> QuerySet[Action]:
    return (
        Action.objects.filter(user_id=user.pk)
        .select_related("actor")
        .order_by("-pk")[:SHOWN]
    )


def _logins(user: User) -> list[dict[str, Any]]:
    accounts = SocialAccount.objects.filter(user=user).order_by("pk")
    return list(accounts.values("provider", "uid", "date_joined", "last_login"))


def _links(user: User) -> dict[str, str]:
    """Where the whole lists are."""
    query = urlencode({"user": user.pk})
    lists = {
        "entries": "billing_entry",
        "jobs": "jobs_job",
        "keys": "accounts_apikey",
        "endpoints": "jobs_webhookendpoint",
        "deliveries": "jobs_webhookdelivery",
        "batches": "jobs_batch",
        "uploads": "jobs_upload",
        "deeds": "staff_action",
    }
    return {
        name: f"{reverse(f'admin:{model}_changelist')}?{query}"
        for name, model in lists.items()
    }


admin.site.register(User, UserAdmin)
