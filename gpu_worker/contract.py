"""The wire between the platform and the GPU workers, and nothing else.

Standard library only: both programs import it, and neither sees more of the other.
Every value is a frozen dataclass that travels as JSON; decoding is strict about types
and ignores members that a newer version added.

    broker   Message: one or more Assignments          platform -> worker
    link     Call: claims, beats, reports, ...         worker   -> platform
             Answer: grants, acknowledgements, stops   platform -> worker

The rules by which these values make a job survive are in the docstrings of
`jobs.link` (the platform's side) and `gpu_worker.link` (the worker's).
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

VERSION = 1
SANDBOX = "sandbox"
"""The engine of test keys, and the member that the platform adds to its parameters."""
SPARE_RUNS = 8
"""How many of its runs a queue's workers are sent at most at once, all together: each
worker can take them all beside its slots."""
RUN_TASK = "gpu_worker.run"
"""The name of the one Celery task."""

Unavailable = Literal[
    "",
    "extra_missing",
    "license_not_acknowledged",
    "provider_key_missing",
    "weights_missing",
]
"""Why an engine cannot be had where its worker runs, which no waiting changes."""
Readiness = Literal["cold", "loading", "warm", "hot", "failed"]
"""Of an engine on a device: not loaded, being loaded, loaded, running or used within
the last minutes, could not be loaded."""
STAGES = ("read_ms", "decode_ms", "wait_ms", "run_ms", "encode_ms", "store_ms")
"""What a run's time goes into: reading the inputs, decoding them, waiting for a lane,
the engine, encoding with what follows the engine, storing. A child engine decodes and
encodes within its run."""
SIZES_MP = (1, 4, 16, 64)
"""Classes of size by which run times are measured: up to so many megapixels."""

T = TypeVar("T")


class ContractError(ValueError):
    """The other side sent something that is not in the contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One engine for one operation, as its worker announces it.

    `parameters` is a JSON schema (2020-12) of the operation's parameters. `images` is
    the least and the greatest number of input images; `roles` are further ones that it
    can use, `needs` those of them that must be there. A run may take
    `run_limit_s + run_limit_s_per_mp * megapixels` seconds. `is_step`: the operation
    can follow another one in the same run (`Assignment.then`). `unavailable`: why its
    worker has it in name only; requests for it are refused. An engine whose name ends
    with `:` is a family: `fal:` stands for every `fal:<path>`. While others wait, a
    batch takes `batch_per_user` items of one user at most; 0 is half of `batch_size`.

    `aliases` are further names of it. `provider` is whose service a hosted engine
    calls, which a client may pay by a key of their own: it is sealed to `sealing_key`,
    the public key of this engine's workers; without one no such key is taken.
    """

    operation: str
    engine: str
    queue: str
    parameters: dict[str, Any]
    title: str = ""
    images: tuple[int, int] = (1, 1)
    roles: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    results: int = 1
    batch_size: int = 1
    batch_per_user: int = 0
    run_limit_s: float = 60
    run_limit_s_per_mp: float = 0
    licence: str = ""
    extra: str = ""
    weights: str = ""
    gpu_memory_gb: float = 0
    is_step: bool = False
    unavailable: Unavailable = ""
    aliases: tuple[str, ...] = ()
    provider: str = ""
    sealing_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One input image. `location` says how to read it: `file:` path or `https:` URL."""

    role: str
    location: str
    content_type: str = ""
    size_bytes: int = 0
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation that follows the job's own, on what that one made."""

    operation: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a worker needs to begin a job; the rest comes with the grant.

    `attempt` is the number to claim. `alone`: the job has met a dead worker, so it
    shares the worker with nothing else. `then`: steps after the operation, in order.
    `owner` tells users apart, and nothing more.
    """

    job_id: str
    attempt: int
    operation: str
    engine: str
    parameters: dict[str, Any]
    inputs: tuple[InputFile, ...]
    run_limit_s: float
    request_id: str = ""
    alone: bool = False
    then: tuple[Step, ...] = ()
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the broker carries: the argument of the Celery task."""

    id: str
    assignments: tuple[Assignment, ...]
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a job: the claim is a random id that the worker chose for it."""

    job_id: str
    attempt: int
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    step: int
    total: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The run is alive. Renews its lease."""

    run: Run
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Up to 4 kB of text that come with the job's next grant."""

    run: Run
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """One stored result. `key` is that of the grant's output it was written to."""

    index: int
    key: str
    content_type: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run failed: a code of the API, a text for its owner, whether to retry, and
    not before how many seconds have gone by. `put_off`: nothing was tried, so that the
    run does not count among those that a job gets."""

    code: str
    message: str
    retryable: bool = False
    retry_after_s: float = 0.0
    put_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The end of a run: results, or a failure. Repeated until acknowledged. `stages`:
    milliseconds by what they went into, in order."""

    run: Run
    results: tuple[ResultFile, ...] = ()
    failure: Failure | None = None
    engine_ms: int | None = None
    stages: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """How ready an engine is in this worker, and what its loading is at."""

    operation: str
    engine: str
    state: Readiness
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How long an engine's runs of one size usually take here: a run from begin to end,
    and its share where several jobs shared one. `size_mp` is one of SIZES_MP."""

    operation: str
    engine: str
    size_mp: int
    run_ms: int
    share_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Everything a worker has to say at this moment.

    `incarnation` 0 asks for a new one; then the call carries nothing else to act on.
    `number` rises with every call of an incarnation. `specs` are sent when asked for.
    `states` and `measures` only where there is news: all states, measures since the
    last call. A worker that still loads has no slots.
    """

    name: str
    incarnation: int
    number: int
    queue: str
    slots: int
    free_slots: int
    specs_digest: str
    specs: tuple[EngineSpec, ...] = ()
    claims: tuple[Run, ...] = ()
    beats: tuple[Beat, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    hand_backs: tuple[Run, ...] = ()
    reports: tuple[Report, ...] = ()
    states: tuple[EngineState, ...] = ()
    measures: tuple[Measure, ...] = ()
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where one result may be written: `location` to write, `key` to report."""

    key: str
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to a claim. The engine starts only after `granted` is true.

    `sealed_key` is the key that the job's owner pays a provider with, as the platform
    got it sealed (`gpu_worker.sealing`).
    """

    run: Run
    granted: bool
    outputs: tuple[Output, ...] = ()
    checkpoint: str | None = None
    sealed_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the platform did with a call.

    `stale`: the call was not above the last one of this worker and did nothing.
    `acknowledged`: the runs whose reports are stored. `stop`: runs to stop. `unload`:
    engines, as operation/engine, that are to give their device back.
    """

    status: Literal["ok", "stale"]
    incarnation: int
    grants: tuple[Grant, ...] = ()
    acknowledged: tuple[Run, ...] = ()
    stop: tuple[Run, ...] = ()
    send_specs: bool = False
    unload: tuple[str, ...] = ()


def size_class(pixels: int) -> int:
    """The class of SIZES_MP that so many pixels are in; the last has no end."""
    fitting = (size for size in SIZES_MP if pixels <= size * 10**6)
    return next(fitting, SIZES_MP[-1])


def specs_digest(specs: tuple[EngineSpec, ...]) -> str:
    """A digest that changes when a worker's engines do."""
    text = json.dumps([to_json(spec) for spec in specs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_json(value: Any) -> Any:
    """The JSON form of a contract value: dataclasses become objects, tuples lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_json(getattr(value, name)) for name in _decoders(type(value))}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], value: Any) -> T:
    """The contract value that `value` stands for. Raises ContractError."""
    if not isinstance(value, dict):
        raise ContractError(f"{kind.__name__} must be an object")
    members = {}
    for name, (decode, required) in _decoders(typing.cast(Any, kind)).items():
        if name in value:
            members[name] = decode(value[name])
        elif required:
            raise ContractError(f"{kind.__name__}.{name} is missing")
    return kind(**members)


@cache
def _decoders(kind: type) -> dict[str, tuple[Callable[[Any], Any], bool]]:
    hints = typing.get_type_hints(kind)
    return {
        field.name: (
            _decoder(hints[field.name], f"{kind.__name__}.{field.name}"),
            field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    }


def _decoder(hint: Any, name: str) -> Callable[[Any], Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return lambda value: from_json(typing.cast(type, hint), value)
    if origin is types.UnionType:
        inner = _decoder(arguments[0], name)
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _decoder(arguments[0], name)
        return lambda value: tuple(item(one) for one in _checked(value, list, name))
    if origin is Literal:
        return lambda value: _one_of(value, arguments, name)
    if hint is float:
        return lambda value: _checked(value, (int, float), name)
    return lambda value: _checked(value, origin or hint, name)


def _checked(value: Any, kind: Any, name: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise ContractError(f"{name} has the wrong type")
    return value


def _one_of(value: Any, choices: tuple[Any, ...], name: str) -> Any:
    if value not in choices:
        raise ContractError(f"{name} is none of {choices}")
    return value
