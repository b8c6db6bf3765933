"""The wiring: the package that knows all the others.

    urls, settings, env    which address leads where; every setting, read once
    web, asgi, front/      the web server, one process on one port; bridge (from ASGI to
                           WSGI), wsgi, link_server (a port for workers alone)
    middleware             the first and last word on every request; pages (what only
                           browsers need), cors, csp
    problems               errors as RFC 9457 answers
    rate_limits            who may ask how often, before any view is asked
    health, metrics        for balancers and people; for Prometheus
    link_door              the address at which workers call
    staff/                 the admin
    local/                 the whole stack on this machine, by one command
    commands               `manage.py`, with what an owner set wrong in one line
    profiles               performance settings that go together

The others import only what knows none of them: errors, continuation (what a view may
ask of the front), counters, pieces (answers made while they are read), rates (buckets
in Redis), celery (the producer of messages), postgres/ (prepared statements), zones,
client_address, raw_paths and request_ids.
"""
