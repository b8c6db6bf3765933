"""GitHub and GitLab, as allauth speaks with them, with our rules about what they say.

allauth finds the classes by this module's name. State, PKCE and the exchange of the
code are its work; ours is to ask for what we need, to send tokens in a header only, and
to believe an e-mail address only where the provider says that it has verified it. The
tokens are thrown away once the profile is read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests
from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.base import ProviderAccount
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
from allauth.socialaccount.providers.oauth2.views import OAuth2Adapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest
from django.urls import reverse

USER_AGENT = "nijika"


class Adapter(OAuth2Adapter):  # type: ignore[misc]
    """One provider's addresses, and what its profile looks like."""

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        """From the settings: the Host header is the client's."""
        path = reverse(f"{self.provider_id}_callback")
        return str(settings.PUBLIC_URL + path)

    def complete_login(
        self, request: HttpRequest, app: Any, token: Any, **_: Any
    ) -> Any:
        profile = self.profile(token.token)
        return self.get_provider().sociallogin_from_response(request, profile)

    def profile(self, token: str) -> dict[str, Any]:
        """The account, with `emails` of {email, primary, verified}. Raises OAuth2Error
        and requests' own errors."""
        raise NotImplementedError

    def read(self, url: str, token: str, kind: type) -> Any:
        """A JSON value of the provider's API."""
        headers = {"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT}
        with get_adapter().get_requests_session() as session:
            answer: requests.Response = session.get(url, headers=headers)
            answer.raise_for_status()
            value = answer.json()
        if not isinstance(value, kind):
            raise OAuth2Error(f"no {kind.__name__} at {url}")
        return value


class GitHubAdapter(Adapter):
    provider_id = "github"
    headers = {"Accept": "application/json", "User-Agent": USER_AGENT}

    @property
    def authorize_url(self) -> str:
        return f"{site('github')}/login/oauth/authorize"

    @property
    def access_token_url(self) -> str:
        return f"{site('github')}/login/oauth/access_token"

    @property
    def api_url(self) -> str:
        own = site("github")
        return (
            "https://api.github.com"
            if own.endswith("//github.com")
            else own + "/api/v3"
        )

    def profile(self, token: str) -> dict[str, Any]:
        profile: dict[str, Any] = self.read(f"{self.api_url}/user", token, dict)
        emails = self.read(f"{self.api_url}/user/emails?per_page=100", token, list)
        return profile | {"emails": emails}


class GitLabAdapter(Adapter):
    provider_id = "gitlab"

    @property
    def authorize_url(self) -> str:
        return f"{site('gitlab')}/oauth/authorize"

    @property
    def access_token_url(self) -> str:
        return f"{site('gitlab')}/oauth/token"

    def profile(self, token: str) -> dict[str, Any]:
        profile: dict[str, Any] = self.read(
            f"{site('gitlab')}/api/v4/user", token, dict
        )
        email = {
            "email": profile.get("email"),
            "primary": True,
            # GitLab keeps a new address aside until it is confirmed; this is the date
            # of the present one, or null while nobody has ever confirmed it.
            "verified": bool(profile.get("confirmed_at")),
        }
        return profile | {"emails": [email]}


class Account(ProviderAccount):  # type: ignore[misc]
    def get_profile_url(self) -> Any:
        return self.account.extra_data.get("html_url")


class Provider(OAuth2Provider):  # type: ignore[misc]
    account_class = Account
    pkce_enabled_default = True

    def extract_uid(self, data: dict[str, Any]) -> str:
        uid = data.get("id")
        if isinstance(uid, bool) or not isinstance(uid, int | str) or not uid:
            raise OAuth2Error("a profile without an id")
        return str(uid)

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """For `identity_of`; what is stored of it is up to `accounts.linking`."""
        return {
            "login": _text(data.get("login") or data.get("username")),
            "html_url": _text(data.get("html_url") or data.get("web_url")),
            "created_at": data.get("created_at"),
        }

    def extract_common_fields(self, data: dict[str, Any]) -> dict[str, Any]:
        return {}

    def extract_email_addresses(self, data: dict[str, Any]) -> list[EmailAddress]:
        return [
            EmailAddress(
                email=one["email"],
                primary=one.get("primary") is True,
                verified=one.get("verified") is True,
            )
            for one in data["emails"]
            if isinstance(one, dict) and is_plain(one.get("email"))
        ]


class GitHub(Provider):
    id = "github"
    name = "GitHub"
    oauth2_adapter_class = GitHubAdapter

    def get_default_scope(self) -> list[str]:
        return ["read:user", "user:email"]


class GitLab(Provider):
    id = "gitlab"
    name = "GitLab"
    oauth2_adapter_class = GitLabAdapter

    def get_default_scope(self) -> list[str]:
        return ["read_user"]


provider_classes = [GitHub, GitLab]


def site(provider_id: str) -> str:
    """Where the provider is."""
    url: str = (
        settings.DEVELOPMENT_SIGN_IN
        or {
            "github": settings.GITHUB_URL,
            "gitlab": settings.GITLAB_URL,
        }[provider_id]
    )
    return url


def moment(value: object) -> datetime | None:
    """A time as providers write it; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def is_plain(email: object) -> bool:
    """Whether this is an address in ASCII. Others are left aside before anything makes
    them lower case: letters that become alike would pass for another's address."""
    if not isinstance(email, str) or not email.isascii():
        return False
    try:
        validate_email(email)
    except ValidationError:
        return False
    return len(email) <= 254


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""
