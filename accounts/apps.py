from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        user_logged_in.connect(_remember_browser)


def _remember_browser(request: Any, **_: Any) -> None:
    from accounts import browsers  # models load before this runs

    browsers.remember(request, by="password")
