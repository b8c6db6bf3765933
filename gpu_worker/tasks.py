"""The one Celery task."""

from __future__ import annotations

import logging
from typing import Any

from celery.exceptions import Reject
from celery.worker.request import Request

from gpu_worker import program
from gpu_worker.app import app
from gpu_worker.contract import RUN_TASK, VERSION, Message, from_json
from gpu_worker.gate import Draining

logger = logging.getLogger("gpu_worker.tasks")


class Delivered(Request):  # type: ignore[misc]
    """A message whose acknowledgement may fail.

    What a run that outlives a restart of Redis acknowledges goes to a connection that
    is no more, and fails in ways that Celery does not expect: it would end the worker,
    and every other run with it. A message that stays unacknowledged is a copy, and
    copies are harmless.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connection_errors = (Exception,)


@app.task(  # type: ignore[untyped-decorator]
    name=RUN_TASK, Request=f"{__name__}:{Delivered.__name__}"
)
def run(message: dict[str, Any]) -> None:
    """Run a message's jobs. A message that cannot be read is dropped with an error."""
    if message.get("version") != VERSION:
        logger.error("a message of contract version %s", message.get("version"))
        return
    try:
        program.current().take(from_json(Message, message))
    except Draining:
        raise Reject("this worker is going", requeue=True) from None
