import socket
from pathlib import Path
from unittest.mock import Mock

import pytest

from nijika.local import __main__ as launcher
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


def test_welcome_names_the_folder_of_data_that_are_not_in_the_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(folder=tmp_path)
    for home in (tmp_path / "postgres", Path("/elsewhere/nijika-1")):
        stack.postgres = Mock(log=home / "postgres.log")
        launcher._print_welcome(stack)
    near, far = capsys.readouterr().out.split("nijika runs at")[1:]
    assert "/elsewhere/nijika-1" in far
    assert "PostgreSQL" not in near
