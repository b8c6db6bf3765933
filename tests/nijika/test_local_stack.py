import socket
from pathlib import Path

import pytest

from nijika.local.stack import Stack, StackFailed


def test_stack_says_at_once_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        stack = Stack(folder=tmp_path, environment={"NIJIKA_PORT": str(taken)})
        with pytest.raises(StackFailed, match=f"port {taken}; NIJIKA_PORT="):
            stack.__enter__()
    assert stack.postgres is None
