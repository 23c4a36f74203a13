"""Trees for tests of attention: steps over random and adversarial context trees, unused KV slots full of NaN."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

Pairs = list[tuple[int, int]]
LAYOUTS = ["contiguous", "pages", "scattered"]


@dataclass(frozen=True)
class Run:
    slots: NDArray[np.int64]
    first_position: int


@dataclass(frozen=True)
class Segment:
    slots: NDArray[np.int64]
    first_position: int
    ancestors: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    runs: list[Run]
    segments: list[Segment]
    slot_count: int


def step(
    nodes: list[tuple[int, int]], queries: list[tuple[int, int]], layout: str = "contiguous", seed: int = 0
) -> Step:
    """A step over a tree. `nodes`: (parent or -1, length); `queries`: (node, n), its last n tokens are new.

    A resident run is what a node holds before its new tokens. Slots are `contiguous`, in shuffled
    `pages` of 16, or `scattered`.
    """
    total = sum(-(-length // 16) * 16 for _, length in nodes) + 16
    pages = np.arange(total).reshape(-1, 16)
    if layout == "pages":
        pages = np.random.default_rng(seed).permutation(pages)
    slots = pages.reshape(-1)
    if layout == "scattered":
        slots = np.random.default_rng(seed).permutation(slots)
    new = dict(queries)
    runs: list[Run] = []
    start: list[int] = []
    own: list[NDArray[np.int64]] = []
    offset = 0
    for number, (parent, length) in enumerate(nodes):
        start.append(start[parent] + nodes[parent][1] if parent >= 0 else 0)
        own.append(slots[offset : offset + length])
        offset += -(-length // 16) * 16
        runs.append(Run(own[number][: length - new.get(number, 0)], start[number]))
    segments = []
    for node, count in queries:
        chain = [node]
        while nodes[chain[-1]][0] >= 0:
            chain.append(nodes[chain[-1]][0])
        length = nodes[node][1]
        segments.append(Segment(own[node][length - count :], start[node] + length - count, tuple(reversed(chain))))
    return Step(runs, segments, total)


TREES: dict[str, tuple[Pairs, Pairs]] = {
    "one sequence": ([(-1, 37)], [(0, 1)]),
    "one key": ([(-1, 1)], [(0, 1)]),
    "two levels, 5 leaves": ([(-1, 100)] + [(0, 7 + 9 * i) for i in range(5)], [(i + 1, 1) for i in range(5)]),
    "three levels, ragged": (
        [(-1, 130), (0, 33), (0, 16), (1, 5), (1, 1), (2, 64), (2, 17)],
        [(3, 1), (4, 1), (5, 1), (6, 1)],
    ),
    "chunk on a shared prefix": ([(-1, 96), (0, 70), (0, 9)], [(1, 40), (2, 9)]),
    "mixed": ([(-1, 50), (0, 45), (0, 20), (0, 3), (-1, 18)], [(1, 20), (2, 1), (3, 3), (4, 18)]),
    "whole prompt": ([(-1, 77)], [(0, 77)]),
    "empty middle node": ([(-1, 40), (0, 0), (1, 9), (1, 3)], [(2, 1), (3, 2)]),
    "empty root": ([(-1, 0), (0, 4), (0, 2)], [(1, 1), (2, 2)]),
    "40 leaves": ([(-1, 64)] + [(0, 3)] * 40, [(i + 1, 1) for i in range(40)]),
    "a node without rows": ([(-1, 20), (0, 30), (0, 5)], [(2, 1)]),
    "runs of one token": ([(-1, 1), (0, 1), (1, 1), (1, 1), (0, 1)], [(2, 1), (3, 1), (4, 1)]),
    "64 deep, forked at each": (
        [(-1, 3)] + [(i, 1 + i % 3) for i in range(63)] + [(i, 1) for i in range(64)],
        [(64 + i, 1) for i in range(64)],
    ),
    "page borders": ([(-1, 16), (0, 15), (0, 16), (0, 17), (0, 33)], [(1, 1), (2, 16), (3, 1), (4, 17)]),
    "long runs": ([(-1, 600), (0, 300), (0, 520), (1, 40), (1, 2)], [(2, 1), (3, 33), (4, 1)]),
}


def tensors(step: Step, heads: int, kv_heads: int, dim: int, dtype: torch.dtype, gain: float = 1.0) -> list[Tensor]:
    """Random query, keys and values; unused slots hold NaN."""
    generator = torch.Generator().manual_seed(7)
    used = np.concatenate([run.slots for run in step.runs] + [segment.slots for segment in step.segments])
    pools = torch.full((2, kv_heads, step.slot_count, dim), torch.nan)
    pools[:, :, used] = torch.randn(2, kv_heads, len(used), dim, generator=generator)
    rows = sum(len(segment.slots) for segment in step.segments)
    query = torch.randn(heads, rows, dim, generator=generator) * gain
    return [part.to(dtype) for part in (query, pools[0], pools[1])]


@st.composite
def trees(draw: st.DrawFn) -> tuple[Pairs, Pairs]:
    """A random tree with new tokens in random nodes that nothing hangs below."""
    count = draw(st.integers(1, 12))
    nodes = [(-1 if i == 0 else draw(st.integers(-1, i - 1)), draw(st.integers(0, 40))) for i in range(count)]
    parents = {parent for parent, _ in nodes}
    leaves = [i for i in range(count) if i not in parents and nodes[i][1]]
    chosen = [leaf for leaf in leaves if draw(st.booleans())]
    return nodes, [(leaf, draw(st.integers(1, nodes[leaf][1]))) for leaf in chosen]
