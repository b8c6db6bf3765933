from django.urls import path

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
]
