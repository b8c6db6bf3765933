"""From what a client asks for to what may become a job.

Every way in (the API, and the thin faces beside it) makes an `Order` and submits what
`prepare` makes of it, so that all of them have the same rules and the same errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from billing import prices
from gpu_worker.contract import EngineSpec
from jobs import engines, inputs, submission
from jobs.errors import BadFields, FieldError
from jobs.ids import new_id
from jobs.inputs import Given
from jobs.submission import Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request, well formed but not yet checked against its engine.

    `texts` are parameters as form fields: their type is the engine's to say.
    """

    operation: str
    engine: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    images: Sequence[Given] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orderer:
    """Who asks: a user in a mode, under a request id and perhaps a key of theirs."""

    user_id: int
    test: bool
    request_id: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An order that an engine can do, and what it costs."""

    spec: EngineSpec
    parameters: dict[str, Any]
    price: Decimal


def check(order: Order, *, test: bool, images_optional: bool = False) -> Checked:
    """Raises BadFields, EngineUnavailable and PriceMissing."""
    spec = engines.resolve(order.operation, order.engine, test=test)
    problems, parameters = _parameters(spec, order)
    problems += _image_problems(spec, order.images, optional=images_optional)
    if problems:
        raise BadFields(*problems)
    price = prices.price_of(spec.operation, spec.engine)
    return Checked(spec=spec, parameters=parameters, price=price)


def prepare(order: Order, orderer: Orderer) -> Submission:
    """Check the order, look at the balance, take the images in.

    Raises what `check` and `inputs.take` raise, and InsufficientCredits.
    """
    checked = check(order, test=orderer.test)
    if not orderer.test:
        submission.glance(orderer.user_id, checked.price)
    job_id, spec = new_id(), checked.spec
    taken = inputs.take(
        order.images, job_id=job_id, user_id=orderer.user_id, test=orderer.test
    )
    megapixels = taken.pixels() / 1_000_000
    return Submission(
        id=job_id,
        user_id=orderer.user_id,
        test=orderer.test,
        operation=spec.operation,
        engine=spec.engine,
        queue=spec.queue,
        parameters=checked.parameters,
        metadata=order.metadata,
        inputs=taken.rows,
        price=checked.price,
        run_limit_s=spec.run_limit_s + spec.run_limit_s_per_mp * megapixels,
        request_id=orderer.request_id,
        idempotency_key=orderer.idempotency_key,
        digest=_digest(checked, order, taken) if orderer.idempotency_key else None,
        sources=taken.sources,
    )


def _digest(checked: Checked, order: Order, taken: inputs.Taken) -> str:
    return submission.digest(
        operation=checked.spec.operation,
        engine=checked.spec.engine,
        parameters=checked.parameters,
        inputs=taken.rows,
        metadata=order.metadata,
    )


def _parameters(
    spec: EngineSpec, order: Order
) -> tuple[list[FieldError], dict[str, Any]]:
    twice = [
        FieldError(f"parameters.{name}", "repeated", "is given in two ways")
        for name in order.texts
        if name in order.parameters
    ]
    read = {
        name: engines.read_parameter(spec, name, text)
        for name, text in order.texts.items()
    }
    try:
        return twice, engines.validate_parameters(spec, {**read, **order.parameters})
    except BadFields as bad:
        return twice + [FieldError(**one) for one in bad.errors], {}


def _image_problems(
    spec: EngineSpec, images: Sequence[Given], *, optional: bool
) -> list[FieldError]:
    least, most = (0 if optional else spec.images[0]), spec.images[1]
    pictures = [given for given in images if given.role == "image"]
    problems = [
        FieldError(given.field, "unknown", "is not used by this operation")
        for given in images
        if given.role != "image" and given.role not in spec.roles
    ]
    if len(pictures) < least:
        problems.append(FieldError("image", "required", "is missing"))
    if len(pictures) > most:
        what = f"may be given {most} times at most"
        problems.append(FieldError("image", "repeated" if most else "unknown", what))
    return problems
