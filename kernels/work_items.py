"""Plans attention over a context tree: which query rows read which runs of KV slots.

A step of an engine is a set of segments (new tokens) below runs (resident tokens of tree nodes).
Runs that are read by the same segments form one work item: its keys are read once for all rows
that descend from it, and its partial results meet those of the other items of a row by
log-sum-exp. Runs that only one decoded token reads are joined with that token. The plan depends on
the step and on the window, not on the layer, so layers share it.
Source of the decomposition: Hydragen (arXiv 2402.05099), FastTree (MLSys'25).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

ROW_BLOCK = 256
"""Rows of a chunk that are masked together when the chunk is longer than the window."""


class KeyRun(Protocol):
    """Resident keys: `slots` int64 [n], the first of them at `first_position` of its context."""

    @property
    def slots(self) -> Indices: ...

    @property
    def first_position(self) -> int: ...


class QuerySegment(Protocol):
    """New tokens: `slots` int64 [n] of their own keys; `ancestors` are indices of runs, root first."""

    @property
    def slots(self) -> Indices: ...

    @property
    def first_position(self) -> int: ...

    @property
    def ancestors(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class WorkItem:
    """Query `rows` int64 [r] attend to the keys in `slots` int64 [k].

    All of them, or with `causal` (r = k) row i to keys 0..i, or those where `hidden` bool [r, k] is
    False; every row sees at least one key.
    """

    rows: Indices
    slots: Indices
    causal: bool = False
    hidden: NDArray[np.bool_] | None = None


def work_items(runs: Sequence[KeyRun], segments: Sequence[QuerySegment], window: int | None = None) -> list[WorkItem]:
    """The work of one step; for each row, items appear in the order of its context, root first.

    Rows number the tokens of all segments in order. With a `window` of w tokens, a row at position p
    sees the keys at positions p-w+1 … p.
    """
    if window is not None and window < 1:
        raise ValueError(f"a sliding window holds at least one token, not {window}")
    readers: dict[int, list[int]] = {}
    row_starts = [0]
    for number, segment in enumerate(segments):
        row_starts.append(row_starts[-1] + len(segment.slots))
        for run in segment.ancestors:
            if len(runs[run].slots):
                readers.setdefault(run, []).append(number)
    groups: dict[tuple[int, ...], list[int]] = {}
    for run, users in readers.items():
        groups.setdefault(tuple(users), []).append(run)

    private: dict[int, list[int]] = {}
    shared: list[tuple[int, WorkItem, Indices, Indices]] = []
    for readers_of, members in groups.items():
        members.sort(key=lambda run: runs[run].first_position)
        if len(readers_of) == 1:
            private[readers_of[0]] = members
            continue
        rows = np.concatenate([np.arange(row_starts[user], row_starts[user + 1]) for user in readers_of])
        positions = np.concatenate([_positions(segments[user]) for user in readers_of])
        slots, key_positions = _keys([runs[run] for run in members])
        shared.append((runs[members[0]].first_position, WorkItem(rows, slots), positions, key_positions))

    items: list[WorkItem] = []
    for _, item, positions, key_positions in sorted(shared, key=lambda entry: entry[0]):
        items += _visible(item, positions, key_positions, window)
    for number, segment in enumerate(segments):
        rows = np.arange(row_starts[number], row_starts[number + 1])
        items += _own_items(segment, rows, [runs[run] for run in private.get(number, ())], window)
    return items


def _own_items(segment: QuerySegment, rows: Indices, private: list[KeyRun], window: int | None) -> Iterator[WorkItem]:
    """The keys that only this segment reads: runs of its own, then its new tokens."""
    count = len(rows)
    positions = _positions(segment)
    if count == 1:
        slots, key_positions = _keys([*private, segment])
        yield from _visible(WorkItem(rows, slots), positions, key_positions, window)
        return
    if private:
        slots, key_positions = _keys(private)
        yield from _visible(WorkItem(rows, slots), positions, key_positions, window)
    if window is None or count <= window:
        if count:
            yield WorkItem(rows, segment.slots, causal=True)
        return
    for start in range(0, count, ROW_BLOCK):
        block = slice(start, min(start + ROW_BLOCK, count))
        if start:
            earlier = WorkItem(rows[block], segment.slots[:start])
            yield from _visible(earlier, positions[block], positions[:start], window)
        if block.stop - start <= window:
            yield WorkItem(rows[block], segment.slots[block], causal=True)
        else:
            distance = positions[block, None] - positions[None, block]
            yield WorkItem(rows[block], segment.slots[block], hidden=(distance < 0) | (distance >= window))


def _visible(item: WorkItem, positions: Indices, key_positions: Indices, window: int | None) -> Iterator[WorkItem]:
    """The part of an unmasked item inside the window: keys that some rows see, then keys that all see."""
    if not len(item.rows) or not len(item.slots):
        return
    if window is None:
        yield item
        return
    all_see = key_positions > positions.max() - window
    some_see = ~all_see & (key_positions > positions.min() - window)
    if some_see.any():
        hidden = key_positions[None, some_see] <= positions[:, None] - window
        seeing = ~hidden.all(axis=1)
        yield WorkItem(item.rows[seeing], item.slots[some_see], hidden=hidden[seeing])
    if all_see.any():
        yield WorkItem(item.rows, item.slots[all_see])


def _positions(tokens: KeyRun | QuerySegment) -> Indices:
    return np.arange(tokens.first_position, tokens.first_position + len(tokens.slots))


def _keys(runs: Sequence[KeyRun | QuerySegment]) -> tuple[Indices, Indices]:
    """Slots and positions of consecutive runs, joined."""
    if len(runs) == 1:
        return runs[0].slots, _positions(runs[0])
    return np.concatenate([run.slots for run in runs]), np.concatenate([_positions(run) for run in runs])


def split_contiguous(item: WorkItem, shortest: int) -> list[WorkItem]:
    """Cut an item at gaps between slots, so that runs of `shortest` slots or more are read in place.

    What is shorter stays together in one item, to be gathered.
    """
    if item.causal or item.hidden is not None:
        return [item]
    gaps = np.flatnonzero(np.diff(item.slots) != 1) + 1
    if not len(gaps):
        return [item]
    borders = np.concatenate([[0], gaps, [len(item.slots)]])
    long_runs = np.flatnonzero(np.diff(borders) >= shortest)
    if not len(long_runs):
        return [item]
    rest = np.ones(len(item.slots), dtype=np.bool_)
    parts = []
    for run in long_runs.tolist():
        span = slice(int(borders[run]), int(borders[run + 1]))
        rest[span] = False
        parts.append(WorkItem(item.rows, item.slots[span]))
    if rest.any():
        parts.append(WorkItem(item.rows, item.slots[rest]))
    return parts


def merge_levels(items: Sequence[WorkItem], row_count: int) -> list[tuple[Indices, Indices]]:
    """Which partial results make up each row: level j holds (rows, partials) of the rows' j-th partial.

    Partials number the rows of all items in order. The order of a row's partials is that of the
    items, whatever else is in the batch. Raises ValueError when a row has no keys at all.
    """
    rows = np.concatenate([item.rows for item in items]) if items else np.empty(0, np.int64)
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=row_count)
    if row_count and counts.min() == 0:
        raise ValueError(f"query row {int(counts.argmin())} has no keys")
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    sorted_rows = rows[order]
    return [(sorted_rows[rank == level], order[rank == level]) for level in range(int(counts.max(initial=0)))]
