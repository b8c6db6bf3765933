"""What nijika is compared with: a plain but sensible DRF + Celery app.

gunicorn gthread with 2 workers of 8 threads, persistent database connections, token
authentication, one transaction that locks the wallet and writes entry and job,
`task.delay` on commit, a prefork worker that writes the result row.
"""

from bench.baseline.celery import app as celery_app

__all__ = ["celery_app"]
