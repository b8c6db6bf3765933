"""Where allauth asks us: which applications there are, and who has come back."""

from __future__ import annotations

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from django.conf import settings
from django.http import HttpRequest

from accounts import provider, signing_in
from accounts.linking import Identity

NAMES = {"github": "GitHub", "gitlab": "GitLab"}


class SocialAccounts(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str = ""
    ) -> list[SocialApp]:
        """Those of the settings; none lies in the database, where a secret would."""
        return [app for app in apps() if provider in (None, app.provider)]

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """The provider has said who this is; the rest is ours, so allauth ends here."""
        answer = signing_in.complete(
            request, _identity(sociallogin), next_url=sociallogin.state.get("next", "")
        )
        raise ImmediateHttpResponse(answer)

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        failure = signing_in.Failure.PROVIDER
        if error == AuthError.CANCELLED:
            failure = signing_in.Failure.CANCELLED
        elif exception is None and "state_id" in (extra_context or {}):
            failure = signing_in.Failure.STATE
        answer = signing_in.failed(request, provider.name, failure, exception)
        raise ImmediateHttpResponse(answer)


def apps() -> list[SocialApp]:
    """The providers that this installation offers."""
    if settings.DEVELOPMENT_SIGN_IN:
        keys = dict.fromkeys(NAMES, ("development", "development"))
    else:
        keys = {
            "github": (settings.GITHUB_CLIENT_ID, settings.GITHUB_CLIENT_SECRET),
            "gitlab": (settings.GITLAB_CLIENT_ID, settings.GITLAB_CLIENT_SECRET),
        }
    return [
        SocialApp(provider=name, name=NAMES[name], client_id=client_id, secret=secret)
        for name, (client_id, secret) in keys.items()
        if client_id
    ]


def _identity(login: SocialLogin) -> Identity:
    said = login.account.extra_data
    return Identity(
        provider=login.account.provider,
        uid=login.account.uid,
        name=said["login"],
        url=said["html_url"],
        created_at=provider.moment(said["created_at"]),
        emails=tuple(one.email for one in login.email_addresses if one.verified),
    )
