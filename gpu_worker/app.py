"""The worker's Celery app: it carries messages, and is asked for nothing more.

No result backend, no retries by Celery, and a visibility timeout that never acts: what
the broker loses, the platform sends again. `nijika.celery` says the same on the
producer's side.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.transport.redis import QoS

# No fixups: Celery would set Django up where DJANGO_SETTINGS_MODULE happens to be set.
app = Celery(
    "gpu_worker", set_as_current=False, include=["gpu_worker.tasks"], fixups=[]
)
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    result_backend=None,
    task_acks_late=True,
    task_reject_on_worker_lost=False,
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_create_missing_queues=True,
)


def configure(*, broker_url: str, key_prefix: str) -> None:
    """Point the app at its broker; before anything uses it."""
    # When Redis is gone, kombu tries to give back over the lost connection what is not
    # acknowledged, fails as nobody expects, and the worker ends with all its runs. The
    # platform sends again what nobody claims, so nothing has to be given back.
    QoS.restore_at_shutdown = False
    options: dict[str, Any] = {
        "global_keyprefix": key_prefix,
        "visibility_timeout": 86_400,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
    app.conf.update(broker_url=broker_url, broker_transport_options=options)
