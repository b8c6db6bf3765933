"""Ending many jobs although some wallets are locked.

A hot wallet is locked most of the time, a stuck one for long. So all jobs are ended
together without waiting for any wallet; those whose wallet was locked are left out and
follow user by user, each in a transaction of its own that waits a little while. Nobody
waits while holding another user's wallet or job.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from django.db import OperationalError, connection, transaction

from billing.errors import WalletBusy
from jobs import sql

PATIENCE_S = 1.0
LEAST_PATIENCE_S = 0.05


class WalletsLocked(Exception):
    """Some wallets are locked: nothing was done; `users` has the owner by job id."""

    def __init__(self, users: Mapping[str, int]) -> None:
        super().__init__(f"{len(users)} wallets are locked")
        self.users = dict(users)


class End(Protocol):
    """Ends jobs in the current transaction; gives the ids of those it moved.

    Raises WalletsLocked (`wait=False`) or WalletBusy; the transaction is then undone.
    """

    def __call__(self, job_ids: Collection[str], *, wait: bool) -> set[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """`changed` are the jobs that moved; `held_up` those whose wallet stayed locked."""

    changed: set[str]
    held_up: set[str]

    def check(self) -> Turn:
        """Raises WalletBusy if a job was held up."""
        if self.held_up:
            raise WalletBusy
        return self


def take(job_ids: Collection[str], end: End) -> Turn:
    """End the jobs, in as many transactions as the locked wallets ask for.

    Takes at most about a second longer than without locked wallets.
    """
    changed, locked = _all_but_locked(job_ids, end)
    by_user: dict[int, set[str]] = defaultdict(set)
    for job_id, user_id in locked.items():
        by_user[user_id].add(job_id)
    held_up: set[str] = set()
    for jobs in by_user.values():
        patience_s = max(PATIENCE_S / len(by_user), LEAST_PATIENCE_S)
        try:
            changed |= _waiting(jobs, end, patience_s)
        except WalletBusy:
            held_up |= jobs
        except OperationalError as error:
            if not sql.lock_refused(error):
                raise
            held_up |= jobs
    return Turn(changed=changed, held_up=held_up)


def _all_but_locked(
    job_ids: Collection[str], end: End
) -> tuple[set[str], dict[str, int]]:
    locked: dict[str, int] = {}
    rest = set(job_ids)
    while rest:
        try:
            with transaction.atomic():
                return end(rest, wait=False), locked
        except WalletsLocked as error:
            locked |= error.users
            rest -= locked.keys()
    return set(), locked


@transaction.atomic
def _waiting(job_ids: Collection[str], end: End, patience_s: float) -> set[str]:
    with connection.cursor() as cursor:
        milliseconds = str(int(patience_s * 1000))
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [milliseconds])
    return end(job_ids, wait=True)
