from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts import keys
from accounts.models import ApiKey, User
from billing import ledger
from billing.models import Entry

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_create_user_gives_the_welcome_grant() -> None:
    run("create_user", "a@example.com")
    user = User.objects.get()
    assert (user.email, user.role, user.is_staff) == ("a@example.com", "user", False)
    assert ledger.balance(user.pk) == (50, 0)


@pytest.mark.parametrize("credits", ["0", "0.0001", "1234.5", "50"])
def test_create_user_with_credits_gives_exactly_those(credits: str) -> None:
    run("create_user", "a@example.com", "--credits", credits)
    user = User.objects.get()
    assert ledger.balance(user.pk) == (Decimal(credits), 0)
    assert Entry.objects.count() == (credits != "0")


def test_create_user_with_a_role_makes_staff() -> None:
    run("create_user", "a@example.com", "--role", "admin")
    assert User.objects.get().is_staff


def test_create_user_twice_in_any_case_is_refused_and_grants_nothing() -> None:
    run("create_user", "a@example.com")
    with pytest.raises(CommandError):
        run("create_user", "A@Example.com")


@pytest.mark.parametrize(
    "arguments",
    [
        ["no address"],
        ["a@example.com", "--credits", "-1"],
        ["a@example.com", "--credits", "0.00001"],
        ["a@example.com", "--credits", "many"],
        ["a@example.com", "--credits", "NaN"],
        ["a@example.com", "--credits", "1e12"],
        ["a@example.com", "--credits", "1e99"],
        ["a@example.com", "--role", "king"],
    ],
)
def test_create_user_of_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("create_user", *arguments)
    assert not User.objects.exists()


@pytest.mark.parametrize(("flags", "test"), [([], False), (["--test"], True)])
def test_create_key_prints_only_the_key(flags: list[str], test: bool) -> None:
    run("create_user", "a@example.com")
    out = run("create_key", "A@example.com", "--name", "laptop", *flags)
    key = ApiKey.objects.get()
    assert out == out.strip() + "\n" and keys.is_well_formed(out.strip())
    assert key.digest == keys.digest(out.strip())
    assert (key.name, key.test) == ("laptop", test)


def test_create_key_for_nobody_is_refused() -> None:
    with pytest.raises(CommandError):
        run("create_key", "nobody@example.com")
