"""The types of events. Names are API: they are added, never renamed."""

STARTED = "job.started"
SUCCEEDED = "job.succeeded"
FAILED = "job.failed"
CANCELLED = "job.cancelled"
BATCH_COMPLETED = "batch.completed"
CREDITS_LOW = "credits.low"
PING = "ping"

JOB_ENDS = (SUCCEEDED, FAILED, CANCELLED)
"""What a job's own `webhook_url` is told."""
TYPES = (STARTED, *JOB_ENDS, BATCH_COMPLETED, CREDITS_LOW)
"""What an endpoint may ask for. A ping comes only to whoever asks for one."""


def of_job(event: str) -> str | None:
    """The type of webhook that a `JobEvent` of this type makes, if any."""
    name = f"job.{event}"
    return name if name in (STARTED, *JOB_ENDS) else None
