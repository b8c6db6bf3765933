from decimal import Decimal

import pytest

from accounts.models import User
from billing import ledger


@pytest.fixture
def owner(db: None) -> User:
    """A user with exactly one credit."""
    return with_credits("owner@example.com", "1")


@pytest.fixture
def stranger(db: None) -> User:
    return with_credits("stranger@example.com", "1")


def with_credits(email: str, credits: str) -> User:
    user = User.objects.create_user(email)
    ledger.welcome(user.pk, Decimal(credits))
    return user
