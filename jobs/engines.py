"""The engines that workers have announced, and what may be asked of them.

A process sees a new announcement within a second. An engine stays known when no worker
of it is up: then jobs wait. Which operations are offered, and with which engine, is in
the settings; live keys choose among those, test keys get the sandbox and nothing else.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now
from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator

from gpu_worker.contract import SANDBOX, ContractError, EngineSpec, from_json, to_json
from jobs.errors import BadFields, EngineOutOfReach, EngineUnseen, FieldError
from jobs.models import Engine, Worker
from jobs.parsing import schemas
from jobs.parsing.schemas import Schema

FRESH_S = 1.0
MISSED_S = 0.05
logger = logging.getLogger(__name__)

# A path at a provider: at most what a job's row can hold, and nothing that could leave
# the path of a URL.
_MEMBER = re.compile(
    r"(?=.{1,80}$)[a-z]+:[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){1,5}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a client may ask for. `engines` begins with the default one."""

    name: str
    engines: tuple[EngineSpec, ...]


def announce(specs: Sequence[EngineSpec]) -> None:
    """Keep what a worker has announced; the newest spec of an engine counts.

    A spec whose schema is none is logged and passed over: its neighbours are fine.
    """
    rows = [spec for spec in specs if _is_sound(spec)]
    # In one order, so that two workers that announce at once cannot deadlock.
    rows.sort(key=lambda spec: (spec.operation, spec.engine))
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO jobs_engine AS known (operation, name, queue, spec)
            SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[])
            ON CONFLICT (operation, name) DO UPDATE
            SET queue = excluded.queue, spec = excluded.spec, announced_at = now()
            WHERE (known.queue, known.spec) IS DISTINCT FROM
                  (excluded.queue, excluded.spec)
            """,
            [
                [spec.operation for spec in rows],
                [spec.engine for spec in rows],
                [spec.queue for spec in rows],
                [json.dumps(to_json(spec)) for spec in rows],
            ],
        )
    forget()


def _is_sound(spec: EngineSpec) -> bool:
    try:
        _check_schema(json.dumps(spec.parameters))
        _check_schema(json.dumps(spec.parameters.get("x-images", {})))
    except SchemaError:
        logger.exception("no schema in spec %s/%s", spec.operation, spec.engine)
        return False
    return True


@lru_cache(maxsize=500)
def _check_schema(schema: str) -> None:
    """Raises SchemaError. Ten milliseconds, which a worker that starts anew, and
    announces what it did before, does not cost again."""
    Draft202012Validator.check_schema(json.loads(schema))


def resolve(
    operation: str,
    engine: str | None = None,
    *,
    test: bool,
    own_keys: Collection[str] = (),
) -> EngineSpec:
    """The engine for a request: the named one, else the operation's default.

    It may be named by an alias, and one of a family by its whole name (`fal:a/model`).
    `own_keys` are the providers for which the request brings a key of its own.

    For a test key it is the sandbox, which takes what that engine would take.
    Raises BadFields for an operation or engine that is not offered, EngineUnseen
    for one that no worker has announced yet, EngineOutOfReach for one that its workers
    have in name only.
    """
    default = settings.DEFAULT_ENGINES.get(operation)
    if default is None:
        raise BadFields(FieldError("operation", "unknown", "is not an operation"))
    chosen = default if engine is None else named(operation, engine)
    spec = _table.find(operation, SANDBOX if test else chosen)
    if spec is None:
        others = [] if test else _alternatives(operation, own_keys)
        raise EngineUnseen(SANDBOX if test else chosen, others)
    if test:
        return _table.imitated(spec, chosen)
    if why := out_of_reach(spec, own_keys=own_keys):
        raise EngineOutOfReach(spec.engine, why, _alternatives(operation, own_keys))
    return spec


def out_of_reach(spec: EngineSpec, *, own_keys: Collection[str] = ()) -> str:
    """Why no waiting brings this engine, or "". A key of the caller's own stands in for
    the owner's."""
    if spec.unavailable == "provider_key_missing" and spec.provider in own_keys:
        return ""
    return spec.unavailable


def live_workers() -> QuerySet[Worker]:
    alive = Now() - timedelta(seconds=settings.WORKER_GONE_S)
    return Worker.objects.filter(seen_at__gt=alive)


def _alternatives(operation: str, own_keys: Collection[str]) -> list[str]:
    """The engines that would serve the operation: theirs is a live worker, or one that
    comes when a job waits."""
    staffed = {*live_workers().values_list("queue", flat=True)}
    staffed.update(settings.SCALE_TO_ZERO_QUEUES)
    return [
        spec.engine
        for spec in known(operation, test=False)
        if spec.queue in staffed and not out_of_reach(spec, own_keys=own_keys)
    ]


def named(operation: str, engine: str) -> str:
    """The choosable engine that a client names. Raises BadFields."""
    choosable = _choosable(operation)
    if engine in choosable and not engine.endswith(":"):
        return engine
    if family(engine) in choosable and _MEMBER.fullmatch(engine):
        return engine
    for name in choosable:
        spec = _table.find(operation, name)
        if spec is not None and engine in spec.aliases:
            return name
    raise BadFields(FieldError("engine", "unknown", "is no engine to choose here"))


def family(engine: str) -> str:
    """`fal:` of `fal:owner/app`, and a name that none has for others."""
    prefix, colon, rest = engine.partition(":")
    return prefix + colon if rest else ":"


def offered() -> list[Operation]:
    """The operations whose default engine, or another choosable one, is known."""
    found = []
    for name in sorted(settings.DEFAULT_ENGINES):
        if engines := tuple(known(name, test=False)):
            found.append(Operation(name=name, engines=engines))
    return found


def unannounced() -> dict[str, list[str]]:
    """The configured engines, by operation, that no worker has ever announced."""
    return {
        name: [
            engine
            for engine in _choosable(name)
            if not engine.endswith(":") and _table.find(name, engine) is None
        ]
        for name in sorted(settings.DEFAULT_ENGINES)
    }


def known(operation: str, *, test: bool) -> list[EngineSpec]:
    """The engines that a key of this mode may have for an operation and that workers
    have announced, the default first."""
    if operation not in settings.DEFAULT_ENGINES:
        return []
    names = [SANDBOX] if test else _choosable(operation)
    found: dict[str, EngineSpec] = {}
    for name in names:
        for spec in _table.all_of(operation, name):
            found.setdefault(spec.engine, spec)
    return [*found.values()]


def _choosable(operation: str) -> list[str]:
    """The engines that a client may name, the default first. Never the sandbox."""
    chosen = [settings.DEFAULT_ENGINES[operation]]
    for choice in settings.CHOOSABLE_ENGINES:
        of, _, name = choice.partition("/")
        if of == operation and name not in (*chosen, SANDBOX):
            chosen.append(name)
    return chosen


def is_operation(name: str) -> bool:
    """Whether a job may have it: it is offered, or an engine for it was announced once,
    whether or not it is offered still."""
    return name in settings.DEFAULT_ENGINES or _table.has(name)


def forget() -> None:
    """Read the table anew when it is next needed."""
    _table.forget()


def validate_parameters(
    spec: EngineSpec, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters with the spec's defaults filled in.

    Raises BadFields, which names every field that is wrong.
    """
    return _table.schema(spec).normalised(parameters)


def check_images(
    spec: EngineSpec, parameters: Mapping[str, Any], roles: Iterable[str]
) -> None:
    """Raises BadFields for parameters that do not go with images of these roles."""
    _table.schema(spec).check_images(parameters, roles)


def read_parameter(spec: EngineSpec, name: str, text: str) -> Any:
    """A form field's text as the type that the spec gives this parameter.

    A text that is none of its types stays text, for validation to refuse.
    """
    schema = spec.parameters.get("properties", {}).get(name, {})
    return schemas.read_text(schema, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A row as it was read, decoded, with its schema compiled."""

    row: Any
    spec: EngineSpec
    schema: Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class _Imitation:
    """The sandbox in the place of another engine. `of` are both."""

    of: tuple[EngineSpec, EngineSpec]
    spec: EngineSpec
    schema: Schema


class _Table:
    """The table of engines as this process last read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Known] = {}
        self._imitations: dict[tuple[str, str], _Imitation] = {}
        self._fresh_until = 0.0

    def find(self, operation: str, name: str) -> EngineSpec | None:
        """The engine; before it is missed the table is read anew, now and then."""
        known = self._look_up(operation, name)
        if known is None and time.monotonic() >= self._fresh_until - FRESH_S + MISSED_S:
            self.forget()
            known = self._look_up(operation, name)
        if known is None or known.spec.engine == name:
            return known.spec if known else None
        return replace(known.spec, engine=name)

    def all_of(self, operation: str, name: str) -> list[EngineSpec]:
        """The engine, or for a family those of its members that are announced."""
        if not name.endswith(":"):
            spec = self.find(operation, name)
            return [] if spec is None else [spec]
        return [
            known.spec
            for (of, engine), known in sorted(self._fresh().items())
            if of == operation and engine.startswith(name) and engine != name
        ]

    def has(self, operation: str) -> bool:
        return any(of == operation for of, _ in self._fresh())

    def _look_up(self, operation: str, name: str) -> _Known | None:
        rows = self._fresh()
        return rows.get((operation, name)) or rows.get((operation, family(name)))

    def schema(self, spec: EngineSpec) -> Schema:
        for name in (spec.engine, family(spec.engine)):
            known = self._known.get((spec.operation, name))
            if known and known.spec.parameters is spec.parameters:
                return known.schema
        for imitation in self._imitations.values():
            if imitation.spec is spec:
                return imitation.schema
        return _schema(spec)

    def imitated(self, sandbox: EngineSpec, name: str) -> EngineSpec:
        """The sandbox with the parameters and images of the named engine, if that one
        is known. Made once, for schemas are dear."""
        key = sandbox.operation, name
        original = self.find(*key)
        if original is None:
            return sandbox
        made = self._imitations.get(key)
        if made is None or made.of[0] is not sandbox or made.of[1] is not original:
            made = self._imitations[key] = _imitation(sandbox, original)
        return made.spec

    def forget(self) -> None:
        self._fresh_until = 0.0

    def _fresh(self) -> dict[tuple[str, str], _Known]:
        if time.monotonic() >= self._fresh_until:
            with self._lock:
                if time.monotonic() >= self._fresh_until:
                    self._read()
        return self._known

    def _read(self) -> None:
        started, found = time.monotonic(), {}
        rows = Engine.objects.values_list("operation", "name", "spec")
        for operation, name, row in rows:
            known = self._known.get((operation, name))
            if known is None or known.row != row:
                known = _decoded(row)
            if known is not None:
                found[operation, name] = known
        self._known, self._fresh_until = found, started + FRESH_S


def _decoded(row: Any) -> _Known | None:
    """None for a row that an older version wrote and this one cannot read."""
    try:
        spec = from_json(EngineSpec, row)
    except ContractError:
        logger.exception("an engine's row is not readable")
        return None
    return _Known(row=row, spec=spec, schema=_schema(spec))


def _imitation(sandbox: EngineSpec, original: EngineSpec) -> _Imitation:
    spec = replace(
        sandbox,
        parameters=original.parameters,
        images=original.images,
        roles=original.roles,
        needs=original.needs,
    )
    return _Imitation(of=(sandbox, original), spec=spec, schema=_schema(spec))


def _schema(spec: EngineSpec) -> Schema:
    return Schema(spec.parameters, path="parameters")


_table = _Table()
