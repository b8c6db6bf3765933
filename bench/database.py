"""What PostgreSQL itself can commit of charged jobs, with no Python around it.

pgbench is not in every wheel, so the statement is a function in the database: it moves
the wallets and writes entries, jobs and events for `n` charges, and each call commits.
"""

from __future__ import annotations

import threading
import time

import psycopg

SECONDS = 3.0
_FUNCTION = """
CREATE OR REPLACE FUNCTION bench_charges(wallets bigint[], n int, turn int)
RETURNS void LANGUAGE sql AS $$
    WITH wanted AS MATERIALIZED (
        SELECT wallets[1 + (one + turn) % cardinality(wallets)] AS id
        FROM generate_series(1, n) AS one
    ), locked AS MATERIALIZED (
        SELECT id, user_id FROM billing_wallet
        WHERE id IN (SELECT id FROM wanted) ORDER BY id FOR NO KEY UPDATE
    ), item AS MATERIALIZED (
        SELECT gen_random_uuid() AS job_id, id AS wallet_id, user_id
        FROM wanted JOIN locked USING (id)
    ), total AS (
        SELECT wallet_id, count(*) * 0.01 AS credits FROM item GROUP BY wallet_id
    ), moved AS (
        UPDATE billing_wallet AS wallet
        SET available = available - credits, held = held + credits
        FROM total WHERE wallet.id = wallet_id
        RETURNING wallet.id, available, held
    ), entries AS (
        INSERT INTO billing_entry (wallet_id, kind, amount, held_amount,
            available_after, held_after, reference, note)
        SELECT moved.id, 'hold', -0.01, 0.01, available, held, job_id::text, ''
        FROM item JOIN moved ON moved.id = wallet_id
    ), made AS (
        INSERT INTO jobs_job (id, user_id, test, status, operation, engine, queue,
            parameters, metadata, inputs, waiting_fetches, request_id, price, charged,
            attempt, worker, run_limit_s, start_by, give_up_at, dispatches, failures,
            losses, hand_backs, alone, result_prefix, results, ended_at)
        SELECT job_id, user_id, false, 'cancelled', 'noop', 'bench', 'none',
            '{}', '{}', '[]', 0, '', 0.01, 0, 0, '', 60, now(), now(), 0, 0, 0, 0,
            false, '', '[]', now()
        FROM item RETURNING id
    )
    INSERT INTO jobs_jobevent (job_id, type, attempt, reason)
    SELECT id, 'queued', 0, '' FROM made
$$
"""


def charges_per_second(database: str) -> dict[str, float]:
    """Charged jobs per second at several ways to commit them, after all measures.

    It spoils the books of the bench's database: nothing is measured there afterwards.
    """
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_FUNCTION)
        query = "SELECT array_agg(id) FROM billing_wallet WHERE available > 1000"
        [(wallets,)] = connection.execute(query).fetchall()
    shapes = [(1, 64), (1, 16), (16, 1), (1, 1)]
    return {
        f"charges, {group} in a commit, {clients} clients": _rate(
            database, wallets, clients=clients, group=group
        )
        for clients, group in shapes
    }


def _rate(database: str, wallets: list[int], *, clients: int, group: int) -> float:
    counts = [0] * clients
    end = time.monotonic() + SECONDS

    def work(number: int) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            turn = number
            while time.monotonic() < end:
                turn += group
                connection.execute(
                    "SELECT bench_charges(%s::bigint[], %s::int, %s::int)",
                    [wallets, group, turn],
                    prepare=True,
                )
                counts[number] += group

    threads = [threading.Thread(target=work, args=[n]) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS
