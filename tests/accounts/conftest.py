import pytest

from accounts.joining import join
from accounts.models import User


@pytest.fixture
def owner(db: None) -> User:
    return join("owner@example.com")
