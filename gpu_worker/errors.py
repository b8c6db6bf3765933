"""What can go wrong in a run: each class a code of the API and whether to try again.

Whatever reaches the runner that is no WorkerError becomes `engine_failed`: its text
goes to the log, never to the job's owner.
"""

from gpu_worker.contract import Failure


class WorkerError(Exception):
    """The run failed."""

    code = "engine_failed"
    retryable = False
    retry_after_s = 0.0
    put_off = False

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").splitlines()[0]

    def failure(self) -> Failure:
        return Failure(
            code=self.code,
            message=str(self),
            retryable=self.retryable,
            retry_after_s=self.retry_after_s,
            put_off=self.put_off,
        )


class EngineFailed(WorkerError):
    """The engine failed on this input."""


class InvalidImage(WorkerError):
    """The image is damaged and could not be decoded."""

    code = "invalid_image"


class InvalidParameters(WorkerError):
    """These parameters cannot be applied to this image."""

    code = "invalid_parameters"


class LimitExceeded(WorkerError):
    """The run took more time or memory than a job may."""

    code = "limit_exceeded"


class OutOfMemory(WorkerError):
    """The device has not enough memory for this input."""

    code = "out_of_memory"


class ContentBlocked(WorkerError):
    """The content was refused."""

    code = "content_blocked"


class EngineUnavailable(WorkerError):
    """This worker has no such engine, or it could not be loaded."""

    code = "engine_unavailable"
    retryable = True


class DeviceLost(WorkerError):
    """The device failed; the job can be tried on another."""

    code = "engine_failed"
    retryable = True


class EngineLost(WorkerError):
    """The engine's process was ended from outside."""

    code = "engine_failed"
    retryable = True


class StorageUnavailable(WorkerError):
    """The file store could not be reached."""

    code = "storage_unavailable"
    retryable = True


class Stopped(WorkerError):
    """The run was stopped from outside: nobody waits for its result."""

    code = "stopped"
