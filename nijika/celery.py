"""The platform's side of Celery: a producer, and nothing else.

The database is the truth and Redis only carries (jobs.dispatch), so nothing here is
asked for more than to fail quickly: no result backend, no retries of a publish, socket
timeouts of seconds. With Celery's defaults a frozen Redis holds a publish for over 40 s
and a stopped one makes it retry for ever.

The workers' own app (gpu_worker.app) says the same about what both sides must agree
on: the broker, its key prefix, JSON, the visibility timeout.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

from celery import Celery
from django.conf import settings
from kombu.exceptions import OperationalError

SOCKET_TIMEOUT_S = 2.0
# Looks and writes in one round trip.
_PUSH_BELOW = """
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[2])
return 1
"""

app = Celery("nijika", broker=settings.BROKER_URL, set_as_current=False)
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    result_backend=None,
    task_publish_retry=False,
    task_send_sent_event=False,
    task_store_errors_even_if_ignored=False,
    broker_connection_timeout=SOCKET_TIMEOUT_S,
    broker_transport_options={
        "global_keyprefix": settings.BROKER_PREFIX,
        # A day: a lease, not Redis, brings lost work back, so it must never act.
        "visibility_timeout": 86_400,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "socket_keepalive": True,
        "retry_on_timeout": False,
        # Zero retries of a first connection; without it kombu tries for ever.
        "max_retries": 0,
    },
)


class BrokerDown(Exception):
    """Redis did not take it, or did not say so: it may be there all the same."""


class Publisher:
    """One held connection to the broker. Not thread-safe: one per thread.

    Every method raises BrokerDown within seconds when Redis is gone or frozen; the next
    call connects afresh.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._connection: Any = None
        self._channel: Any = None
        self._push_below: Any = None

    def depth(self, queue: str) -> int:
        """How many messages lie in a queue, copies and leftovers included."""
        try:
            self._connect()
            return int(self._channel.client.llen(queue))
        except self._errors() as error:
            raise self._down(error) from error

    def publish(
        self, task: str, argument: Any, *, queue: str, below: int | None = None
    ) -> bool:
        """Put a message that carries one JSON argument into a queue, once; with `below`
        only if fewer messages lie there. Returns whether it did.

        As Celery's `send_task` would, but over the one client: that makes a new client
        and declares the queue for each message, half of a lone job's way through here.
        """
        message = _message(task, argument, queue)
        try:
            self._connect()
            if below is not None:
                return bool(self._push_below(keys=[queue], args=[below, message]))
            self._channel.client.lpush(queue, message)
            return True
        except self._errors() as error:
            raise self._down(error) from error

    def close(self) -> None:
        """Drop the connection; a later call makes a new one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect(SOCKET_TIMEOUT_S)

    def _connect(self) -> None:
        if self._channel is None:
            self._connection = app.connection_for_write(self._url)
            # The default channel is the one that heeds `max_retries`.
            self._channel = self._connection.default_channel
            self._push_below = self._channel.client.register_script(_PUSH_BELOW)

    def _errors(self) -> tuple[type[Exception], ...]:
        known = (OperationalError, OSError)
        if self._connection is None:
            return known
        # What the transport's library raises, which kombu lists but does not wrap.
        return (
            *known,
            *self._connection.connection_errors,
            *self._connection.channel_errors,
        )

    def _down(self, error: Exception) -> BrokerDown:
        self.close()
        return BrokerDown(f"{type(error).__name__}: {error}")


def _message(task: str, argument: Any, queue: str) -> str:
    """A task message (Celery's protocol 2) as kombu keeps it in Redis.

    Copies of a message are messages of their own, so each gets an id; `argsrepr` would
    be a text form of the argument, for Celery's logs.
    """
    made = app.amqp.as_task_v2(
        str(uuid4()), task, [argument], argsrepr="", ignore_result=True
    )
    body = json.dumps(made.body, separators=(",", ":"))
    properties = made.properties | {
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "delivery_tag": str(uuid4()),
        "priority": 0,
        "body_encoding": "base64",
    }
    envelope = {
        "body": b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": made.headers,
        "properties": properties,
    }
    return json.dumps(envelope, separators=(",", ":"))
