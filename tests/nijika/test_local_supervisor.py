import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nijika.local.supervisor import Supervisor

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('up', flush=True); time.sleep(60)"
)


SECRETS = {
    "DATABASE_URL": "postgres://nijika:secret@db/nijika",
    "NIJIKA_SECRET_KEY_FILE": "/run/secrets/key",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
KNOWN = f"import os; print(len({{*{json.dumps(list(SECRETS))}}} & {{*os.environ}}))"


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def start(**commands: str) -> Supervisor:
        procfile = tmp_path / "Procfile"
        lines = [f"{n}: {sys.executable} -c {c!r}\n" for n, c in commands.items()]
        procfile.write_text("".join(lines))
        supervisor = Supervisor(
            procfile,
            environment={**os.environ, **SECRETS},
            logs=tmp_path / "logs",
            quiet=False,
            folder=tmp_path,
        )
        supervisor.start()
        made.append(supervisor)
        return supervisor

    yield start
    for supervisor in made:
        supervisor.stop([list(supervisor.programs)], timeout_s=0.1)


def test_supervisor_process_killed_is_restarted_and_said(
    supervise: Callable[..., Supervisor], capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor = supervise(web="import time; time.sleep(60)")
    before = pid_of(supervisor, "web")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not supervisor.programs["web"].running)

    wait_until(lambda: supervisor.check() or supervisor.programs["web"].running)

    assert pid_of(supervisor, "web") != before
    assert "web ended (SIGKILL); restarting it" in capsys.readouterr().out


def test_supervisor_process_that_keeps_crashing_is_restarted_ever_later(
    supervise: Callable[..., Supervisor],
) -> None:
    supervisor = supervise(web="raise SystemExit(3)")
    web = supervisor.programs["web"]
    end = time.monotonic() + 2
    while time.monotonic() < end:
        supervisor.check()
        time.sleep(0.02)
    assert 2 <= web.crashes <= 3


def test_supervisor_stop_kills_what_ignores_the_signal(
    supervise: Callable[..., Supervisor],
) -> None:
    supervisor = supervise(web=STUBBORN)
    web = supervisor.programs["web"]
    wait_until(lambda: web.log.read_text() == "up\n")
    supervisor.stop([["web"]], timeout_s=0.2)
    assert not web.running


def test_supervisor_keeps_each_output_in_a_log(
    supervise: Callable[..., Supervisor],
) -> None:
    supervisor = supervise(web="print('hello')", worker="print('there')")
    logs = {name: program.log for name, program in supervisor.programs.items()}
    wait_until(lambda: all(log.exists() and log.read_text() for log in logs.values()))
    assert logs["worker"].read_text() == "there\n"


def test_supervisor_tells_a_worker_no_secret_of_the_platform(
    supervise: Callable[..., Supervisor],
) -> None:
    supervisor = supervise(web=KNOWN, worker=f"{KNOWN} # python -m gpu_worker")
    logs = {name: program.log for name, program in supervisor.programs.items()}
    wait_until(lambda: all(log.read_text() for log in logs.values()))
    assert logs["web"].read_text() == f"{len(SECRETS)}\n"
    assert logs["worker"].read_text() == "0\n"


def pid_of(supervisor: Supervisor, name: str) -> int:
    process = supervisor.programs[name].process
    assert process is not None
    return process.pid


def wait_until(condition: Callable[[], object], within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
