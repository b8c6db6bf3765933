"""Keys that sign addresses of pictures: nothing secret is stored."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from accounts import image_keys
from accounts.models import ImageKey, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    image_keys.forget()
    return User.objects.create_user("signer@example.org")


def test_key_is_the_same_on_every_call_and_another_for_each_account(
    user: User,
) -> None:
    other = User.objects.create_user("other@example.org")
    mine, theirs = image_keys.of(user), image_keys.of(other)
    assert image_keys.pair_of(image_keys.of(user)) == image_keys.pair_of(mine)
    assert mine.account != theirs.account
    pairs = image_keys.pair_of(mine), image_keys.pair_of(theirs)
    assert len({value for p in pairs for value in (p.key, p.salt)}) == 4


def test_key_depends_on_the_servers_secret(user: User, settings: Settings) -> None:
    row = image_keys.of(user)
    before = image_keys.pair_of(row)
    settings.SECRET_KEY = "another"
    assert image_keys.pair_of(row) != before


def test_row_holds_nothing_that_signs(user: User) -> None:
    pair = image_keys.pair_of(image_keys.of(user))
    stored = str(ImageKey.objects.filter(user=user).values().get())
    assert pair.key not in stored and pair.salt not in stored
    assert pair.key not in repr(pair) and pair.salt not in repr(pair)


def test_rotation_keeps_the_account_and_changes_both_secrets(user: User) -> None:
    old = image_keys.of(user)
    new = image_keys.rotate(user)
    assert new.account == old.account
    before, after = image_keys.pair_of(old), image_keys.pair_of(new)
    assert before.key != after.key and before.salt != after.salt


@pytest.mark.parametrize("account", ["", "nobody", "a" * 500, "ä", "' OR 1=1"])
def test_account_that_is_none_is_not_found(user: User, account: str) -> None:
    assert image_keys.find(account) is None


def test_command_for_nobody_says_so(user: User) -> None:
    with pytest.raises(CommandError, match="no user"):
        call_command("image_key", "nobody@example.org")
