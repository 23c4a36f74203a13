"""What the machine can do at best, measured: reading of memory and large matrix products, as one JSON object.

    python benchmarks/engine/limits.py [--threads 2]

Products are torch's (oneDNN and MKL), of 2048 × 2048 matrices; the best of some calls counts, as these are limits.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch

SIZE = 2048
READ_BYTES = 256 << 20
"""Far beyond any cache."""


def best_seconds(work: Callable[[], object], budget: float = 0.6) -> float:
    """The shortest of the calls that fit in `budget` seconds, at least five."""
    work()
    times: list[float] = []
    while len(times) < 5 or sum(times) < budget:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(threads: int) -> dict[str, float]:
    """`bandwidth` in bytes per second; `float32`, `bfloat16` and `int8` products in operations per second."""
    torch.set_num_threads(threads)
    memory = torch.ones(READ_BYTES // 4)
    found = {"bandwidth": READ_BYTES / best_seconds(memory.sum)}
    del memory
    operations = 2 * SIZE**3
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    for dtype in (torch.float32, torch.bfloat16):
        left, right = a.to(dtype), b.to(dtype)
        name = str(dtype).removeprefix("torch.")
        found[name] = operations / best_seconds(lambda left=left, right=right: torch.mm(left, right))  # type: ignore[misc]
    small_a, small_b = (torch.randint(-127, 128, (SIZE, SIZE), dtype=torch.int8) for _ in range(2))
    found["int8"] = operations / best_seconds(lambda: torch._int_mm(small_a, small_b))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    print(json.dumps(measure(parser.parse_args().threads)))


if __name__ == "__main__":
    main()
