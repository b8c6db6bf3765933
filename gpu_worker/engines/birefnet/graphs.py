"""Replaying what the device was told to do: a forward pass is thousands of small
launches, which Python sends more slowly than a fast device runs them. A CUDA graph
sends them at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

logger = logging.getLogger("gpu_worker.birefnet")

Size = tuple[int, int, int]
"""batch, height and width"""
WARM_UPS = 3
"""Passes before one is recorded: libraries choose their algorithms in the first."""


class Graphs:
    """The network on one CUDA device, by a graph for each size that was recorded.

    All share their memory: a result is valid until the next call. For one thread.
    """

    def __init__(self, network: Callable[[Tensor], list[Tensor]]) -> None:
        self._network = network
        self._graphs: dict[Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def record(
        self, batches: Iterable[int], height: int, width: int, like: Tensor
    ) -> None:
        """The largest batch first, so that the others find memory that it took. One
        that does not fit is left out; raises OutOfMemoryError if none does."""
        # Which convolution is the fastest is tried, and recorded with the rest.
        fastest = torch.backends.cudnn.flags(enabled=True, benchmark=True)
        with torch.no_grad(), fastest:
            for batch in sorted(batches, reverse=True):
                try:
                    self._record(like.new_zeros(batch, 3, height, width))
                except torch.cuda.OutOfMemoryError:
                    if batch == 1:
                        raise
                    logger.warning("a pass of %d does not fit into memory", batch)
                    torch.cuda.empty_cache()

    def _record(self, given: Tensor) -> None:
        self._warm_up(given)
        graph = torch.cuda.CUDAGraph()
        # Another engine's thread may use the device meanwhile.
        mode = "thread_local"
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode=mode):
            made = self._network(given)[-1]
        batch, _, height, width = given.shape
        self._graphs[batch, height, width] = graph, given, made

    def _warm_up(self, given: Tensor) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._network(given)
        torch.cuda.current_stream().wait_stream(stream)

    @torch.no_grad()
    def __call__(self, picture: Tensor) -> Tensor:
        """Logits (B, 1, H, W); where there is no graph for so many or more, step by
        step."""
        batch, _, height, width = picture.shape
        fitting = [
            size
            for size in self._graphs
            if size[0] >= batch and size[1:] == (height, width)
        ]
        if not fitting:
            return self._network(picture)[-1]
        graph, given, made = self._graphs[min(fitting)]
        given[:batch].copy_(picture)
        graph.replay()
        return made[:batch]
