"""How the tests of submission make people, submissions and other transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeVar

from django.db import connection, transaction

from accounts.models import User
from billing import ledger
from jobs import ids
from jobs.submission import Accepted, Submission
from nijika.errors import NijikaError

PRICE = Decimal("0.0100")
T = TypeVar("T")


def person(name: str, credits: str = "1") -> User:
    user = User.objects.create_user(f"{name}@example.com")
    ledger.welcome(user.pk, Decimal(credits))
    return user


def wish(user: User, **changes: Any) -> Submission:
    """A submission of `user`; with a key, its digest is `same` unless given."""
    fields: dict[str, Any] = {
        "id": ids.new_id(),
        "user_id": user.pk,
        "test": False,
        "operation": "removebg",
        "engine": "classical",
        "queue": "cpu",
        "parameters": {"format": "png"},
        "metadata": {},
        "inputs": [{"role": "image", "key": "inputs/x/0", "url": "", "sha256": "00"}],
        "price": PRICE,
        "run_limit_s": 60.0,
        "digest": "same" if "idempotency_key" in changes else None,
    }
    return Submission(**fields | changes)


def statuses(answers: Sequence[Accepted | NijikaError]) -> list[int]:
    return [202 if isinstance(one, Accepted) else one.status for one in answers]


def together(*acts: Callable[[], T], timeout_s: float = 30) -> list[T]:
    """Run each act in a thread of its own, started at once; raises what they raise."""
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    start = threading.Barrier(len(acts))

    def run(number: int, act: Callable[[], T]) -> None:
        try:
            start.wait()
            results[number] = act()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(acts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s)
        assert not thread.is_alive(), "stuck"
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(acts))]


@contextmanager
def locked(query: str, parameters: list[Any]) -> Iterator[Callable[[], None]]:
    """Another transaction runs `query` and commits when told to, or at the end."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(query, parameters)
                held.set()
                release.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(5)
    try:
        yield release.set
    finally:
        release.set()
        thread.join(5)


def wallet_locked(user: User) -> Any:
    return locked("SELECT FROM billing_wallet WHERE user_id = %s FOR UPDATE", [user.pk])
