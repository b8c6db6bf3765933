"""The policy of pages: strict, but for the admin's paths."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from nijika import csp

pytestmark = pytest.mark.django_db
HEADER = csp.HEADER


def rules(client: Client, path: str) -> dict[str, list[str]]:
    """The page's policy: what each of its rules allows."""
    policy = client.get(path)[HEADER]
    parts = [part.split() for part in policy.split("; ")]
    return {name: sources for name, *sources in parts}


@pytest.mark.parametrize("path", ["/sign-in", "/keys", "/account/nothing"])
def test_page_runs_scripts_and_styles_of_ours_only(path: str, client: Client) -> None:
    found = rules(client, path)

    assert found["default-src"] == ["'none'"]
    assert found["script-src"] == found["style-src"] == ["'self'"]
    assert found["frame-ancestors"] == found["base-uri"] == ["'none'"]


def test_admin_alone_allows_what_its_theme_needs(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root@example.com", "x"))

    found = rules(client, "/admin/")

    assert found["script-src"] == ["'self'", "'unsafe-eval'"]
    assert found["style-src"] == ["'self'", "'unsafe-inline'"]
    assert found["form-action"] == ["'self'"]


def test_path_that_only_begins_like_the_admins_is_strict(client: Client) -> None:
    assert rules(client, "/account?/admin/")["script-src"] == ["'self'"]


def test_forms_leave_only_from_the_pages_with_providers(
    client: Client, settings: Any
) -> None:
    settings.GITLAB_URL = "http://git.example.com/lab"

    assert rules(client, "/sign-in")["form-action"] == [
        "'self'",
        "https:",
        "http://git.example.com",
    ]
    assert rules(client, "/keys")["form-action"] == ["'self'"]
    assert rules(client, "/account/delete")["form-action"] == ["'self'"]


def test_pictures_come_from_the_store_too(client: Client, settings: Any) -> None:
    settings.STORAGE_URL = "s3://bucket"
    settings.S3_PUBLIC_ENDPOINT_URL = "https://files.example.com/s3"

    found = rules(client, "/sign-in")

    assert "https://files.example.com" in found["img-src"]
    assert "https://files.example.com" in found["connect-src"]
    settings.S3_PUBLIC_ENDPOINT_URL = settings.S3_ENDPOINT_URL = ""
    assert "https://*.amazonaws.com" in rules(client, "/sign-in")["img-src"]
    settings.STORAGE_URL = "file:///srv/files"
    assert rules(client, "/sign-in")["connect-src"] == ["'self'"]


def test_api_answers_carry_no_policy_of_pages(client: Client) -> None:
    assert HEADER not in client.get("/api/v1/schema")


def test_pages_are_guarded_by_the_other_headers(client: Client) -> None:
    answer = client.get("/sign-in")

    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
