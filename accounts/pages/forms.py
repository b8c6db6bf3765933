"""What people type about their keys and their account."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.authentication import SCOPES
from accounts.models import ApiKey

LIFETIMES = [
    ("", "Never"),
    ("7", "In a week"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In a year"),
]
SCOPE_WORDS = {
    "jobs:read": "See jobs and results",
    "jobs:write": "Make and cancel jobs",
    "account:read": "See balance and entries",
    "webhooks:read": "See webhooks",
    "webhooks:write": "Change webhooks",
    "keys:read": "See keys, never their secrets",
    "keys:write": "Make and revoke keys that can do no more",
}


class KeyForm(forms.Form):
    name = forms.CharField(
        max_length=100, strip=True, error_messages={"required": "Give it a name."}
    )
    mode = forms.ChoiceField(choices=[("live", "Live"), ("test", "Test")])
    scopes = forms.MultipleChoiceField(
        choices=[(scope, SCOPE_WORDS[scope]) for scope in SCOPES], required=False
    )
    lifetime = forms.ChoiceField(choices=LIFETIMES, required=False)

    def issued_as(self) -> dict[str, Any]:
        """What `issuing.issue` takes. All scopes are kept as none: also later ones."""
        said = self.cleaned_data
        scopes = said["scopes"]
        return {
            "name": said["name"],
            "test": said["mode"] == "test",
            "scopes": [] if len(scopes) == len(SCOPES) else scopes,
            "expires_at": _days_from_now(said["lifetime"]),
        }


class DeleteForm(forms.Form):
    """Typing one's own address is what tells this from a slip."""

    email = forms.CharField(max_length=254)

    def __init__(self, *values: Any, expected: str, **more: Any) -> None:
        super().__init__(*values, **more)
        self._expected = expected

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if email.strip().lower() != self._expected.lower():
            raise forms.ValidationError(f"Type {self._expected} to go on.")
        return email


def _days_from_now(days: str) -> datetime | None:
    return timezone.now() + timedelta(days=int(days)) if days else None


def state_of(key: ApiKey) -> str:
    """A word for what has become of a key."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return "expired"
    return "active"
