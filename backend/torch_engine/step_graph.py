"""Work that is recorded once and replayed: the same launches on the same buffers, only what these hold differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

WARM_UP = 2
"""Runs before the recording: kernels are compiled and chosen in them."""


class StepGraph(Protocol):
    """Recorded work."""

    def replay(self) -> None:
        """Do the work again, on what its buffers hold now."""


class GraphMaker(Protocol):
    """Records work. Raises whatever the work or the device raises where that cannot be recorded."""

    def capture(self, work: Callable[[], None]) -> StepGraph:
        """Do `work`, which allocates nothing that outlives it, a few times, and record it."""


class CudaGraphs:
    """Implements `GraphMaker` by CUDA graphs, which share their memory: none runs beside another."""

    def __init__(self) -> None:
        self._pool: Any = None

    def capture(self, work: Callable[[], None]) -> StepGraph:
        """See `GraphMaker`."""
        cuda: Any = torch.cuda
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        cuda.current_stream().wait_stream(stream)
        cuda.synchronize()
        graph = cuda.CUDAGraph()
        # Other engines of the process may allocate memory meanwhile.
        with cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        self._pool = graph.pool()
        recorded: StepGraph = graph
        return recorded
