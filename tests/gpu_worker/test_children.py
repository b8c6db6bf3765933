"""The parent's side of a child process, in this very process."""

from __future__ import annotations

import os
import signal

from gpu_worker.children import Child
from tests.gpu_worker.platform import wait_until
from tests.gpu_worker.test_faults import is_alive


class Late:
    """A call whose time is over before it has begun."""

    deadline = 0.0

    def __init__(self, child: Child) -> None:
        self._child = child

    def heard(self, said: object) -> None:
        pass

    def is_stopped(self) -> bool:
        """Asked just before the child is: it dies at this moment."""
        pid = self._child.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid))
        return True


def test_child_that_has_just_died_can_be_stopped_and_ended() -> None:
    child = Child("cpu", memory_bytes=1 << 30, threads=1)
    child.start()
    child._call = Late(child)
    child.stop()
    child.close()
    assert child.pid is None
    child.start()
    child.close()
