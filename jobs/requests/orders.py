"""From what a client asks for to what may become a job.

Every way in (the API, and the thin faces beside it) makes an `Order` and submits what
`prepare` makes of it, so that all of them have the same rules and the same errors.

An order may name steps that follow its first one. They run in the same go, on what the
one before has made; nothing is stored in between, and all together are one job with
one price: the sum of its steps'.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing import prices
from billing.errors import InsufficientCredits
from gpu_worker.contract import EngineSpec, Step, to_json
from jobs import engines, submission
from jobs.accepting import idempotency, sandbox
from jobs.errors import BadFields, FieldError, StorageFull, within
from jobs.files import stored
from jobs.ids import new_id
from jobs.requests import inputs, sealing
from jobs.requests.inputs import Given
from jobs.submission import Submission
from jobs.webhooks import endpoints
from nijika.errors import NijikaError

MOST_STEPS = 8
STORED_AT_ONCE = 8
MOST_PROBLEMS = 20
OUTPUT = "x-output"
"""The mark of a parameter, in its schema, that says how the result is written: the last
step's to say, for before it nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request, well formed but not yet checked against its engines.

    `texts` are parameters as form fields: their type is the engine's to say. `then` is
    what follows the operation, at most `MOST_STEPS`.
    """

    operation: str
    engine: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    then: Sequence[Step] = ()
    images: Sequence[Given] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    webhook_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orderer:
    """Who asks: a user in a mode, under a request id and perhaps a key of theirs.

    `provider_keys` are what they pay providers with, by provider: for the jobs of this
    request, and never shown.
    """

    user_id: int
    test: bool
    request_id: str = ""
    idempotency_key: str | None = None
    provider_keys: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step that an engine can do, and what it costs."""

    spec: EngineSpec
    parameters: dict[str, Any]
    price: Decimal

    def run_limit_s(self, megapixels: float) -> float:
        return self.spec.run_limit_s + self.spec.run_limit_s_per_mp * megapixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An order that its engines can do: the first step, which names the job, and what
    follows it. `own_key`: its owner pays the provider."""

    stages: tuple[Stage, ...]
    own_key: bool = False

    @property
    def spec(self) -> EngineSpec:
        return self.stages[0].spec

    @property
    def parameters(self) -> dict[str, Any]:
        return self.stages[0].parameters

    @property
    def then(self) -> list[dict[str, Any]]:
        """As `Job.then` keeps it."""
        steps = (
            Step(operation=stage.spec.operation, parameters=stage.parameters)
            for stage in self.stages[1:]
        )
        return [to_json(step) for step in steps]

    @property
    def price(self) -> Decimal:
        return sum((stage.price for stage in self.stages), Decimal(0))

    def run_limit_s(self, megapixels: float) -> float:
        return sum(stage.run_limit_s(megapixels) for stage in self.stages)


def check(
    order: Order,
    *,
    test: bool,
    images_optional: bool = False,
    own_keys: Collection[str] = (),
) -> Checked:
    """Raises BadFields, UrlRefused, EngineUnavailable and PriceMissing.

    `own_keys` are the providers for which the request brings a key.
    """
    spec = engines.resolve(order.operation, order.engine, test=test, own_keys=own_keys)
    own_key = sealing.is_used(spec, own_keys)
    if own_key:
        sealing.check(spec)
    look_at_images = bool(order.images) or not images_optional
    problems, parameters = _parameters(spec, order, look_at_images=look_at_images)
    problems += _image_problems(spec, order.images, optional=images_optional)
    asked = [(spec, parameters)]
    problems += _output_problems(
        spec, {**order.texts, **order.parameters}, is_last=not order.then
    )
    for number, step in enumerate(order.then):
        is_last = number == len(order.then) - 1
        try:
            asked.append(_asked(step, is_last=is_last))
        except BadFields as bad:
            problems += _under(f"then.{number}", bad)
    if problems:
        raise BadFields(*problems[:MOST_PROBLEMS])
    if order.webhook_url:
        endpoints.check_url("webhook_url", order.webhook_url)
    return Checked(stages=_stages(asked, own_key=own_key), own_key=own_key)


def prepare(order: Order, orderer: Orderer) -> Submission:
    """Check the order, look at the balance, take the images in.

    Raises what `check` and `inputs.take` raise, and InsufficientCredits; for a test key
    SandboxFull and whatever refusal it asks for.
    """
    checked = check(order, test=orderer.test, own_keys=orderer.provider_keys)
    _glance([order], [checked], orderer)
    return _submission(order, checked, orderer, job_id=new_id())


def prepare_batch(
    orders: Sequence[Order], orderer: Orderer, batch_id: UUID
) -> list[Submission]:
    """As `prepare`, for all orders or none: nothing is stored while one has a fault
    that shows before that. The orderer's key is the batch's, not its items'.

    Raises what `prepare` raises, with fields as `items.3.image`.
    """
    checked = _check_all(orders, orderer)
    _glance(orders, checked, orderer)
    images = [image for order in orders for image in order.images]
    known = inputs.referred(images, user_id=orderer.user_id, test=orderer.test)
    items = []
    # Stores take their time for each file, and take many at once. The ids are made
    # here, so that jobs come in the order of their items.
    with ThreadPoolExecutor(STORED_AT_ONCE) as pool:
        making = [
            pool.submit(_submission, order, one, orderer, job_id=new_id(), known=known)
            for order, one in zip(orders, checked, strict=True)
        ]
        for number, made in enumerate(making):
            try:
                item = made.result()
            except NijikaError as error:
                pool.shutdown(wait=False, cancel_futures=True)
                raise within(f"items.{number}", error) from error
            place = replace(item, batch_id=batch_id, batch_index=number)
            items.append(replace(place, idempotency_key=None))
    return items


def _check_all(orders: Sequence[Order], orderer: Orderer) -> list[Checked]:
    checked: list[Checked] = []
    problems: list[FieldError] = []
    for number, order in enumerate(orders):
        try:
            checked.append(
                check(order, test=orderer.test, own_keys=orderer.provider_keys)
            )
            inputs.check(order.images)
        except BadFields as bad:
            problems += _under(f"items.{number}", bad)
        except NijikaError as error:
            raise within(f"items.{number}", error) from error
    if problems:
        raise BadFields(*problems[:MOST_PROBLEMS])
    return checked


def _submission(
    order: Order,
    checked: Checked,
    orderer: Orderer,
    *,
    job_id: UUID,
    known: inputs.Files | None = None,
) -> Submission:
    """Take the images in. With what is `known` of them no query is asked."""
    spec = checked.spec
    taken = inputs.take(
        order.images,
        job_id=job_id,
        user_id=orderer.user_id,
        test=orderer.test,
        known=known,
    )
    return Submission(
        id=job_id,
        user_id=orderer.user_id,
        test=orderer.test,
        operation=spec.operation,
        engine=spec.engine,
        queue=spec.queue,
        parameters=checked.parameters,
        then=checked.then,
        metadata=order.metadata,
        inputs=taken.rows,
        price=checked.price,
        run_limit_s=checked.run_limit_s(taken.pixels() / 1_000_000),
        request_id=orderer.request_id,
        idempotency_key=orderer.idempotency_key,
        webhook_url=order.webhook_url,
        digest=_digest(checked, order, taken) if orderer.idempotency_key else None,
        sources=taken.sources,
        own_key=checked.own_key,
        sealed_key=_sealed_key(checked, orderer, job_id),
    )


def _sealed_key(checked: Checked, orderer: Orderer, job_id: UUID) -> str | None:
    if not checked.own_key:
        return None
    key = orderer.provider_keys[checked.spec.provider]
    return sealing.seal(checked.spec, key, job_id)


def _glance(
    orders: Sequence[Order], checked: Sequence[Checked], orderer: Orderer
) -> None:
    """Refuse before an image is stored what would be refused afterwards."""
    if any(order.images for order in orders):
        _glance_at_room(orderer)
    if not orderer.test:
        price = sum((one.price for one in checked), Decimal(0))
        _glance_at_credits(orderer, price)
        return
    for order, one in zip(orders, checked, strict=True):
        sandbox.check(one.parameters, order.metadata)
    if orderer.idempotency_key is None:  # else it may be there already
        sandbox.glance(orderer.user_id, len(orders))


def _glance_at_room(orderer: Orderer) -> None:
    try:
        stored.glance(orderer.user_id)
    except StorageFull:
        if not _is_repeat(orderer):
            raise


def _glance_at_credits(orderer: Orderer, price: Decimal) -> None:
    try:
        submission.glance(orderer.user_id, price)
    except InsufficientCredits:
        # What the key has made already is paid, perhaps with the last credits.
        if not _is_repeat(orderer):
            raise


def _is_repeat(orderer: Orderer) -> bool:
    return idempotency.stands(
        user_id=orderer.user_id, test=orderer.test, key=orderer.idempotency_key
    )


def _digest(checked: Checked, order: Order, taken: inputs.Taken) -> str:
    return submission.digest(
        operation=checked.spec.operation,
        engine=checked.spec.engine,
        parameters=checked.parameters,
        then=checked.then,
        inputs=taken.rows,
        metadata=order.metadata,
        webhook_url=order.webhook_url,
    )


def _parameters(
    spec: EngineSpec, order: Order, *, look_at_images: bool
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
        given = engines.validate_parameters(spec, {**read, **order.parameters})
        if look_at_images:
            engines.check_images(spec, given, {image.role for image in order.images})
        return twice, given
    except BadFields as bad:
        return twice + [FieldError(**one) for one in bad.errors], {}


_Asked = tuple[EngineSpec, dict[str, Any]]


def _asked(step: Step, *, is_last: bool) -> _Asked:
    """What follows the first step is never the sandbox's: it is the same in both modes.

    Raises BadFields, with fields as they are named within the step.
    """
    spec = engines.resolve(step.operation, test=False)
    if not spec.is_step:
        what = "cannot follow another operation"
        raise BadFields(FieldError("operation", "no_step", what))
    if problems := _output_problems(spec, step.parameters, is_last=is_last):
        raise BadFields(*problems)
    given = engines.validate_parameters(spec, step.parameters)
    engines.check_images(spec, given, ())
    return spec, given


def _under(path: str, bad: BadFields) -> list[FieldError]:
    return [
        FieldError(**{**one, "field": f"{path}.{one['field']}"}) for one in bad.errors
    ]


def _output_problems(
    spec: EngineSpec, given: Iterable[str], *, is_last: bool
) -> list[FieldError]:
    """What says how a file is written, where none is."""
    if is_last:
        return []
    return [
        FieldError(f"parameters.{name}", "unused", "counts in the last step only")
        for name in given
        if _is_output(spec, name)
    ]


def _is_output(spec: EngineSpec, name: str) -> bool:
    member = spec.parameters.get("properties", {}).get(name)
    return isinstance(member, dict) and bool(member.get(OUTPUT))


def _stages(asked: Sequence[_Asked], *, own_key: bool) -> tuple[Stage, ...]:
    """With prices, and without the defaults that nothing is written by."""
    last = len(asked) - 1
    return tuple(
        Stage(
            spec=spec,
            parameters=parameters if number == last else _unwritten(spec, parameters),
            price=prices.price_of(spec.operation, spec.engine, own_key=own_key),
        )
        for number, (spec, parameters) in enumerate(asked)
    )


def _unwritten(spec: EngineSpec, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {n: value for n, value in parameters.items() if not _is_output(spec, n)}


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
    given_roles = {given.role for given in images}
    problems += [
        FieldError(role, "required", "is missing")
        for role in spec.needs
        if role not in given_roles and not optional
    ]
    if len(pictures) > most:
        what = f"may be given {most} times at most"
        problems.append(FieldError("image", "repeated" if most else "unknown", what))
    return problems
