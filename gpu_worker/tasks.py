"""The one Celery task."""

from __future__ import annotations

import logging
from typing import Any

from celery.exceptions import Reject

from gpu_worker import program
from gpu_worker.app import app
from gpu_worker.contract import RUN_TASK, VERSION, Message, from_json
from gpu_worker.gate import Draining

logger = logging.getLogger("gpu_worker.tasks")


@app.task(name=RUN_TASK)  # type: ignore[untyped-decorator]
def run(message: dict[str, Any]) -> None:
    """Run a message's jobs. A message that cannot be read is dropped with an error."""
    if message.get("version") != VERSION:
        logger.error("a message of contract version %s", message.get("version"))
        return
    try:
        program.current().take(from_json(Message, message))
    except Draining:
        raise Reject("this worker is going", requeue=True) from None
