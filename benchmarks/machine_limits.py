"""The limits of this machine, measured: bytes read from memory and products of matrices per second."""

from __future__ import annotations

import ctypes
import hashlib
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from semlang.kernels.cpu.library import Unavailable, cache_directory, find_compiler, load_kernels
from semlang.kernels.cpu.linear import PackedLinear
from semlang.kernels.cpu.memory import LARGE_PAGES

SOURCE = Path(__file__).with_name("machine_limits.cpp")
MEMORY = 512 << 20
"""Bytes that are read: more than any cache."""
STEPS = 2_000_000
SIDE = 2048
"""Rows, columns and depth of the product of matrices."""


@dataclass(frozen=True)
class Times:
    """Seconds of one call in each turn."""

    turns: list[float]

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.turns)

    @property
    def spread(self) -> str:
        """Lowest and highest, in percent of the median."""
        return f"{min(self.turns) / self.median * 100 - 100:+.0f} … {max(self.turns) / self.median * 100 - 100:+.0f} %"


@dataclass(frozen=True)
class Limits:
    """With `threads` threads: `bandwidth` bytes per second read from memory, `products` operations per second of the
    best large bf16 product of matrices (by `best`), and `registers`, what all cores could do if nothing were loaded."""

    threads: int
    bandwidth: float
    products: float
    best: str
    registers: float


def timed(sides: dict[str, Callable[[], object]], count: int, seconds: float = 0.03,
          clock: Callable[[], float] = time.perf_counter) -> dict[str, Times]:
    """Time the sides by turns; in each turn a side is called for about `seconds`."""
    calls = {}
    for name, side in sides.items():
        side()
        start = clock()
        side()
        calls[name] = max(1, min(10_000, int(seconds / (clock() - start))))
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(count):
        for name, side in sides.items():
            start = clock()
            for _ in range(calls[name]):
                side()
            taken[name].append((clock() - start) / calls[name])
    return {name: Times(values) for name, values in taken.items()}


def measure_limits(threads: int, turns: Callable[..., dict[str, Times]] = timed) -> Limits:
    """Needs the compiled kernels and a compiler. Raises RuntimeError without them."""
    kernels = load_kernels()
    if isinstance(kernels, Unavailable):
        raise RuntimeError(kernels.reason)
    probe = _probe()
    memory, sink = LARGE_PAGES.empty((MEMORY,), torch.uint8).fill_(1), ctypes.c_int64()
    read = turns({"": lambda: probe.read_memory(memory.data_ptr(), MEMORY, threads, ctypes.byref(sink))}, 7, 0.0)[""]
    x, weight = torch.randn(SIDE, SIDE).bfloat16(), torch.randn(SIDE, SIDE).bfloat16()
    ours = PackedLinear(weight, None, kernels)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, SIDE)
    products = turns({
        "our linear kernel": lambda: ours(x),
        "torch matmul": lambda: x @ weight,
        "oneDNN, prepacked": lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""),
    }, 5, 0.05)
    rate = turns({"": lambda: probe.multiply_pairs(STEPS)}, 3, 0.0)[""]
    best = min(products, key=lambda name: products[name].median)
    return Limits(threads, MEMORY / min(read.turns), 2 * SIDE**3 / products[best].median, best,
                  STEPS * probe.multiply_pairs(0) / min(rate.turns) * threads)


def _probe() -> ctypes.CDLL:
    """The compiled measuring loops, kept by the digest of their source."""
    compiler = find_compiler()
    if compiler is None:
        raise RuntimeError("there is no C++ compiler; install g++, or set CXX")
    path = cache_directory() / f"limits-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-w", "-o", str(path),
                        str(SOURCE)], check=True)
    probe = ctypes.CDLL(str(path))
    probe.multiply_pairs.argtypes = [ctypes.c_long]
    probe.read_memory.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_void_p]
    return probe
