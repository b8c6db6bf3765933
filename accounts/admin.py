"""Users and keys, for staff. A key's secret is on one page, once, and nowhere else."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangosUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts import issuing, joining
from accounts.authentication import SCOPES
from accounts.errors import KeyNotActive
from accounts.issuing import Issued
from accounts.models import ApiKey, User

admin.site.unregister(Group)  # roles decide


class NewUserForm(AdminUserCreationForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("email", "role")


class UserForm(UserChangeForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("email", "password", "role", "suspended_at")


@admin.register(User)
class UserAdmin(DjangosUserAdmin):  # type: ignore[type-arg]
    form = UserForm
    add_form = NewUserForm
    ordering = ("-created_at",)
    list_display = ("email", "role", "suspended_at", "created_at", "last_login")
    list_filter = ("role", ("suspended_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("email",)
    filter_horizontal = ()
    readonly_fields = ("created_at", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "password", "role", "suspended_at")}),
        ("Dates", {"fields": ("created_at", "last_login")}),
    )
    new_fields = ("email", "role", "usable_password", "password1", "password2")
    add_fieldsets = ((None, {"fields": new_fields}),)
    actions = ("suspend", "resume")

    def save_model(
        self, request: HttpRequest, obj: User, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            joining.welcome(obj)

    def has_delete_permission(
        self, request: HttpRequest, obj: User | None = None
    ) -> bool:
        """Users stay, for their entries do; they are suspended."""
        return False

    @admin.action(description="Suspend", permissions=["change"])
    def suspend(self, request: HttpRequest, users: QuerySet[User]) -> None:
        count = users.filter(suspended_at=None).update(suspended_at=Now())
        self.message_user(request, f"{count} suspended.")

    @admin.action(description="End the suspension", permissions=["change"])
    def resume(self, request: HttpRequest, users: QuerySet[User]) -> None:
        count = users.exclude(suspended_at=None).update(suspended_at=None)
        self.message_user(request, f"{count} resumed.")


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None means all.",
    )

    class Meta:
        model = ApiKey
        fields = ("user", "name", "test", "scopes", "expires_at")


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = KeyForm
    list_display = (
        "prefix",
        "user",
        "name",
        "test",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("test", ("revoked_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__email")
    autocomplete_fields = ("user",)
    fields = (*KeyForm.Meta.fields,)
    facts = ("prefix", "created_at", "last_used_at", "revoked_at")
    actions = ("rotate", "revoke")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return (*self.fields, *self.facts) if obj else self.fields

    def get_readonly_fields(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> Any:
        return ("user", "test", *self.facts) if obj else ()

    def has_delete_permission(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> bool:
        """Keys stay, for what was done with them does; they are revoked."""
        return False

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: Any, change: bool
    ) -> None:
        if change:
            obj.save(update_fields=["name", "scopes", "expires_at"])
            return
        issued = issuing.issue(
            obj.user,
            name=obj.name,
            test=obj.test,
            scopes=obj.scopes,
            expires_at=obj.expires_at,
        )
        obj.__dict__.update(vars(issued.key))
        request.issued = issued  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: Any = None
    ) -> HttpResponse:
        return self._shown_once(request, request.issued)  # type: ignore[attr-defined]

    @admin.action(
        description="Rotate (the old key works on for a day)", permissions=["change"]
    )
    def rotate(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        if queryset.count() != 1:
            self.message_user(request, "Rotate one key at a time.", messages.ERROR)
            return None
        try:
            return self._shown_once(request, issuing.rotate(queryset.get()))
        except KeyNotActive as error:
            self.message_user(request, str(error), messages.ERROR)
            return None

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            issuing.revoke(key)
        self.message_user(request, f"{len(queryset)} revoked, within a second.")

    def _shown_once(self, request: HttpRequest, issued: Issued) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "A new key",
            "key": issued.key,
            "secret": issued.secret,
            "back": reverse("admin:accounts_apikey_changelist"),
        }
        return render(request, "accounts/key_shown_once.html", context)
