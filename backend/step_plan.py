"""From pieces of contexts that are to be computed to the segments and shared runs of one model step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .context_tree import Node
from .model_runner import KVRun, Segment, StepBatch

Place = tuple[int, int]
"""A node and the end of a piece of it, a position."""
Piece = tuple[Node, int, Place]
"""A node, the first position of a piece of it, and the piece's place."""


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
    is_next: bool = False
    """Whether this is the one token after those that a leaf holds, all of which are needed and resident."""

    @property
    def is_prefill(self) -> bool:
        """Whether this is a piece of a prompt rather than the one token that a decoding call adds."""
        return self.end - self.first > 1 or not self.wants_logits

    def token_ids(self) -> NDArray[np.int64]:
        """The tokens to compute, int64 [end - first]."""
        leaf = self.path[-1]
        if leaf.start <= self.first:
            return leaf.tokens.view(self.first - leaf.start, self.end - leaf.start)
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
    paths = _pieces(works)
    readers: dict[Place, int] = {}
    for path in paths:
        for _, _, place in path:
            readers[place] = readers.get(place, 0) + 1
    runs: list[KVRun] = []
    numbers: dict[Place, int] = {}
    segments = []
    for work, path in zip(works, paths, strict=True):
        ancestors = []
        begin, last = 0, len(path) - 1
        for i, (_, _, place) in enumerate(path):
            if i < last and readers[path[i + 1][2]] == readers[place]:
                continue
            number = numbers.get(place)
            if number is None:
                number = numbers[place] = len(runs)
                runs.append(_join(path[begin : i + 1]))
            ancestors.append(number)
            begin = i + 1
        segments.append(Segment(work.token_ids(), work.slots, work.first, tuple(ancestors), work.wants_logits))
    return StepBatch(runs, segments)


def _pieces(works: list[Work]) -> list[list[Piece]]:
    """What each work reads, in order."""
    whole: dict[int, Place] = {}
    cuts: dict[int, set[int]] = {}
    paths: list[list[Piece]] = []
    for work in works:
        path, first = [], work.first
        for node in work.path:
            if node.start >= first:
                break
            end = node.start + node.tokens.size
            end = end if end < first else first
            place = whole.get(node.id)
            if place is None:
                place = whole[node.id] = node.id, end
            elif place[1] != end:
                cuts.setdefault(node.id, {place[1]}).add(end)
            path.append((node, node.start, place))
        paths.append(path)
    if not cuts:
        return paths
    ends = {identifier: sorted(found) for identifier, found in cuts.items()}
    return [_cut(path, ends, work.first) for work, path in zip(works, paths, strict=True)]


def _cut(path: list[Piece], ends: dict[int, list[int]], first: int) -> list[Piece]:
    """`path` with its nodes cut at `ends`, as far as they come before `first`."""
    pieces = []
    for node, start, place in path:
        for end in ends.get(node.id, (place[1],)):
            if end <= first:
                pieces.append((node, start, (node.id, end)))
                start = end
    return pieces


def _join(pieces: list[Piece]) -> KVRun:
    parts = [node.slots.view(start - node.start, end - node.start) for node, start, (_, end) in pieces]
    return KVRun(pieces[-1][0].id, parts[0] if len(parts) == 1 else np.concatenate(parts), pieces[0][1])
