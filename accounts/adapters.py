"""Where allauth asks us: which applications there are, and who has come back."""

from allauth.socialaccount.adapter import DefaultSocialAccountAdapter


class SocialAccounts(DefaultSocialAccountAdapter):  # type: ignore[misc]
    pass
