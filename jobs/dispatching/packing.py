"""What the messages say, and which jobs share one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from gpu_worker.contract import SANDBOX, Assignment, InputFile, Step, from_json
from jobs.accepting import sandbox
from jobs.dispatching.picking import Candidate, Taken
from jobs.storage import store


def pack(candidates: Sequence[Candidate]) -> list[list[UUID]]:
    """Share the candidates, in their order, among at most `room` messages.

    Only when there are more than messages do several travel together: those of one
    engine, up to its batch size, evenly spread over the messages.
    """
    if not candidates:
        return []
    room = candidates[0].room
    even = -(-len(candidates) // room)
    messages: list[list[UUID]] = []
    open_messages: dict[tuple[str, str], list[UUID]] = {}
    for one in candidates:
        size = 1 if one.alone else min(one.batch_size, even)
        kind = (one.operation, one.engine)
        message = open_messages.get(kind)
        if message is not None and not one.alone and len(message) < size:
            message.append(one.id)
        elif len(messages) < room:
            messages.append([one.id])
            if not one.alone:
                open_messages[kind] = messages[-1]
    return messages


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
