"""How we speak with PostgreSQL.

    sql           statements, prepared, many in one round trip
    locks         jobs are locked in id order
    turns         many jobs are ended although some wallets are locked
    unpooled      sessions that no pooler may stand between
    statistics    what the planner should know early

Order of locks: workers, then jobs in id order, then wallets in id order.
"""
