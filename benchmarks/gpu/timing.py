"""Times of work on a device, and what the device can do at best."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

CACHE = 256 << 20
"""Bytes that are written between calls, so that none finds its keys in the cache."""


def seconds(work: Callable[[], object], device: torch.device, calls: int) -> float:
    """Median time of one call. On a GPU: of the replay of its CUDA graph, with a cold cache."""
    if device.type != "cuda":
        return statistics.median(_elapsed(work) for _ in range(calls))
    graph = captured(work)
    cache = torch.empty(CACHE, dtype=torch.uint8, device=device)
    times = []
    for _ in range(calls):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        cache.zero_()
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def captured(work: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """A CUDA graph of `work`, which has run before."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


def _elapsed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Machine:
    """Measured: bytes per second that a copy reads and writes, operations per second of a large product."""

    bandwidth: float
    operations: float

    def least_seconds(self, bytes_moved: int, operations: int) -> float:
        """The roofline: no work is done faster."""
        return max(bytes_moved / self.bandwidth, operations / self.operations)


def measure_machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """Both limits of `device`, by torch's own copy and product."""
    large = device.type == "cuda"
    source = torch.zeros(1 << 30 if large else 1 << 22, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    size = 8192 if large else 256
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(a)
    calls = 20 if large else 3
    return Machine(2 * source.numel() / seconds(lambda: target.copy_(source), device, calls),
                   2 * size**3 / seconds(lambda: torch.mm(a, b, out=product), device, calls))
