"""What is believed of a worker's words before they reach the database.

A run must be well formed, results must be exactly outputs of that run, texts must be
text that the database stores. A worker never names a price.
"""

from __future__ import annotations

import re
from dataclasses import replace
from uuid import UUID

from gpu_worker.contract import (
    Beat,
    Call,
    Checkpoint,
    ContractError,
    Failure,
    Report,
    Run,
)
from jobs.lifecycle import CHECKPOINT_LIMIT_BYTES, prefix

MESSAGE_LIMIT_CHARACTERS = 500
LARGEST_INT = 2**31 - 1
LARGEST_BIGINT = 2**63 - 1
LARGEST_SMALLINT = 2**15 - 1

_CLAIM = re.compile(r"[A-Za-z0-9_\-]{1,40}", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,58}", re.ASCII)
_NAME = re.compile(r"[\w.@:\-]{1,80}", re.ASCII)
_QUEUE = re.compile(r"[\w.\-]{1,40}", re.ASCII)


def check_caller(call: Call) -> None:
    """Raises ContractError unless the call's head can be a worker's."""
    sound = (
        _NAME.fullmatch(call.name)
        and _QUEUE.fullmatch(call.queue)
        and 0 <= call.incarnation <= LARGEST_BIGINT
        and 0 <= call.number <= LARGEST_BIGINT
        and 0 <= call.slots <= LARGEST_SMALLINT
        and 0 <= call.free_slots <= LARGEST_SMALLINT
        and len(call.specs_digest) <= 16
    )
    if not sound:
        raise ContractError("the call's head is none of a worker's")


def is_run(run: Run) -> bool:
    """Whether the platform could ever have granted this run."""
    try:
        canonical = str(UUID(run.job_id)) == run.job_id
    except ValueError:
        return False
    return (
        canonical
        and 0 < run.attempt <= LARGEST_INT
        and bool(_CLAIM.fullmatch(run.claim))
    )


def cleaned_beat(beat: Beat) -> Beat:
    """Progress as the database stores it; counts that are none are left out."""
    progress = beat.progress
    if progress is None:
        return beat
    if not (0 <= progress.step <= LARGEST_INT and 0 <= progress.total <= LARGEST_INT):
        return replace(beat, progress=None)
    return replace(beat, progress=replace(progress, message=storable(progress.message)))


def keeps(checkpoint: Checkpoint) -> bool:
    """Whether it can be kept as it is; a cut one would be worse than none."""
    text = checkpoint.text
    return is_text(text) and len(text.encode()) <= CHECKPOINT_LIMIT_BYTES


def cleaned_report(report: Report) -> Report:
    """The report with a failure that may be shown to the job's owner."""
    if report.failure is None:
        return report
    return replace(report, failure=_cleaned_failure(report.failure))


def _cleaned_failure(failure: Failure) -> Failure:
    code = failure.code if _CODE.fullmatch(failure.code) else "engine_failed"
    return replace(failure, code=code, message=storable(failure.message))


def refusal(report: Report) -> str | None:
    """Why a success is not believed, or None.

    Results must be the run's own outputs, numbered from 0 without a gap, so that no run
    can name another run's files.
    """
    if report.failure is not None:
        return None
    if not report.results:
        return "no results"
    granted = prefix(report.run)
    for number, result in enumerate(report.results):
        if result.index != number or result.key != f"{granted}{number}":
            return f"result {number} is none of the outputs of this run"
    return None


def is_text(text: str) -> bool:
    """Whether PostgreSQL stores this text: no NUL, no half of a surrogate pair."""
    return text == text.replace("\x00", "").encode(errors="ignore").decode()


def storable(text: str) -> str:
    """The text without what PostgreSQL does not store, and not too long."""
    kept = text.replace("\x00", "").encode(errors="replace").decode()
    return kept[:MESSAGE_LIMIT_CHARACTERS]
