from django.urls import path

from accounts.pages.account import (
    AccountView,
    DeleteView,
    EndBrowserView,
    EndOtherBrowsersView,
    ExportView,
    UnlinkView,
)
from accounts.pages.keys import KeysView, RevokeView, RotateView
from accounts.pages.sign_in import (
    CallbackView,
    SignInView,
    SignOutView,
    StartView,
    WelcomeView,
)

# allauth asks for an address by the names `<provider>_login` and `<provider>_callback`.
provider_urlpatterns = [
    pattern
    for name in ("github", "gitlab")
    for pattern in (
        path(
            f"auth/{name}",
            StartView.as_view(),
            {"provider_id": name},
            name=f"{name}_login",
        ),
        path(
            f"auth/{name}/callback",
            CallbackView.as_view(),
            {"provider_id": name},
            name=f"{name}_callback",
        ),
    )
]

app_name = "accounts"
urlpatterns = [
    path("sign-in", SignInView.as_view(), name="sign-in"),
    path("sign-out", SignOutView.as_view(), name="sign-out"),
    path("welcome", WelcomeView.as_view(), name="welcome"),
    path("keys", KeysView.as_view(), name="keys"),
    path("keys/<int:key_id>/rotate", RotateView.as_view(), name="rotate-key"),
    path("keys/<int:key_id>/revoke", RevokeView.as_view(), name="revoke-key"),
    path("account", AccountView.as_view(), name="account"),
    path("account/links/<int:link_id>/unlink", UnlinkView.as_view(), name="unlink"),
    path(
        "account/browsers/<slug:browser_id>/end",
        EndBrowserView.as_view(),
        name="end-browser",
    ),
    path(
        "account/browsers/end-others",
        EndOtherBrowsersView.as_view(),
        name="end-other-browsers",
    ),
    path("account/export", ExportView.as_view(), name="export"),
    path("account/delete", DeleteView.as_view(), name="delete"),
]
