"""The asynchronous front of the web server. `nijika.asgi` puts it together.

It reads requests, hands each to Django's WSGI handler on a thread of the right lane,
and does without a thread what may take long: receiving bodies, awaiting a shared
commit, sending files. It knows no routes, keys or rules; what it needs of them comes in
`Options`.

    lanes        bounded pools of threads: ordinary, uploads, link
    bodies       request bodies: limits, pace, memory or disk
    answers      what the front says itself, and what it does for a view
    streams      answers that go on for as long as something happens
    server       the ASGI application
    connections  uvicorn under it, with bounds and refusals of ours
"""
