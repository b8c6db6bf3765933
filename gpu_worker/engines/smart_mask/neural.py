"""The engine around a network that masks what is pointed at. Light to import."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from gpu_worker.engines.base import (
    Arrays,
    DeviceOutcome,
    Hooks,
    Item,
    OnDevice,
    Picture,
    Result,
)

if TYPE_CHECKING:
    import numpy as np

    from gpu_worker.engines.smart_mask.seeing import Network


class NeuralMask(OnDevice):
    """A subclass has `spec`, `network`, `side_px` and `keep_bytes`.

    A batch carries images of any sizes with any prompts; an image that was seen in the
    last 15 minutes is not looked at again (`seeing`).
    """

    def network(self) -> Network[Any]:
        """Load it. Raises EngineUnavailable."""
        raise NotImplementedError

    @staticmethod
    def side_px() -> int:
        """The long side of the images that the network is shown."""
        raise NotImplementedError

    @staticmethod
    def keep_bytes() -> int:
        """How much of what was seen is kept, on the device."""
        raise NotImplementedError

    def load(self) -> None:
        from gpu_worker.engines.smart_mask.seeing import Seeing

        self._seeing: Seeing[Any] = Seeing(self.network(), self.keep_bytes())

    def warm_up(self) -> None:
        """A pass of each number of images, and a choice. On a CPU one pass is long,
        and there is nothing to choose kernels for."""
        from gpu_worker.engines import devices

        most = 1 if devices.device() == "cpu" else self.spec.batch_size
        self._seeing.warm_up(self.side_px(), range(1, most + 1))

    def unload(self) -> None:
        del self._seeing

    @staticmethod
    def batch_key(item: Item) -> Hashable | None:
        return ()

    @classmethod
    def decode(cls, item: Item) -> dict[str, np.ndarray[Any, Any]]:
        from gpu_worker.engines.smart_mask import asking

        return asking.arrays(item, cls.side_px())

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        return self._seeing.run(batch, hooks)

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Result | Picture, ...]:
        from gpu_worker.engines.smart_mask import answering

        return answering.pictures(item, made)
