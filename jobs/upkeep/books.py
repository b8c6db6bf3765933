"""Whether the books balance: wallets against entries, and holds against jobs.

`sum(entries) = wallet` and `held = holds of unfinished jobs` hold at every instant,
also in the middle of everything else; so all is read in one statement, from one
snapshot, and any difference is a bug. Nothing is locked and nothing is corrected.
"""

from dataclasses import dataclass

from django.db import connection, transaction

LIMIT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A promise that does not hold, where, and what was found there."""

    promise: str
    subject: str
    found: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.promise} ({self.found})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    wallets: int
    entries: int
    jobs: int


def differences(limit: int = LIMIT) -> list[Difference]:
    """The first `limit` differences; none is as it should be."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL enable_seqscan = on")  # all is read, once
        cursor.execute(_DIFFERENCES, [limit])
        return [
            Difference(promise=promise, subject=subject, found=found)
            for promise, subject, found in cursor.fetchall()
        ]


def count() -> Count:
    """How much there is to check."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT)
        wallets, entries, jobs = cursor.fetchone()
    return Count(wallets=wallets, entries=entries, jobs=jobs)


_COUNT = """
SELECT (SELECT count(*) FROM billing_wallet), (SELECT count(*) FROM billing_entry),
    (SELECT count(*) FROM jobs_job)
"""

# Each promise as a query for what breaks it: the promise, the subject, what was found.
_PROMISES = (
    """
    SELECT 'a wallet is the sum of its entries', 'wallet of user ' || wallet.user_id,
        format('has %%s available and %%s held, entries say %%s and %%s',
            wallet.available, wallet.held, coalesce(total.amount, 0),
            coalesce(total.held_amount, 0))
    FROM billing_wallet AS wallet LEFT JOIN (
        SELECT wallet_id, sum(amount) AS amount, sum(held_amount) AS held_amount
        FROM entry GROUP BY wallet_id
    ) AS total ON total.wallet_id = wallet.id
    WHERE (wallet.available, wallet.held)
        <> (coalesce(total.amount, 0), coalesce(total.held_amount, 0))
    """,
    """
    SELECT 'an entry says the balance after it', 'entry ' || id,
        format('says %%s and %%s, is %%s and %%s',
            available_after, held_after, available, held)
    FROM (
        SELECT *, sum(amount) OVER before AS available,
            sum(held_amount) OVER before AS held
        FROM entry WINDOW before AS (PARTITION BY wallet_id ORDER BY id)
    ) AS running
    WHERE (available_after, held_after) <> (available, held)
    """,
    """
    SELECT 'a hold belongs to a job of its owner', 'hold ' || hold.reference,
        coalesce('the job is of user ' || job.user_id, 'there is no such job')
    FROM hold LEFT JOIN job ON job.reference = hold.reference
    WHERE job.user_id IS DISTINCT FROM hold.user_id
    """,
    """
    SELECT 'a job holds its price', 'job ' || job.reference,
        format('costs %%s, holds %%s', job.price,
            coalesce(hold.held_amount::text, 'nothing'))
    FROM job LEFT JOIN hold ON hold.reference = job.reference
    WHERE NOT job.test AND hold.held_amount IS DISTINCT FROM job.price
    """,
    """
    SELECT 'a test job costs nothing', 'job ' || job.reference, 'has ' || entry.kind
    FROM job JOIN entry ON entry.reference = job.reference WHERE job.test
    """,
    """
    SELECT 'a job is settled when it ends', 'job ' || job.reference,
        format('%%s, %%s', job.status,
            CASE WHEN settle.id IS NULL THEN 'not settled' ELSE 'settled' END)
    FROM job LEFT JOIN settle ON settle.reference = job.reference
    WHERE NOT job.test
        AND (settle.id IS NULL) <> (job.status IN ('queued', 'running'))
    """,
    """
    SELECT 'what a job charged is what its owner paid', 'job ' || job.reference,
        format('%%s, charged %%s, paid %%s', job.status, job.charged, settle.paid)
    FROM job JOIN settle ON settle.reference = job.reference
    WHERE job.charged <> settle.paid
    """,
    """
    SELECT 'success is charged, and nothing else', 'job ' || reference,
        format('%%s, charged %%s of %%s', status, charged, price)
    FROM job
    WHERE charged > CASE WHEN status = 'succeeded' AND NOT test THEN price ELSE 0 END
        OR (status = 'succeeded' AND NOT test AND price > 0 AND charged = 0)
    """,
    """
    SELECT 'a settlement ends the hold of its job, whole',
        'settle ' || settle.reference,
        format('ends %%s of %%s', -settle.held_amount,
            coalesce(hold.reference || ' over ' || hold.held_amount, 'nothing'))
    FROM settle LEFT JOIN hold ON hold.id = settle.settles_id
    WHERE (hold.reference, hold.wallet_id, hold.held_amount)
        IS DISTINCT FROM (settle.reference, settle.wallet_id, -settle.held_amount)
    """,
    """
    SELECT 'a refund gives back what was paid at most', 'refund ' || refund.reference,
        format('%%s of %%s', refund.amount, coalesce(settle.paid::text, 'nothing'))
    FROM entry AS refund LEFT JOIN settle
        ON (settle.reference, settle.wallet_id) = (refund.reference, refund.wallet_id)
    WHERE refund.kind = 'refund' AND refund.amount > coalesce(settle.paid, 0)
    """,
)

_DIFFERENCES = f"""
WITH entry AS (
    SELECT entry.*, wallet.user_id
    FROM billing_entry AS entry JOIN billing_wallet AS wallet ON wallet.id = wallet_id
), hold AS (
    SELECT * FROM entry WHERE kind = 'hold'
), settle AS (
    SELECT *, -held_amount - amount AS paid FROM entry WHERE kind = 'settle'
), job AS (
    SELECT id::text AS reference, user_id, test, status, price, charged FROM jobs_job
)
SELECT * FROM ({" UNION ALL ".join(_PROMISES)}) AS difference (promise, subject, found)
LIMIT %s
"""
