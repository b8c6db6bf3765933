"""The only writer of wallets and entries.

- Amounts are exact decimals of at most four places: positive in arguments (but
  `adjust`), signed in entries.
- Two phases: `hold` sets credits aside before the work, `settle` charges all, some or
  none of them afterwards. A settlement with charge 0 releases the hold.
- Every function takes many; the lone forms are lists of one. Each call is two
  statements: wallets are locked in id order, then one statement moves and writes.
- Every function is idempotent on (kind, reference): a repeat moves nothing. The lock
  makes twins wait for each other, the second statement looks for the entry with a
  snapshot taken after the lock, and a unique index stands behind it.
- `hold_many` and `settle_many` run in the caller's transaction, which also writes what
  the credits are for. Whoever locks jobs too locks them first.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from billing.errors import InsufficientCredits, ReferenceReused, WalletBusy
from billing.models import Entry, Wallet
from nijika.postgres import prepared

ZERO = Decimal(0)
MOST = Decimal(10) ** 11
"""The largest amount of one movement; a wallet holds ten times that."""
Kind = Entry.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Credits to set aside; `reference` is the job's id."""

    user_id: int
    credits: Decimal
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The hold is made (or was before)."""

    available_after: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """The hold is not made: credits are short."""

    needed: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The hold is not made: another transaction has the wallet, try again and wait."""


HoldOutcome = Held | Short | Locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of the hold made under `reference`: keep `charge`, give back the rest."""

    reference: str
    charge: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A movement that is no hold. `credits` is signed for adjustments only."""

    user_id: int
    credits: Decimal
    reference: str
    note: str = ""
    created_by_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    wallet_id: int
    reference: str
    amount: Decimal
    held_amount: Decimal = ZERO
    settles_id: int | None = None
    note: str = ""
    created_by_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Purse:
    """A locked wallet, as it was when it was locked."""

    wallet_id: int
    available: Decimal


def hold_many(holds: Sequence[Hold], *, wait: bool) -> list[HoldOutcome]:
    """Set credits aside, in the given order while they last; one outcome per hold.

    `wait=False` passes over wallets that another transaction has (Locked);
    `wait=True` raises WalletBusy after the connection's `lock_timeout`. A user without
    a wallet is short. Raises ReferenceReused if a hold of this reference has another
    owner or amount.
    """
    _check_references(holds)
    _check_amounts((hold.credits for hold in holds), least=ZERO)
    purses = _lock({hold.user_id for hold in holds}, wait=wait)
    outcomes = _allot(holds, purses, made=(), wait=wait)
    if any(isinstance(outcome, Short) for outcome in outcomes):
        outcomes = _allot(holds, purses, made=_made(holds), wait=wait)
    granted = _held(holds, outcomes)
    moved = _move(Kind.HOLD, [_hold_move(one, purses) for one in granted])
    if repeats := {one.reference for one in granted} - set(moved):
        made = _made(holds)
        _check_written(repeats - made)
        outcomes = _allot(holds, purses, made=made - set(moved), wait=wait)
    return outcomes


def lone_hold(hold: Hold) -> dict[str, Any]:
    """The parameters of `LONE_HOLD`. Raises ValueError where `hold_many` would."""
    _check_references([hold])
    _check_amounts([hold.credits], least=ZERO)
    return {
        "user_id": hold.user_id,
        "credits": hold.credits,
        "reference": hold.reference,
    }


def settle_many(settlements: Sequence[Settlement], *, wait: bool) -> dict[str, Decimal]:
    """End holds; gives what is available afterwards, by reference.

    A hold that is settled already counts as settled and moves nothing. `wait=False`
    leaves out those whose wallet another transaction has; `wait=True` raises
    WalletBusy after the connection's `lock_timeout`. Raises Entry.DoesNotExist where
    nothing was held and ValueError for a charge above the hold: both are bugs.
    """
    _check_references(settlements)
    _check_amounts((one.charge for one in settlements), least=ZERO)
    holds = _lock_holds([one.reference for one in settlements], wait=wait)
    moves = [
        _settle_move(one, holds[one.reference])
        for one in settlements
        if holds[one.reference].locked
    ]
    return _move_once(Kind.SETTLE, moves)


def hold(*, user_id: int, credits: Decimal, reference: str) -> Decimal:
    """Set credits aside and give what is available then. Raises InsufficientCredits."""
    one = Hold(user_id=user_id, credits=credits, reference=reference)
    [outcome] = hold_many([one], wait=True)
    if isinstance(outcome, Short):
        raise InsufficientCredits(needed=outcome.needed, available=outcome.available)
    assert isinstance(outcome, Held)  # nothing is passed over when waiting
    return outcome.available_after


def settle(*, reference: str, charge: Decimal) -> Decimal:
    """End the hold of `reference` and give what is available then."""
    one = Settlement(reference=reference, charge=charge)
    return settle_many([one], wait=True)[reference]


def grant_many(postings: Sequence[Posting]) -> dict[str, Decimal]:
    """Give credits; what is available afterwards, by reference."""
    return _post(Kind.GRANT, postings)


def purchase_many(postings: Sequence[Posting]) -> dict[str, Decimal]:
    """Add bought credits; `reference` is the payment's."""
    return _post(Kind.PURCHASE, postings)


def adjust_many(postings: Sequence[Posting]) -> dict[str, Decimal]:
    """Correct balances by signed amounts: all, or none and InsufficientCredits."""
    return _post(Kind.ADJUSTMENT, postings)


@transaction.atomic
def refund_many(postings: Sequence[Posting]) -> dict[str, Decimal]:
    """Give back what settled jobs had charged; `reference` is the job's.

    Raises Entry.DoesNotExist if this user has no such settlement, and ValueError for
    more than was charged. A job is refunded once.
    """
    charged = _charged(postings)
    for one in postings:
        paid = charged.get((one.reference, one.user_id))
        if paid is None:
            raise Entry.DoesNotExist(f"nothing was settled as {one.reference}")
        if one.credits > paid:
            raise ValueError(f"{one.reference}: {one.credits} of {paid} cannot go back")
    return _post(Kind.REFUND, postings)


def grant(user_id: int, credits: Decimal, reference: str, **more: Any) -> Decimal:
    """Give credits. `more`: note, created_by_id."""
    return grant_many([_posting(user_id, credits, reference, more)])[reference]


def adjust(user_id: int, credits: Decimal, reference: str, **more: Any) -> Decimal:
    """Correct a balance by a signed amount. Raises InsufficientCredits."""
    return adjust_many([_posting(user_id, credits, reference, more)])[reference]


def refund(user_id: int, credits: Decimal, reference: str, **more: Any) -> Decimal:
    """Give back what the settled job `reference` had charged, or a part of it."""
    return refund_many([_posting(user_id, credits, reference, more)])[reference]


@transaction.atomic
def welcome(user_id: int, credits: Decimal | None = None) -> None:
    """Open a new user's wallet with exactly `credits`, else with the welcome grant."""
    open_wallet(user_id)
    gift = settings.WELCOME_CREDITS if credits is None else credits
    if gift:
        grant(user_id, gift, f"welcome:{user_id}", note="Welcome")


def open_wallet(user_id: int) -> None:
    """See that the user has a wallet."""
    _open([user_id])


def balance(user_id: int) -> tuple[Decimal, Decimal]:
    """What the user has available and held; zeros without a wallet."""
    row = Wallet.objects.filter(user_id=user_id).values_list("available", "held")
    return row.first() or (ZERO, ZERO)


def statement(user_id: int, *, limit: int, before: int | None = None) -> list[Entry]:
    """The user's entries, newest first; `before` is the id of the last one seen."""
    # Not by a join: of a user with few entries it would walk all of the others'.
    wallet = Wallet.objects.filter(user_id=user_id).values_list("pk", flat=True)
    entries = Entry.objects.filter(wallet_id__in=list(wallet)).order_by("-id")
    if before is not None:
        entries = entries.filter(id__lt=before)
    return list(entries[:limit])


# What the arguments may be


def _check_references(items: Sequence[Hold | Settlement | Posting]) -> None:
    references = {item.reference for item in items}
    if len(references) < len(items) or "" in references:
        raise ValueError("each reference must be there, and once")


def _check_amounts(amounts: Iterable[Decimal], *, least: Decimal | None) -> None:
    for amount in amounts:
        if not isinstance(amount, Decimal) or not amount.is_finite():
            raise ValueError(f"{amount!r} is no exact decimal")
        if abs(amount) > MOST or amount != amount.quantize(Decimal("0.0001")):
            raise ValueError(f"{amount} is too large or has more than four decimals")
        if least is not None and amount < least:
            raise ValueError(f"{amount} is less than {least}")


# Who gets what


def _allot(
    holds: Sequence[Hold],
    purses: dict[int, _Purse],
    *,
    made: Collection[str],
    wait: bool,
) -> list[HoldOutcome]:
    """Decide in the given order; what is `made` already costs nothing again."""
    left = {user_id: purse.available for user_id, purse in purses.items()}
    outcomes: list[HoldOutcome] = []
    for one in holds:
        available = left.get(one.user_id)
        if available is None:
            # A waiting lock passes over nobody, so there is no wallet.
            none = Short(needed=one.credits, available=ZERO)
            outcomes.append(none if wait else Locked())
            continue
        cost = ZERO if one.reference in made else one.credits
        if cost > available:
            outcomes.append(Short(needed=cost, available=available))
            continue
        left[one.user_id] = available - cost
        outcomes.append(Held(available_after=left[one.user_id]))
    return outcomes


def _held(holds: Sequence[Hold], outcomes: Sequence[HoldOutcome]) -> list[Hold]:
    pairs = zip(holds, outcomes, strict=True)
    return [one for one, outcome in pairs if isinstance(outcome, Held)]


def _hold_move(one: Hold, purses: dict[int, _Purse]) -> _Move:
    return _Move(
        wallet_id=purses[one.user_id].wallet_id,
        reference=one.reference,
        amount=-one.credits,
        held_amount=one.credits,
    )


def _made(holds: Sequence[Hold]) -> set[str]:
    """The references held before. Raises ReferenceReused for another hold's."""
    wanted = {one.reference: (one.user_id, -one.credits) for one in holds}
    return _repeats(Kind.HOLD, wanted)


def _repeats(kind: Kind, wanted: dict[str, tuple[int, Decimal]]) -> set[str]:
    entries = Entry.objects.filter(kind=kind, reference__in=wanted)
    rows = entries.values_list("reference", "wallet__user_id", "amount")
    for reference, user_id, amount in rows:
        if wanted[reference] != (user_id, amount):
            raise ReferenceReused(reference)
    return {reference for reference, _, _ in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnHold:
    entry_id: int
    wallet_id: int
    credits: Decimal
    locked: bool


def _settle_move(one: Settlement, on_hold: _OnHold) -> _Move:
    if one.charge > on_hold.credits:
        raise ValueError(f"{one.reference}: charge {one.charge} > {on_hold.credits}")
    return _Move(
        wallet_id=on_hold.wallet_id,
        reference=one.reference,
        amount=on_hold.credits - one.charge,
        held_amount=-on_hold.credits,
        settles_id=on_hold.entry_id,
    )


def _posting(
    user_id: int, credits: Decimal, reference: str, more: dict[str, Any]
) -> Posting:
    return Posting(user_id=user_id, credits=credits, reference=reference, **more)


@transaction.atomic
def _post(kind: Kind, postings: Sequence[Posting]) -> dict[str, Decimal]:
    """Move and write; a repeat moves nothing. Raises InsufficientCredits for all."""
    _check_references(postings)
    smallest = None if kind == Kind.ADJUSTMENT else Decimal("0.0001")
    _check_amounts((one.credits for one in postings), least=smallest)
    users = {one.user_id for one in postings}
    _open(users)
    purses = _lock(users, wait=True)
    wanted = {one.reference: (one.user_id, one.credits) for one in postings}
    made = _repeats(kind, wanted)
    _check_covered([one for one in postings if one.reference not in made], purses)
    return _move_once(kind, [_post_move(one, purses) for one in postings])


def _check_covered(postings: Sequence[Posting], purses: dict[int, _Purse]) -> None:
    left = {user_id: purse.available for user_id, purse in purses.items()}
    for one in postings:
        if left[one.user_id] + one.credits < 0:
            raise InsufficientCredits(needed=-one.credits, available=left[one.user_id])
        left[one.user_id] += one.credits


def _post_move(one: Posting, purses: dict[int, _Purse]) -> _Move:
    return _Move(
        wallet_id=purses[one.user_id].wallet_id,
        reference=one.reference,
        amount=one.credits,
        note=one.note,
        created_by_id=one.created_by_id,
    )


# The statements

_LOCK = """
SELECT user_id, id, available FROM billing_wallet
WHERE user_id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""

# Entries are looked up one by one, which OFFSET 0 and the scalar subquery further down
# keep so: joined, a plan made while there are few would read all of them.
_LOCK_HOLDS = """
WITH hold AS MATERIALIZED (
    SELECT entry.*
    FROM unnest(%s::text[]) AS wanted (reference) CROSS JOIN LATERAL (
        SELECT id, reference, wallet_id, held_amount FROM billing_entry AS made
        WHERE made.kind = 'hold' AND made.reference = wanted.reference OFFSET 0
    ) AS entry
), locked AS MATERIALIZED (
    SELECT id FROM billing_wallet WHERE id = ANY(ARRAY(SELECT wallet_id FROM hold))
    ORDER BY id FOR NO KEY UPDATE {skip}
)
SELECT hold.reference, hold.id, wallet_id, held_amount, locked.id IS NOT NULL
FROM hold LEFT JOIN locked ON locked.id = wallet_id
"""

LONE_HOLD = """purse AS MATERIALIZED (
    SELECT id FROM billing_wallet WHERE user_id = %(user_id)s::bigint AND {only_if}
    FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
    UPDATE billing_wallet AS wallet
    SET available = available - %(credits)s::numeric,
        held = held + %(credits)s::numeric
    FROM purse
    WHERE wallet.id = purse.id AND wallet.available >= %(credits)s::numeric
        AND (
            SELECT id FROM billing_entry AS made
            WHERE made.kind = 'hold' AND made.reference = %(reference)s::text LIMIT 1
        ) IS NULL
    RETURNING wallet.id, wallet.available, wallet.held
), held AS (
    INSERT INTO billing_entry (
        wallet_id, kind, amount, held_amount, available_after, held_after, reference,
        note
    )
    SELECT id, 'hold', -%(credits)s::numeric, %(credits)s::numeric, available, held,
        %(reference)s::text, ''
    FROM moved
    RETURNING available_after
)"""
"""`hold_many(wait=False)` of one hold, for a statement that also writes what it is for:
common table expressions, of which `held` has a row (`available_after`) if the hold was
made now. Where it has none, nothing was done: `only_if` does not hold, or `hold_many`
tells why."""

# Balances are written from the rows as they are, not from what Python read, and only
# as far as both stay above zero.
_MOVE = """
WITH wanted AS (
    SELECT * FROM unnest(
        %s::bigint[], %s::text[], %s::numeric[], %s::numeric[],
        %s::bigint[], %s::text[], %s::bigint[]
    ) WITH ORDINALITY AS wanted (
        wallet_id, reference, amount, held_amount, settles_id, note, created_by_id,
        position
    )
), fresh AS (
    SELECT *,
        sum(amount) OVER so_far AS amount_so_far,
        sum(held_amount) OVER so_far AS held_so_far
    FROM wanted
    WHERE (
        SELECT id FROM billing_entry AS made
        WHERE made.kind = %s::text AND made.reference = wanted.reference LIMIT 1
    ) IS NULL
    WINDOW so_far AS (PARTITION BY wallet_id ORDER BY position)
), moved AS (
    UPDATE billing_wallet AS wallet
    SET available = available + total.amount, held = held + total.held_amount
    FROM (
        SELECT wallet_id, sum(amount) AS amount, sum(held_amount) AS held_amount
        FROM fresh GROUP BY wallet_id
    ) AS total
    WHERE wallet.id = total.wallet_id
        AND wallet.available + total.amount >= 0
        AND wallet.held + total.held_amount >= 0
    RETURNING wallet.id,
        wallet.available - total.amount AS available,
        wallet.held - total.held_amount AS held
)
INSERT INTO billing_entry (
    wallet_id, kind, amount, held_amount, available_after, held_after, reference,
    settles_id, note, created_by_id
)
SELECT wallet_id, %s::text, amount, held_amount,
    available + amount_so_far, held + held_so_far, reference,
    settles_id, note, created_by_id
FROM fresh JOIN moved ON moved.id = fresh.wallet_id
ORDER BY position
RETURNING reference, available_after
"""

_OPEN = """
INSERT INTO billing_wallet (user_id, available, held)
SELECT id, 0, 0 FROM unnest(%s::bigint[]) AS id ORDER BY id
ON CONFLICT (user_id) DO NOTHING
"""

_CHARGED = """
SELECT settle.reference, wallet.user_id, -settle.held_amount - settle.amount
FROM billing_entry AS settle JOIN billing_wallet AS wallet ON wallet.id = wallet_id
WHERE kind = 'settle' AND reference = ANY(%s::text[])
"""


def _open(users: Iterable[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [list(users)])


def _lock(users: Iterable[int], *, wait: bool) -> dict[int, _Purse]:
    rows = _rows_locked(_LOCK + ("" if wait else "SKIP LOCKED"), [list(users)])
    return {
        user_id: _Purse(wallet_id=wallet_id, available=available)
        for user_id, wallet_id, available in rows
    }


def _lock_holds(references: list[str], *, wait: bool) -> dict[str, _OnHold]:
    sql = _LOCK_HOLDS.format(skip="" if wait else "SKIP LOCKED")
    holds = {
        reference: _OnHold(
            entry_id=entry_id, wallet_id=wallet_id, credits=credits, locked=locked
        )
        for reference, entry_id, wallet_id, credits, locked in _rows_locked(
            sql, [references]
        )
    }
    if unknown := set(references) - set(holds):
        raise Entry.DoesNotExist(f"nothing is held as {', '.join(sorted(unknown))}")
    return holds


def _rows_locked(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    _check_transaction()
    try:
        return prepared.rows(sql, parameters)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise WalletBusy from error
        raise


def _check_transaction() -> None:
    """Without a transaction a lock ends with its own statement and guards nothing."""
    connection.ensure_connection()
    raw = connection.connection
    if raw.autocommit and raw.info.transaction_status == TransactionStatus.IDLE:
        raise transaction.TransactionManagementError("the ledger needs a transaction")


def _move(kind: Kind, moves: Sequence[_Move]) -> dict[str, Decimal]:
    """Write what is not written yet; gives what was available after each."""
    if not moves:
        return {}
    columns = [
        [getattr(move, name) for move in moves] for name in _Move.__dataclass_fields__
    ]
    return dict(prepared.rows(_MOVE, [*columns, kind.value, kind.value]))


def _move_once(kind: Kind, moves: Sequence[_Move]) -> dict[str, Decimal]:
    """Write what is not written yet; for a repeat, what is available now."""
    moved = _move(kind, moves)
    repeats = {move.reference for move in moves} - set(moved)
    if not repeats:
        return moved
    entries = Entry.objects.filter(kind=kind, reference__in=repeats)
    now = dict(entries.values_list("reference", "wallet__available"))
    _check_written(repeats - set(now))
    return moved | now


def _check_written(lost: Collection[str]) -> None:
    """Under the lock only an entry that is there keeps a movement from being made."""
    if lost:
        raise RuntimeError(f"the wallet cannot cover {', '.join(sorted(lost))}")


def _charged(postings: Sequence[Posting]) -> dict[tuple[str, int], Decimal]:
    with connection.cursor() as cursor:
        cursor.execute(_CHARGED, [[one.reference for one in postings]])
        return {
            (reference, user_id): paid for reference, user_id, paid in cursor.fetchall()
        }
