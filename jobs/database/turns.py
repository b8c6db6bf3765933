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
from jobs.database import sql
from jobs.database.locks import lock_free

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

    Takes at most about a second longer than without locked wallets. Where a job itself
    stays locked (`lock_timeout`), the others are ended without it.
    """
    try:
        turn, locked = _together(job_ids, end)
    except OperationalError as error:
        if not sql.lock_refused(error):
            raise
        free = _free(job_ids)
        turn, locked = _together(free, end)
        turn.held_up.update(set(job_ids) - free)
    _user_by_user(locked, end, turn)
    return turn


def _together(job_ids: Collection[str], end: End) -> tuple[Turn, dict[str, int]]:
    """What came of it, and the owners of the jobs whose wallet was locked."""
    locked: dict[str, int] = {}
    rest = set(job_ids)
    while rest:
        try:
            with transaction.atomic():
                return Turn(changed=end(rest, wait=False), held_up=set()), locked
        except WalletsLocked as error:
            locked |= error.users
            rest -= locked.keys()
    return Turn(changed=set(), held_up=set()), locked


def _user_by_user(locked: Mapping[str, int], end: End, turn: Turn) -> None:
    jobs_of: dict[int, set[str]] = defaultdict(set)
    for job_id, user_id in locked.items():
        jobs_of[user_id].add(job_id)
    for jobs in jobs_of.values():
        patience_s = max(PATIENCE_S / len(jobs_of), LEAST_PATIENCE_S)
        try:
            turn.changed.update(_waiting(jobs, end, patience_s))
        except (WalletBusy, OperationalError) as error:
            if isinstance(error, OperationalError) and not sql.lock_refused(error):
                raise
            turn.held_up.update(jobs)


@transaction.atomic
def _free(job_ids: Collection[str]) -> set[str]:
    return set(lock_free(job_ids))


@transaction.atomic
def _waiting(job_ids: Collection[str], end: End, patience_s: float) -> set[str]:
    with connection.cursor() as cursor:
        milliseconds = str(int(patience_s * 1000))
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [milliseconds])
    return end(job_ids, wait=True)
