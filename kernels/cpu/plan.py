"""A step's attention work as the integer arrays that the C++ kernel walks, made once for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..work_items import KeyRun, QuerySegment, WorkItem, work_items

PAGE = 16
"""Slots of a page of the KV pools."""
MOST_ROWS = 64
"""Rows (tokens × heads of a KV head) of one item."""
SHORTEST_SPLIT = 512
"""Keys below which an item is not split for the sake of idle threads."""

Numbers = NDArray[np.int32]


class ItemPlan:
    """The items of one step, `group` query heads for each KV head.

    `items` int32 [n, 8]: first row, rows, first span, spans, first partial, masked, keys, 0. `rows` int32: tokens.
    `ranges` int32 [rows, 2]: which keys of its item a row sees. `spans` int32 [s, 3]: page, first slot, end slot.
    `merge_starts` [tokens + 1], `merge_partials`: the partial results of each token, in the order of its context.
    `kv_tokens_read`: keys that a layer reads, a shared run counted once. `pairs`: of a row and a key.
    """

    def __init__(self, runs: Sequence[KeyRun], segments: Sequence[QuerySegment], *, group: int,
                 window: int | None = None, parts: int = 1) -> None:
        self.row_count = sum(len(segment.slots) for segment in segments)
        items = work_items(runs, segments, window)
        if parts > 1:
            items = [part for item in items for part in _split_keys(item, parts)]
        self.kv_tokens_read = sum(len(item.slots) for item in items)
        self.pairs = sum(len(item.rows) * len(item.slots) for item in items)
        self.spans, span_starts = _spans(items)
        rows = np.concatenate([item.rows for item in items]) if items else np.empty(0, np.int64)
        self.rows: Numbers = rows.astype(np.int32)
        self.partial_count = len(rows)
        self.ranges = _ranges(items, len(rows))
        self.items = _tiles(items, span_starts, max(1, MOST_ROWS // group))
        counts = np.bincount(rows, minlength=self.row_count)
        if self.row_count and counts.min() == 0:
            raise ValueError(f"query row {int(counts.argmin())} has no keys")
        self.merge_partials: Numbers = np.argsort(rows, kind="stable").astype(np.int32)
        self.merge_starts: Numbers = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _split_keys(item: WorkItem, parts: int) -> list[WorkItem]:
    """An item without a mask as `parts` items over fewer keys each."""
    keys = len(item.slots)
    count = min(parts, keys // SHORTEST_SPLIT)
    if item.causal or item.hidden is not None or count < 2:
        return [item]
    borders = [keys * part // count // PAGE * PAGE for part in range(count)] + [keys]
    return [WorkItem(item.rows, item.slots[a:b]) for a, b in pairwise(borders)]


def _spans(items: Sequence[WorkItem]) -> tuple[Numbers, NDArray[np.int64]]:
    """Runs of slots inside one page, and the number of the first of each item (one more at the end)."""
    if not items:
        return np.empty((0, 3), np.int32), np.zeros(1, np.int64)
    slots = np.concatenate([item.slots for item in items])
    borders = np.cumsum([0, *(len(item.slots) for item in items)])
    begins = np.ones(len(slots), np.bool_)
    begins[1:] = (np.diff(slots) != 1) | (slots[1:] % PAGE == 0)
    begins[borders[:-1]] = True
    first = np.flatnonzero(begins)
    end = np.append(first[1:], len(slots))
    page, start = np.divmod(slots[first], PAGE)
    spans = np.stack([page, start, start + (end - first)], axis=1).astype(np.int32)
    return spans, np.searchsorted(first, borders)


def _ranges(items: Sequence[WorkItem], rows: int) -> Numbers:
    """The keys that each row of a masked item sees: they are always next to one another."""
    ranges = np.zeros((rows, 2), np.int32)
    at = 0
    for item in items:
        count = len(item.rows)
        if item.causal:
            ranges[at : at + count, 1] = np.arange(1, count + 1)
        elif item.hidden is not None:
            seen = ~item.hidden
            ranges[at : at + count, 0] = seen.argmax(axis=1)
            ranges[at : at + count, 1] = seen.shape[1] - seen[:, ::-1].argmax(axis=1)
        at += count
    return ranges


def _tiles(items: Sequence[WorkItem], span_starts: NDArray[np.int64], most: int) -> Numbers:
    """Items of at most `most` tokens, those with most work first, so that threads end together."""
    table = np.array([[len(item.rows), item.causal or item.hidden is not None, len(item.slots)] for item in items],
                     np.int64).reshape(-1, 3)
    counts, masked, keys = table.T
    first_row = np.cumsum(counts) - counts
    tiles = -(-counts // most)
    which = np.repeat(np.arange(len(items)), tiles)
    number = np.arange(len(which)) - np.repeat(np.cumsum(tiles) - tiles, tiles)
    start = number * most
    height = np.minimum(counts[which] - start, most)
    first = first_row[which] + start
    spans = np.diff(span_starts)
    result = np.stack([first, height, span_starts[:-1][which], spans[which], first, masked[which], keys[which],
                       np.zeros_like(which)], axis=1)
    order = np.argsort(-height * keys[which], kind="stable")
    return np.ascontiguousarray(result[order]).astype(np.int32)
