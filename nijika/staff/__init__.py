"""The admin: what staff sees and does. It wires; nobody imports it but `nijika.urls`.

    models     one row per thing that staff did; nothing is ever taken back from it
    audit      who writes those rows
    site       the admin's site: what is registered, and that no deed goes unwritten
    look       menu and colours
    keyset     lists of tables that have grown large
    acts       what can be done: a page that asks for a reason, then does it
    base       what all pages of tables have in common: to look at, and acts
    finding    the search field: an id, an e-mail or a key, and where it leads
    pages      system, and queues and workers live
    users, keys, credits, prices, work, webhooks, machinery, records    the tables

Deeds go through the same modules as everybody's: credits by `billing.ledger`, a job's
status by `jobs.lifecycle`, roles and suspensions by `accounts.staff`.
"""
