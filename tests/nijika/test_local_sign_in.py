"""When `make run` lets a developer in through a stand-in for the providers."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nijika.local.stack import Stack
from tests.flows.house import environment_of_a_newcomer

Environment = dict[str, str]


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[list[Stack]]:
    made: list[Stack] = []
    yield made
    for stack in made:
        if stack.provider is not None:
            stack.provider.__exit__()


def environment(stacks: list[Stack], folder: Path, **given: str) -> Environment:
    """What the programs of a stack would run in; only the stand-in is started."""
    stack = Stack(
        folder=folder,
        environment=environment_of_a_newcomer() | given,
        development_sign_in=True,
    )
    stacks.append(stack)
    return stack._make_environment("postgres://x@127.0.0.1/x", "redis://x/0", 8000)


def test_stand_in_answers_and_the_programs_start_with_it(
    stacks: list[Stack], tmp_path: Path
) -> None:
    made = environment(stacks, tmp_path)

    program = "import nijika.settings as s; print(s.DEBUG, s.DEVELOPMENT_SIGN_IN)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=made, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", made["NIJIKA_DEVELOPMENT_SIGN_IN"]]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(made["NIJIKA_DEVELOPMENT_SIGN_IN"] + "/")


@pytest.mark.parametrize(
    "given",
    [
        {"NIJIKA_DEBUG": "false"},
        {"NIJIKA_DEBUG": "0"},
        {"NIJIKA_GITHUB_CLIENT_ID": "ours"},
        {"NIJIKA_GITLAB_CLIENT_ID": "ours"},
    ],
)
def test_stand_in_stays_away_from_real_providers_and_without_debugging(
    given: Environment, stacks: list[Stack], tmp_path: Path
) -> None:
    assert "NIJIKA_DEVELOPMENT_SIGN_IN" not in environment(stacks, tmp_path, **given)
    assert stacks[0].provider is None
