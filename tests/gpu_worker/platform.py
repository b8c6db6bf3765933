"""A platform in a thread: the link's contract over real HTTP, failing on order.

It keeps the rules that a worker can see: claims by (attempt, claim), beats and reports
for what runs, calls in order. It can lose answers, be away, be slow, and keep reports
unacknowledged.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gpu_worker.contract import (
    RUN_TASK,
    Answer,
    Assignment,
    Call,
    Checkpoint,
    Grant,
    InputFile,
    Message,
    Output,
    Report,
    Run,
    from_json,
    to_json,
)

TOKEN = "the link token of the tests"


@dataclass
class Job:
    """What the platform knows of one job."""

    assignment: Assignment
    status: str = "queued"
    attempt: int = 0
    claim: str = ""
    checkpoint: str | None = None
    sealed_key: str | None = None
    report: Report | None = None
    progress: list[Any] = field(default_factory=list)
    beats: int = 0


class Platform:
    """The other end of the link. Attributes that tests turn:

    `lose_first_with`: the first call that carries these is done and not answered;
    `away`: calls are refused;
    `keep_reports`: reports are not acknowledged; `delay_s`: every answer is late;
    `unload`: engines that are to free their device.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, Job] = {}
        self.calls: list[Call] = []
        self.happened = Counter[str]()
        self.incarnation = 0
        self.number = 0
        self.lose_first_with = ""
        self.away = self.keep_reports = False
        self.delay_s = 0.0
        self.to_stop: set[str] = set()
        self.unload: tuple[str, ...] = ()
        self.locate: Callable[[str], str] = lambda key: f"file://{folder}/{key}"
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def forget(self) -> None:
        """For the next test: no jobs, no faults. What still runs is told to stop."""
        with self._lock:
            self.jobs.clear()
            self.to_stop.clear()
            self.calls.clear()
            self.happened.clear()
            self.lose_first_with, self.delay_s = "", 0.0
            self.away = self.keep_reports = False

    def is_quiet(self) -> bool:
        """Whether the worker has nothing more to say about earlier jobs."""
        with self._lock:
            last = self.calls[-2:]
        return len(last) == 2 and not any(
            call.beats or call.reports or call.claims or call.free_slots < call.slots
            for call in last
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/internal/link"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def job(self, operation: str, **options: Any) -> Assignment:
        """Accept a job; its message is the test's to publish."""
        parameters = options.pop("parameters", {})
        assignment = Assignment(
            job_id=str(uuid.uuid4()),
            attempt=1,
            operation=operation,
            engine="test",
            parameters=parameters,
            inputs=options.pop("inputs", ()),
            run_limit_s=options.pop("run_limit_s", 10),
            **options,
        )
        self.jobs[assignment.job_id] = Job(assignment)
        return assignment

    def again(self, assignment: Assignment) -> Assignment:
        """The assignment of a job's next attempt."""
        job = self.jobs[assignment.job_id]
        job.assignment = dataclasses.replace(assignment, attempt=job.attempt + 1)
        return job.assignment

    def input(self, text: str) -> InputFile:
        path = self.folder / f"input-{uuid.uuid4()}"
        path.write_text(text)
        return InputFile(role="image", location=f"file://{path}")

    def ended(self, *assignments: Assignment, timeout_s: float = 15) -> list[Job]:
        """The jobs, once all have a report. Raises AssertionError in time."""
        jobs = [self.jobs[one.job_id] for one in assignments]
        wait_until(lambda: all(job.report for job in jobs), timeout_s)
        return jobs

    def result(self, assignment: Assignment) -> str:
        report = self.jobs[assignment.job_id].report
        assert report is not None
        assert report.failure is None, report.failure
        return (self.folder / report.results[0].key).read_text()

    def states(self, engine: str) -> list[str]:
        """The states of an `operation/engine`, as the worker told them."""
        with self._lock:
            said = [one for call in self.calls for one in call.states]
        return [s.state for s in said if f"{s.operation}/{s.engine}" == engine]

    def answer(self, call: Call) -> Answer:
        with self._lock:
            self.calls.append(call)
            if call.incarnation == 0:
                return self._welcome(call)
            if (call.incarnation, call.number) <= (self.incarnation, self.number):
                self.happened["stale"] += 1
                return Answer(status="stale", incarnation=self.incarnation)
            self.number = call.number
            return self._take_in(call)

    def _welcome(self, call: Call) -> Answer:
        self.incarnation, self.number = self.incarnation + 1, call.number
        for job in self.jobs.values():
            if job.status == "running":
                self._requeue(job)
        return Answer(status="ok", incarnation=self.incarnation, send_specs=True)

    def _take_in(self, call: Call) -> Answer:
        grants = tuple(self._grant(run) for run in call.claims)
        stop = [b.run for b in call.beats if not self._beat(b.run, b.progress)]
        for checkpoint in call.checkpoints:
            self._checkpoint(checkpoint)
        for run in call.hand_backs:
            if self._is_running(run):
                self.happened["handed back"] += 1
                self._requeue(self.jobs[run.job_id])
        acknowledged = [r.run for r in call.reports if self._store(r)]
        return Answer(
            status="ok",
            incarnation=self.incarnation,
            grants=grants,
            acknowledged=tuple(acknowledged),
            stop=tuple(stop),
            unload=self.unload,
        )

    def _grant(self, run: Run) -> Grant:
        job = self.jobs.get(run.job_id)
        if job is None:
            return Grant(run=run, granted=False)
        if job.status == "queued" and job.attempt == run.attempt - 1:
            job.status, job.attempt, job.claim = "running", run.attempt, run.claim
            self.happened["granted"] += 1
        if not self._is_running(run):
            self.happened["refused"] += 1
            return Grant(run=run, granted=False)
        key = f"results/{run.job_id}/{run.attempt}-{run.claim}/0"
        output = Output(key=key, location=self.locate(key))
        return Grant(
            run=run,
            granted=True,
            outputs=(output,),
            checkpoint=job.checkpoint,
            sealed_key=job.sealed_key,
        )

    def _beat(self, run: Run, progress: Any) -> bool:
        if run.job_id in self.to_stop or not self._is_running(run):
            return False
        self.jobs[run.job_id].beats += 1
        if progress:
            self.jobs[run.job_id].progress.append(progress)
        return True

    def _checkpoint(self, checkpoint: Checkpoint) -> None:
        if self._is_running(checkpoint.run):
            self.jobs[checkpoint.run.job_id].checkpoint = checkpoint.text

    def _store(self, report: Report) -> bool:
        self.happened["reports"] += 1
        if self.keep_reports:
            return False
        if self._is_running(report.run):
            job = self.jobs[report.run.job_id]
            job.status = "failed" if report.failure else "succeeded"
            job.report = report
        return True

    def _is_running(self, run: Run) -> bool:
        job = self.jobs.get(run.job_id)
        return job is not None and ("running", run.attempt, run.claim) == (
            job.status,
            job.attempt,
            job.claim,
        )

    def _requeue(self, job: Job) -> None:
        job.status, job.claim = "queued", ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                if self.headers["Authorization"] != f"Bearer {TOKEN}" or platform.away:
                    self._send(503, {})
                    return
                call = from_json(Call, body)
                answer = platform.answer(call)
                time.sleep(platform.delay_s)
                if getattr(call, platform.lose_first_with or "-", ()):
                    platform.lose_first_with = ""
                    self.close_connection = True
                    return
                self._send(200, to_json(answer))

            def _send(self, status: int, value: Any) -> None:
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def message(*assignments: Assignment) -> dict[str, Any]:
    """The Celery task's argument for these jobs."""
    value: dict[str, Any] = to_json(
        Message(id=str(uuid.uuid4()), assignments=assignments)
    )
    return value


def wait_until(true: Callable[[], Any], timeout_s: float = 15) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


__all__ = ["RUN_TASK", "TOKEN", "Job", "Platform", "message", "wait_until"]
