"""Two of staff at once: there is an admin left, and money moves once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accounts import staff as roles
from accounts.errors import LastAdmin
from accounts.joining import join
from accounts.models import User
from tests.jobs.submitting import together

pytestmark = pytest.mark.django_db(transaction=True)


def admins() -> int:
    return User.objects.filter(role="admin", suspended_at=None).count()


def tried(act: Callable[[], object]) -> Callable[[], bool]:
    def attempt() -> bool:
        try:
            act()
        except LastAdmin:
            return False
        return True

    return attempt


@pytest.mark.parametrize("round_", range(5))
def test_admins_who_demote_each_other_leave_one(round_: int) -> None:
    one, two = (join(f"{n}@example.com", role=User.Role.ADMIN) for n in "ab")
    won = together(
        tried(lambda: roles.set_role(one.pk, "user")),
        tried(lambda: roles.set_role(two.pk, "user")),
    )
    assert sorted(won) == [False, True]
    assert admins() == 1


@pytest.mark.parametrize("round_", range(5))
def test_admins_who_suspend_and_demote_each_other_leave_one(round_: int) -> None:
    one, two = (join(f"{n}@example.com", role=User.Role.ADMIN) for n in "ab")
    won = together(
        tried(lambda: roles.suspend(one.pk)),
        tried(lambda: roles.set_role(two.pk, "moderator")),
    )
    assert sorted(won) == [False, True]
    assert admins() == 1
