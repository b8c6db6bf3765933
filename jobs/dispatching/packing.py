"""What the messages say, and which jobs share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any
from uuid import UUID

from django.conf import settings

from gpu_worker.contract import SANDBOX, Assignment, InputFile, Step, from_json
from jobs.accepting import sandbox
from jobs.dispatching.picking import MOST_TOGETHER, Candidate, Taken
from jobs.storage import store


@dataclass(slots=True)
class _Load:
    """The jobs of one message: one batch, or short jobs of any engines."""

    ids: list[UUID]
    work_ms: float

    def takes(self, one: Candidate) -> bool:
        """Whether this one may come along, by its kind."""
        if one.batch_size > 1:
            return len(self.ids) < one.batch_size
        return (
            len(self.ids) < MOST_TOGETHER
            and self.work_ms + _ms(one) <= settings.MESSAGE_WORK_S * 1000
        )

    def add(self, one: Candidate) -> None:
        self.ids.append(one.id)
        self.work_ms += _ms(one)


def pack(candidates: Sequence[Candidate]) -> list[list[UUID]]:
    """Share the candidates, in their order, among at most `room` messages.

    Only when there are more than messages do several travel together, evenly spread
    over the messages: those of one engine, up to its batch size; or of engines that
    take one job at a time, as many as are done within a moment (`MESSAGE_WORK_S`).
    """
    if not candidates:
        return []
    room = candidates[0].room
    even = -(-len(candidates) // room)
    messages: list[_Load] = []
    open_messages: dict[tuple[str, str] | None, _Load] = {}
    for one in candidates:
        kind = (one.operation, one.engine) if one.batch_size > 1 else None
        load = open_messages.get(kind)
        if load and not one.alone and len(load.ids) < even and load.takes(one):
            load.add(one)
        elif len(messages) < room:
            messages.append(_Load([one.id], _ms(one)))
            if not one.alone and messages[-1].takes(one):
                open_messages[kind] = messages[-1]
    return [load.ids for load in messages]


def _ms(one: Candidate) -> float:
    """What a job is expected to take; at least one, since times are rounded."""
    return inf if one.share_ms is None else max(1, one.share_ms)


def by_message(taken: Sequence[Taken]) -> list[list[Taken]]:
    """The rows by the message that they travel in."""
    messages: dict[UUID, list[Taken]] = {}
    for one in taken:
        messages.setdefault(one.id if one.alone else one.message, []).append(one)
    return list(messages.values())


def assignment(one: Taken) -> Assignment:
    return Assignment(
        job_id=str(one.id),
        attempt=one.attempt + 1,
        operation=one.operation,
        engine=one.engine,
        parameters=_parameters(one),
        then=tuple(from_json(Step, step) for step in one.then),
        inputs=tuple(_input(file) for file in one.inputs),
        run_limit_s=one.run_limit_s,
        request_id=one.request_id,
        alone=one.alone,
        owner=str(one.user_id),
    )


def _parameters(one: Taken) -> dict[str, Any]:
    if one.engine != SANDBOX:
        return one.parameters
    return one.parameters | {SANDBOX: sandbox.directions(one.parameters, one.word)}


def _input(file: dict[str, Any]) -> InputFile:
    return InputFile(
        role=file["role"],
        location=store().read_location(file["key"]),
        content_type=file.get("content_type") or "",
        size_bytes=file.get("size_bytes") or 0,
        width_px=file.get("width_px") or 0,
        height_px=file.get("height_px") or 0,
    )
