"""Steps over trees of contexts to measure, their KV in random pages, and the least time that a machine needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PAGE = 16

Levels = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Layer:
    """One layer's attention."""

    heads: int
    kv_heads: int
    size: int
    dtype: torch.dtype

    @property
    def key_bytes(self) -> int:
        """Bytes of the key and the value of one token."""
        return 2 * self.kv_heads * self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Tokens:
    """Consecutive tokens: a run of the tree, or new ones below the runs `ancestors`. Slots int64 [n]."""

    slots: NDArray[np.int64]
    first_position: int
    ancestors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """`levels`: (nodes, tokens of each) from the root down, each node with equally many children; () if ragged. The
    last `new` tokens of each leaf are the step's rows. `nodes`: slots of the nodes of each level."""

    runs: list[Tokens]
    segments: list[Tokens]
    slots: int
    levels: Levels = ()
    nodes: tuple[NDArray[np.int64], ...] = ()
    new: int = 1

    @property
    def rows(self) -> int:
        """New tokens of all leaves."""
        return sum(len(segment.slots) for segment in self.segments)

    def context(self, leaf: int) -> NDArray[np.int64]:
        """Slots of the whole context of a leaf, its new tokens included."""
        segment = self.segments[leaf]
        return np.concatenate([*(self.runs[run].slots for run in segment.ancestors), segment.slots])

    def least_bytes(self, layer: Layer) -> int:
        """Bytes that one layer must move: each key once, queries and results."""
        keys = sum(len(tokens.slots) for tokens in (*self.runs, *self.segments))
        return keys * layer.key_bytes + 2 * self.rows * layer.heads * layer.size * layer.dtype.itemsize

    def operations(self, layer: Layer) -> int:
        """Floating-point operations of one layer."""
        seen = sum(len(s.slots) * s.first_position + len(s.slots) * (len(s.slots) + 1) // 2 for s in self.segments)
        return 4 * layer.heads * layer.size * seen


def uniform(levels: Levels, new: int = 1, seed: int = 0) -> Step:
    """A tree of `levels`; each count divides the next, lengths are multiples of a page."""
    random = np.random.default_rng(seed)
    pages = sum(count * -(-length // PAGE) for count, length in levels)
    order = random.permutation(pages)
    slots = (order[:, None] * PAGE + np.arange(PAGE)).reshape(-1)
    runs: list[Tokens] = []
    nodes = []
    at = first = 0
    for depth, (count, length) in enumerate(levels):
        last = depth == len(levels) - 1
        level = slots[at : at + count * length].reshape(count, length)
        nodes.append(level)
        runs += [Tokens(part[: length - new] if last else part, first) for part in level]
        at += count * length
        first += 0 if last else length
    leaves, length = levels[-1]
    starts = np.cumsum([0, *(count for count, _ in levels)]).tolist()
    segments = [
        Tokens(nodes[-1][leaf][length - new :], first + length - new,
               tuple(starts[depth] + leaf * count // leaves for depth, (count, _) in enumerate(levels)))
        for leaf in range(leaves)
    ]
    return Step(runs, segments, pages * PAGE, levels, tuple(nodes), new)


def ragged(seed: int, nodes: int = 12, longest: int = 90) -> Step:
    """A random tree with new tokens, from one to many, below some of its nodes; slots in random order."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, longest, nodes)
    parents = [-1, *(int(random.integers(-1, number)) for number in range(1, nodes))]
    leaves = [number for number in range(nodes) if number not in parents]
    news = {leaf: int(random.integers(1, 40)) if random.random() < 0.5 else 1 for leaf in leaves}
    total = int(lengths.sum()) + sum(news.values())
    slots = random.permutation(total + 7)
    borders = np.cumsum([0, *lengths.tolist(), *news.values()])
    parts = [slots[a:b] for a, b in pairwise(borders.tolist())]
    paths: list[tuple[int, ...]] = []
    runs = []
    for number, parent in enumerate(parents):
        path = paths[parent] if parent >= 0 else ()
        runs.append(Tokens(parts[number], sum(int(lengths[run]) for run in path)))
        paths.append((*path, number))
    segments = [Tokens(parts[nodes + i], sum(int(lengths[run]) for run in paths[leaf]), paths[leaf])
                for i, leaf in enumerate(leaves)]
    return Step(runs, segments, total + 7)


@dataclass(frozen=True)
class Tensors:
    """`query` [rows, heads, D]; `keys` and `values` [kv_heads, slots, D], NaN where the step has no token."""

    query: Tensor
    keys: Tensor
    values: Tensor


def tensors(step: Step, layer: Layer, device: torch.device, seed: int = 0) -> Tensors:
    """Random numbers for one layer of a step."""
    generator = torch.Generator(device).manual_seed(seed)
    used = torch.from_numpy(np.concatenate([part.slots for part in (*step.runs, *step.segments)])).to(device)
    shape = (layer.kv_heads, step.slots, layer.size)
    pools = [torch.full(shape, torch.nan, dtype=layer.dtype, device=device) for _ in range(2)]
    for pool in pools:
        for head in pool:
            head[used] = torch.randn(len(used), layer.size, generator=generator, device=device).to(layer.dtype)
    query = torch.randn(step.rows, layer.heads, layer.size, generator=generator, device=device).to(layer.dtype)
    return Tensors(query, pools[0], pools[1])


def exact(step: Step, layer: Layer, data: Tensors, leaves: list[int]) -> Tensor:
    """Attention of the rows of some leaves in float64, [rows, heads, D]."""
    result = []
    group = layer.heads // layer.kv_heads
    starts = np.cumsum([0, *(len(segment.slots) for segment in step.segments)])
    for leaf in leaves:
        context = torch.from_numpy(step.context(leaf)).to(data.query.device)
        count = len(step.segments[leaf].slots)
        keys, values = (pool[:, context].double().repeat_interleave(group, 0) for pool in (data.keys, data.values))
        query = data.query[starts[leaf] : starts[leaf + 1]].double().transpose(0, 1)
        scores = query @ keys.transpose(1, 2) * layer.size**-0.5
        later = torch.ones(count, len(context), dtype=torch.bool, device=scores.device).triu(len(context) - count + 1)
        result.append((scores.masked_fill(later, -torch.inf).softmax(-1) @ values).transpose(0, 1))
    return torch.cat(result)
