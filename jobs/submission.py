"""How requests become jobs: many at once, each accepted whole or not at all.

    intake    one transaction over a group
    groups    what becomes of a group whose transaction fails
    combiner  requests that arrive together share a group

An accepted job has its credits held, its event written and its inputs claimed in one
commit. A refused one leaves nothing behind and does not use up its idempotency key.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing import ledger
from billing.errors import InsufficientCredits
from jobs import news
from jobs.accepting import groups
from jobs.accepting.combiner import Combiner
from jobs.accepting.groups import Answer, InDoubt
from jobs.accepting.items import LOCKED, Accepted, Later, Submission
from nijika import counters
from nijika.errors import NijikaError

__all__ = [
    "Accepted",
    "Submission",
    "combiner",
    "digest",
    "glance",
    "on_accepted",
    "submit_many",
]

GLANCE_S = 1.0
REMEMBERED_BALANCES = 10_000

_balances: dict[int, tuple[float, Decimal]] = {}
_combiner: Combiner | None = None
_making = threading.Lock()


def submit_many(items: Sequence[Submission]) -> list[Accepted | NijikaError]:
    """Accept the items, each for itself; one answer per item. May wait for locks.

    Idempotent on the items' ids: what was accepted before is accepted again.
    """
    answers = _resolved(items, groups.submit(items, wait=False))
    for group in _by_user(item for item in items if answers[item.id] is LOCKED):
        answers |= _resolved(group, groups.submit(group, wait=True))
    ends = [_end(answers[item.id]) for item in items]
    on_accepted([end for end in ends if isinstance(end, Accepted)])
    return ends


def combiner() -> Combiner:
    """This process's combiner; its `offer` submits an item together with others."""
    global _combiner
    with _making:
        _combiner = _combiner or Combiner(on_accepted)
        return _combiner


def close_combiner() -> None:
    """End this process's combiner, if it has one, when all that was offered is done."""
    global _combiner
    with _making:
        if _combiner is not None:
            _combiner.close()
        _combiner = None


def _forget_combiner() -> None:
    # A forked child has none of its parent's threads.
    global _combiner, _making
    _combiner, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_combiner)


def glance(user_id: int, credits: Decimal) -> None:
    """Raise InsufficientCredits if these credits are certainly not there.

    A look, not a promise: only `submit_many` decides. Costs a query once a second per
    user, and one before it refuses.
    """
    seen_at, available = _balances.get(user_id, (0.0, Decimal(0)))
    if available >= credits and time.monotonic() - seen_at < GLANCE_S:
        return
    available = ledger.balance(user_id)[0]
    _remember(user_id, available)
    if available < credits:
        raise InsufficientCredits(needed=credits, available=available)


def digest(
    *,
    operation: str,
    engine: str,
    parameters: Mapping[str, Any],
    inputs: Iterable[Mapping[str, Any]],
    metadata: Mapping[str, Any],
    webhook_url: str = "",
    then: Sequence[Mapping[str, Any]] = (),
) -> str:
    """What makes two requests the same: what they ask for, not how they were written.

    An input counts by its role and its URL or its bytes' `sha256`.
    """
    asked = [
        operation,
        engine,
        parameters,
        [[one["role"], one.get("url") or one["sha256"]] for one in inputs],
        metadata,
        webhook_url,
        # Without further steps the digest stays what it was before there were any.
        *([then] if then else []),
    ]
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _resolved(
    items: Sequence[Submission], given: Sequence[Answer]
) -> dict[UUID, Answer]:
    """The answers by id, after every doubt is cleared."""
    answers = {item.id: answer for item, answer in zip(items, given, strict=True)}
    while doubts := {a.intake for a in answers.values() if isinstance(a, InDoubt)}:
        for intake in doubts:
            cleared = groups.resolve(intake)
            for item_id, answer in answers.items():
                if isinstance(answer, InDoubt) and answer.intake is intake:
                    answers[item_id] = cleared[item_id]
    return answers


def _by_user(items: Iterable[Submission]) -> list[list[Submission]]:
    found: dict[int, list[Submission]] = defaultdict(list)
    for item in items:
        found[item.user_id].append(item)
    return list(found.values())


def _end(answer: Answer) -> Accepted | NijikaError:
    assert not isinstance(answer, Later | InDoubt), answer
    if isinstance(answer, NijikaError):
        counters.SUBMITS.labels(answer.code).inc()
    return answer


def on_accepted(accepted: Sequence[Accepted]) -> None:
    """After a commit: wake who goes on with the jobs, and remember what is left."""
    for one in accepted:
        counters.SUBMITS.labels("replayed" if one.replayed else "accepted").inc()
    made = [one.job for one in accepted if not one.replayed]
    ready = [job for job in made if not job.waiting_fetches]
    news.announce(
        (job.id for job in ready), to=[news.WORK], queues=(job.queue for job in ready)
    )
    news.announce((j.id for j in made if j.waiting_fetches), to=[news.FETCHES])
    for one in accepted:
        _remember(one.job.user_id, one.available)


def _remember(user_id: int, available: Decimal) -> None:
    if len(_balances) >= REMEMBERED_BALANCES:
        _balances.clear()
    _balances[user_id] = (time.monotonic(), available)
