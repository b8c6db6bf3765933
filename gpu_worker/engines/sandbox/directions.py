"""What a client asked the sandbox to go through, as the platform sends it along.

`parameters[SANDBOX]` is the platform's own member, beside what the client sent:
`{"fail": code, "retries": count, "delay_s": seconds}`, each only where it was asked
for. Waiting is the lane's part (`gpu_worker.spare`): it holds no child meanwhile.
"""

from __future__ import annotations

from gpu_worker.contract import SANDBOX
from gpu_worker.engines.base import Hooks, Item
from gpu_worker.errors import EngineLost, WorkerError


class AskedFor(WorkerError):
    """The sandbox failed because this request asked it to."""


def follow(item: Item, hooks: Hooks) -> None:
    """Raise the error that was asked for, or nothing.

    With `retries` that many runs fail as if the engine's process had been lost; the
    count goes from run to run as the job's checkpoint.
    """
    asked = item.parameters.get(SANDBOX, {})
    failed = int(item.checkpoint or 0)
    if failed < asked.get("retries", 0):
        hooks.checkpoint(item, str(failed + 1))
        raise EngineLost("The sandbox lost this run because the request asked it to.")
    if "fail" in asked:
        error = AskedFor()
        error.code = asked["fail"]
        raise error
