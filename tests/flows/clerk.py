"""`manage.py` of a house, at one interpreter's start for all of a test's commands.

Starting Python, Django and all of nijika takes a second of CPU, and flows run hundreds
of commands. The process reads one command per line, runs it by Django's own
`call_command` on a fresh connection, and answers with one line.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import IO, Any

from nijika.local.stack import ROOT, Stack, StackFailed


class ClerkedStack(Stack):
    """A stack whose manage.py commands are run by one lasting process."""

    _clerk: subprocess.Popen[str] | None = None

    def manage(self, *arguments: str) -> str:
        if self._clerk is None:
            self._clerk = subprocess.Popen(
                [sys.executable, "-m", "tests.flows.clerk"],
                cwd=ROOT,
                env=self.environment | {"DJANGO_SETTINGS_MODULE": "nijika.settings"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._clerk.stdin and self._clerk.stdout
        self._clerk.stdin.write(json.dumps(arguments) + "\n")
        self._clerk.stdin.flush()
        answer = json.loads(self._clerk.stdout.readline())
        if answer["code"]:
            raise StackFailed(f"manage.py {' '.join(arguments)} failed:\n{answer}")
        said: str = answer["said"]
        return said.strip()

    def stop(self) -> None:
        if self._clerk is not None:
            self._clerk.communicate()  # the end of its orders is the end of it
            self._clerk = None
        super().stop()


def serve(orders: IO[str], answers: IO[str]) -> None:
    for line in orders:
        answers.write(json.dumps(run(json.loads(line))) + "\n")
        answers.flush()


def run(arguments: list[str]) -> dict[str, Any]:
    from django.core.management import CommandError, call_command
    from django.db import connections

    said, failed = io.StringIO(), io.StringIO()
    code: Any = 0
    try:
        call_command(*arguments, stdout=said, stderr=failed)
    except SystemExit as end:
        code = end.code
    except Exception as error:
        code = 1
        failed.write(str(error) if isinstance(error, CommandError) else repr(error))
    finally:
        connections.close_all()  # a flow may restart the database at any time
    return {"code": code, "said": said.getvalue(), "failed": failed.getvalue()}


if __name__ == "__main__":
    import django

    django.setup()
    # What anything prints is no answer.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)
