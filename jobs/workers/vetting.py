"""What is believed of a worker's words before they reach the database.

A run must be well formed, results must be exactly outputs of that run, texts must be
text that the database stores. A worker never names a price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.conf import settings

from gpu_worker.contract import (
    SIZES_MP,
    Beat,
    Call,
    Checkpoint,
    ContractError,
    EngineState,
    Failure,
    Measure,
    Report,
    Run,
)
from jobs.lifecycle import CHECKPOINT_LIMIT_BYTES, prefix

MESSAGE_LIMIT_CHARACTERS = 500
MOST_STATES = 200
MOST_STAGES = 20
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
    """The report as the database stores it, with a failure that may be shown to the
    job's owner."""
    report = replace(report, stages=_cleaned_stages(report.stages))
    if report.failure is None:
        return report
    return replace(report, failure=_cleaned_failure(report.failure))


def cleaned_states(states: Sequence[EngineState]) -> list[EngineState]:
    """What a worker says of its engines, as far as it can be stored."""
    return [
        replace(one, message=storable(one.message))
        for one in states[:MOST_STATES]
        if _is_engine(one.operation, one.engine)
    ]


def cleaned_measures(measures: Sequence[Measure]) -> list[Measure]:
    """Those that can be: no size but the known ones, no time that is none."""
    return [
        one
        for one in measures[:MOST_STATES]
        if _is_engine(one.operation, one.engine)
        and one.size_mp in SIZES_MP
        and 0 <= one.run_ms <= LARGEST_INT
        and 0 <= one.share_ms <= LARGEST_INT
    ]


def _is_engine(operation: str, engine: str) -> bool:
    sound = is_text(operation) and is_text(engine)
    return sound and len(operation) <= 40 and len(engine) <= 80


def _cleaned_stages(stages: Mapping[str, Any]) -> dict[str, int]:
    sound = {
        name: taken
        for name, taken in stages.items()
        if _CODE.fullmatch(name) and type(taken) is int and 0 <= taken <= LARGEST_INT
    }
    return dict(list(sound.items())[:MOST_STAGES])


def _cleaned_failure(failure: Failure) -> Failure:
    code = failure.code if _CODE.fullmatch(failure.code) else "engine_failed"
    wait_s = failure.retry_after_s
    return replace(
        failure,
        code=code,
        message=storable(failure.message),
        # Of a number that is none, nothing is left.
        retry_after_s=min(wait_s, settings.LONGEST_RETRY_AFTER_S) if wait_s > 0 else 0,
    )


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
