"""What all hosted engines do, whoever the provider is.

    decode    in a child: the client's pictures, as files that providers take
    run       in a thread of the worker: the way through the provider (`driving`)
    encode    in a child: the provider's files as pictures

A job never shares its run with another: each has an account of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines.base import (
    Arrays,
    DeviceOutcome,
    Hooks,
    Item,
    OnDevice,
    Picture,
    Placement,
)
from gpu_worker.engines.hosted import options, pictures
from gpu_worker.engines.hosted.circuit import Circuits
from gpu_worker.engines.hosted.driving import Drive
from gpu_worker.engines.hosted.errors import HostedError, ProviderAccount
from gpu_worker.engines.hosted.memory import Memory
from gpu_worker.engines.hosted.provider import Account, Provider, Wish
from gpu_worker.engines.parameters import composing
from gpu_worker.engines.parameters.edit import DEFAULT_PROMPT
from gpu_worker.errors import EngineFailed, WorkerError

if TYPE_CHECKING:
    import numpy as np

    from gpu_worker.waiting import WaitingHooks

logger = logging.getLogger("gpu_worker.hosted")

CIRCUITS = Circuits(options.circuit_pause_s)


class Hosted(OnDevice):
    """An operation at a provider. `made_by` is `module:Class` of the provider."""

    spec: ClassVar[EngineSpec]
    placement: ClassVar[Placement] = "remote"
    made_by: ClassVar[str]

    @classmethod
    def name(cls) -> str:
        return cls.spec.provider or cls.spec.engine

    @classmethod
    def available(cls) -> Unavailable:
        options.check()
        return "" if options.key_of(cls.name()) else "provider_key_missing"

    @staticmethod
    def batch_key(item: Item) -> Hashable | None:
        return None

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        return pictures.prepared(item)

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Picture, ...]:
        return pictures.finished(item, made)

    def load(self) -> None:
        # What SDKs tell of each request is nobody's business.
        for loud in ("httpx", "httpx2", "google_genai", "openai", "fal_client"):
            logging.getLogger(loud).setLevel(logging.ERROR)
        module, _, name = self.made_by.partition(":")
        found = getattr(import_module(f"gpu_worker.engines.hosted.{module}"), name)
        self._provider: Provider = found()

    def model(self, engine: str) -> str:
        """What the provider calls the model of an engine of this name."""
        raise NotImplementedError

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        return [self._outcome(item, hooks) for item in batch]

    def _outcome(self, item: Item, hooks: Hooks) -> DeviceOutcome:
        try:
            return self._made(item, hooks)
        except WorkerError as error:
            return error
        except Exception as error:
            # Its text may hold the request, and the request the key: the type it is.
            logger.error("job %s: %s", item.job_id, _where(error))
            return EngineFailed()

    def _made(self, item: Item, hooks: Any) -> Arrays:
        wish = self._wish(item)
        drive = Drive(
            provider=self._provider,
            circuit=CIRCUITS.of(self._provider.name, wish.model),
            wish=wish,
            account=self._account(item),
            memory=Memory.read(item.checkpoint),
            talk=_Talk(item, hooks),
        )
        try:
            files, made = drive.run()
        except HostedError as error:
            raise _explained(error, own=drive.account.own) from None
        details = {"provider": self._provider.name, "model": wish.model}
        return pictures.as_arrays(files, details | made.details)

    def _wish(self, item: Item) -> Wish:
        masks = pictures.files_of(item.arrays, "mask_")
        return Wish(
            job_id=item.job_id,
            operation=item.operation,
            model=self.model(item.engine or self.spec.engine),
            prompt=composing.composed(item.parameters, otherwise=DEFAULT_PROMPT),
            parameters=item.parameters,
            pictures=tuple(pictures.files_of(item.arrays, "picture_")),
            mask=masks[0] if masks else None,
        )

    def _account(self, item: Item) -> Account:
        if item.own_key is not None:
            return Account(key=item.own_key, own=True)
        key = options.key_of(self.name())
        if not key:
            raise ProviderAccount("This provider needs a key.")
        return Account(key=key, own=False)


def _explained(error: HostedError, *, own: bool) -> HostedError:
    if own and type(error) is ProviderAccount:
        error.args = ("The provider does not accept your key, or it has no credit.",)
    return error


def _where(error: Exception) -> str:
    """The type of an error and the line of ours that it came through."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        line, trace = trace.tb_lineno, trace.tb_next
    return f"{type(error).__name__} at line {line}"


@dataclass(frozen=True, slots=True)
class _Talk:
    """A waiting lane's hooks, for one item."""

    item: Item
    hooks: WaitingHooks

    def progress(self, step: int, total: int, message: str) -> None:
        self.hooks.progress(self.item, step, total, message)

    def is_stopped(self) -> bool:
        return self.hooks.cancelled(self.item)

    def is_handed_back(self) -> bool:
        return self.hooks.handed_back(self.item)

    def keep(self, text: str, *, wait_s: float = 0) -> bool:
        return self.hooks.keep(self.item, text, wait_s=wait_s)
