"""From pieces of contexts that are to be computed to the segments and shared runs of one model step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .context_tree import Node
from .model_runner import KVRun, Segment, StepBatch


@dataclass
class Work:
    """Tokens `first..end` (positions) of the context that `path` leads to, root first.

    `slots` int64 [end - first]. `reserved`: the nodes whose KV becomes resident with this step; empty where one
    known token is only computed again for its logits. `filled`, `refilled`: how many of the tokens count as such.
    """

    path: list[Node]
    first: int
    end: int
    slots: NDArray[np.int64]
    wants_logits: bool
    reserved: list[Node] = field(default_factory=list)
    filled: int = 0
    refilled: int = 0
    is_early: bool = False
    """Whether no call needs the tokens yet."""

    @property
    def is_prefill(self) -> bool:
        """Whether this is a piece of a prompt rather than the one token that a decoding call adds."""
        return self.end - self.first > 1 or not self.wants_logits

    def token_ids(self) -> NDArray[np.int64]:
        """The tokens to compute, int64 [end - first]."""
        nodes = [node for node in self.path if node.end > self.first and node.start < self.end]
        parts = [node.tokens.view(max(self.first - node.start, 0), self.end - node.start) for node in nodes]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class StepSize:
    """What a step computes and reads, as `passes.cost_model.CostModel` counts it."""

    prefill_tokens: int
    decode_rows: int
    kv_read: int
    attended: int


def step_size(works: list[Work], batch: StepBatch) -> StepSize:
    """The size of the step of `works`, which `batch` was built from."""
    prefill = rows = attended = 0
    runs: set[int] = set()
    for work, segment in zip(works, batch.segments, strict=True):
        count = work.end - work.first
        if work.is_prefill:
            prefill += count
            attended += count * work.first + count * (count + 1) // 2
        else:
            rows += 1
            runs.update(segment.ancestors)
    return StepSize(prefill, rows, rows + sum(len(batch.runs[run].slots) for run in runs), attended)


def build_batch(works: list[Work]) -> StepBatch:
    """The step of all `works`. KV that the same works read is one run, as long as possible.

    Nodes are cut where some work reads only their beginning; then neighbours on a path that are read by the same
    works are joined, so that a run is as long as the sharing allows and is read once.
    """
    cuts: dict[int, set[int]] = {}
    for work in works:
        for node in work.path:
            if node.start < work.first:
                cuts.setdefault(node.id, set()).add(min(node.end, work.first))
    pieces = {node_id: sorted(ends) for node_id, ends in cuts.items()}
    paths = [_pieces_of(work, pieces) for work in works]
    readers = Counter((node.id, end) for path in paths for node, _, end in path)
    runs: list[KVRun] = []
    numbers: dict[tuple[int, int], int] = {}
    segments = []
    for work, path in zip(works, paths, strict=True):
        ancestors = []
        begin = 0
        for i, (node, _, end) in enumerate(path):
            count = readers[node.id, end]
            if i + 1 < len(path) and readers[path[i + 1][0].id, path[i + 1][2]] == count:
                continue
            key = (node.id, end)
            if key not in numbers:
                numbers[key] = len(runs)
                runs.append(_join(path[begin : i + 1]))
            ancestors.append(numbers[key])
            begin = i + 1
        segments.append(Segment(work.token_ids(), work.slots, work.first, tuple(ancestors), work.wants_logits))
    return StepBatch(tuple(runs), tuple(segments))


def _pieces_of(work: Work, pieces: dict[int, list[int]]) -> list[tuple[Node, int, int]]:
    """(node, first position, end position) of what `work` reads, in order."""
    result = []
    for node in work.path:
        start = node.start
        for end in pieces.get(node.id, ()):
            if end <= work.first:
                result.append((node, start, end))
                start = end
    return result


def _join(pieces: list[tuple[Node, int, int]]) -> KVRun:
    parts = [node.slots.view(start - node.start, end - node.start) for node, start, end in pieces]
    return KVRun(pieces[-1][0].id, parts[0] if len(parts) == 1 else np.concatenate(parts), pieces[0][1])
