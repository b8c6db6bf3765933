"""allauth's app without its middleware, which would run for every API call.

`nijika.pages.Users` does for pages what that middleware does.
"""

from allauth.account.apps import AccountConfig


class Account(AccountConfig):  # type: ignore[misc]
    def ready(self) -> None:
        from allauth.account import checks  # noqa: F401, they register themselves
