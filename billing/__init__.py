"""Credits: what everybody has, what jobs cost, and the entries that explain it.

    models    a wallet per user, entries that never change, prices
    ledger    the only writer of wallets and entries: grant, hold, settle
    prices    what a job costs, from a cache
    checks    when the books were last compared, and what came of it
    pages/    what the owner of the credits sees
    errors    what can go wrong with credits

It knows users, never jobs: whoever holds credits gives a reference, and settles by it.
"""
