import re
import socket
from pathlib import Path
from unittest.mock import Mock

import pytest

from nijika.local import __main__ as launcher
from nijika.local.stack import RATES, ROOT, Stack, StackFailed


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


def rates_of(folder: Path, **given: str) -> dict[str, str]:
    """What a web reads of rates on a machine with these variables."""
    stack = Stack(folder=folder, environment=given)
    made = stack._make_environment("postgres://x@127.0.0.1/x", "redis://x/0", 8000)
    return {name: value for name, value in made.items() if "_RATE_" in name}


def test_rate_that_is_set_holds_and_no_other_does(tmp_path: Path) -> None:
    assert rates_of(tmp_path) == {"NIJIKA_RATE_LIMITS": "false"}
    one = rates_of(tmp_path, NIJIKA_RATE_PER_KEY="2/s")
    assert set(one) == set(RATES)
    assert one.pop("NIJIKA_RATE_PER_KEY") == "2/s" and set(one.values()) == {"off"}
    every = {"NIJIKA_RATE_LIMITS": "true", "NIJIKA_RATE_PER_KEY": "2/s"}
    assert rates_of(tmp_path, **every) == every


def test_every_rate_of_the_settings_is_known_to_the_local_stack() -> None:
    example = (ROOT / ".env.example").read_text()
    found = set(re.findall(r"NIJIKA_RATE_[A-Z_]+(?==)", example))
    assert found == {*RATES, "NIJIKA_RATE_LIMITS"}
