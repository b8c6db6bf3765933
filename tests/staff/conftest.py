"""An admin, a moderator, and people whom they look after."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.joining import join
from accounts.models import User


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def boss(db: None) -> User:
    return join("boss@example.com", role=User.Role.ADMIN)


@pytest.fixture
def moderator(db: None) -> User:
    return join("helper@example.com", role=User.Role.MODERATOR)


@pytest.fixture
def owner(db: None) -> User:
    return join("owner@example.com")


@pytest.fixture
def stranger(db: None) -> User:
    return join("stranger@example.com")


@pytest.fixture
def staff(boss: User) -> Client:
    return client_of(boss)


@pytest.fixture
def helper(moderator: User) -> Client:
    return client_of(moderator)


def act_url(model: str, name: str) -> str:
    return reverse(f"admin:{model}_act", args=[name])


def act(client: Client, model: str, name: str, /, *rows: object, **form: object) -> int:
    """Send the form of an act for these rows; gives the answer's status."""
    fields = {"reason": "because", "once": str(uuid4())} | form
    ids = [str(row) for row in rows]
    return client.post(act_url(model, name), {"id": ids, **fields}).status_code
