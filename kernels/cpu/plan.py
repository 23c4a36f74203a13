"""A step's attention work as the integer arrays that the C++ kernel walks, made once for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..work_items import Indices, KeyRun, QuerySegment, WorkItem, work_items
from .aligned_plan import AlignedItem, aligned_items

PAGE = 16
"""Slots of a page of the KV pools."""
MOST_ROWS = 64
"""Rows (tokens × heads of a KV head) of one item."""
SHORTEST_SPLIT = 512
"""Keys below which an item is not split for the sake of idle threads."""
SPARE_SPANS = 16
"""Pages that each row of a growing plan may begin before the plan has to be made anew."""

Numbers = NDArray[np.int32]


class ItemPlan:
    """The items of one step, `group` query heads for each KV head.

    `items` int32 [n, 8]: first row, rows, first span, spans, first partial, masked, keys, aligned. `rows` int32: their
    tokens.
    `ranges` int32 [rows, 2]: which keys of its item a row sees. `spans` int32 [s, 3]: page, first slot, end slot.
    `merge_starts` [tokens + 1], `merge_partials`: the partial results of each token, in the order of its context.
    `kv_tokens_read`: keys that a layer reads, a shared run counted once. `pairs`: of a row and a key.

    A plan that is `growing`, of segments of one token and without a window, becomes that of the next step by `grow`.
    The borders between a row's partial results depend on which of its keys other rows read, and on nothing else; in a
    plan that is `aligned` on positions only, and no bit of a row's result depends on anything but its own context.
    """

    def __init__(self, runs: Sequence[KeyRun], segments: Sequence[QuerySegment], *, group: int,
                 window: int | None = None, parts: int = 1, growing: bool = False, aligned: bool = False) -> None:
        self.row_count = sum(len(segment.slots) for segment in segments)
        items: Sequence[WorkItem | AlignedItem]
        if aligned:
            if growing or parts > 1:
                raise ValueError("an aligned plan neither grows nor is split")
            items = aligned_items(runs, segments, window)
        else:
            items = [part for item in work_items(runs, segments, window) for part in _split_keys(item, parts)]
        self.kv_tokens_read = sum(len(item.slots) for item in items)
        self.pairs = sum(len(item.rows) * len(item.slots) for item in items)
        self.spans, borders = _spans(items)
        first_spans, span_counts = borders[:-1], np.diff(borders)
        if growing:
            first_spans = self._spread_spans(first_spans, span_counts)
        rows = np.concatenate([item.rows for item in items]) if items else np.empty(0, np.int64)
        self.rows: Numbers = rows.astype(np.int32)
        self.partial_count = len(rows)
        self.ranges = _ranges(items, len(rows))
        self.items = _tiles(items, first_spans, span_counts, max(1, MOST_ROWS // group))
        counts = np.bincount(rows, minlength=self.row_count)
        if self.row_count and counts.min() == 0:
            raise ValueError(f"query row {int(counts.argmin())} has no keys")
        self.merge_partials: Numbers = np.argsort(rows, kind="stable").astype(np.int32)
        self.merge_starts: Numbers = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        if growing:
            self._find_own_items()

    def _spread_spans(self, first_spans: Indices, span_counts: Indices) -> Indices:
        """Put spare spans behind those of each row's own item; where the spans of the items begin then.

        The own items are the last ones, in the order of rows.
        """
        own = len(first_spans) - self.row_count
        spread = first_spans.copy()
        spread[own:] += SPARE_SPANS * np.arange(self.row_count)
        spans = np.zeros((len(self.spans) + SPARE_SPANS * self.row_count, 3), np.int32)
        spans[np.arange(len(self.spans)) + np.repeat(spread - first_spans, span_counts)] = self.spans
        self.spans = spans
        self._last_spans = (spread + span_counts)[own:] - 1
        self._span_limits = self._last_spans + SPARE_SPANS
        return spread

    def _find_own_items(self) -> None:
        first = self.partial_count - self.row_count
        entries = np.flatnonzero(self.items[:, 0] >= first)
        self._own_items = np.empty(self.row_count, np.int64)
        self._own_items[self.items[entries, 0] - first] = entries

    def grow(self, slots: Indices) -> bool:
        """Let row i read the key in `slots[i]` too; False, and nothing is done, where there is no room for that."""
        page, offset = np.divmod(slots, PAGE)
        last = self.spans[self._last_spans]
        begins = (offset == 0) | (last[:, 2] != offset) | (last[:, 0] != page)
        spans = self._last_spans + begins
        if (spans > self._span_limits).any():
            return False
        self._last_spans = spans
        self.spans[spans[begins]] = np.stack([page, offset, offset], axis=1)[begins]
        self.spans[spans, 2] += 1
        self.items[self._own_items, 3] += begins
        self.items[self._own_items, 6] += 1
        self.kv_tokens_read += self.row_count
        self.pairs += self.row_count
        return True


def _split_keys(item: WorkItem, parts: int) -> list[WorkItem]:
    """An item without a mask as `parts` items over fewer keys each."""
    keys = len(item.slots)
    count = min(parts, keys // SHORTEST_SPLIT)
    if item.causal or item.hidden is not None or count < 2:
        return [item]
    borders = [keys * part // count // PAGE * PAGE for part in range(count)] + [keys]
    return [WorkItem(item.rows, item.slots[a:b]) for a, b in pairwise(borders)]


def _spans(items: Sequence[WorkItem | AlignedItem]) -> tuple[Numbers, Indices]:
    """Runs of slots inside one page, and the number of the first of each item (one more at the end).

    Those of aligned items end at every `PAGE` keys as well.
    """
    if not items:
        return np.empty((0, 3), np.int32), np.zeros(1, np.int64)
    slots = np.concatenate([item.slots for item in items])
    borders = np.cumsum([0, *(len(item.slots) for item in items)])
    begins = np.ones(len(slots), np.bool_)
    begins[1:] = (np.diff(slots) != 1) | (slots[1:] % PAGE == 0)
    begins[borders[:-1]] = True
    for item, start in zip(items, borders[:-1].tolist(), strict=True):
        if isinstance(item, AlignedItem):
            begins[start : start + len(item.slots) : PAGE] = True
    first = np.flatnonzero(begins)
    end = np.append(first[1:], len(slots))
    page, start = np.divmod(slots[first], PAGE)
    spans = np.stack([page, start, start + (end - first)], axis=1).astype(np.int32)
    return spans, np.searchsorted(first, borders)


def _ranges(items: Sequence[WorkItem | AlignedItem], rows: int) -> Numbers:
    """The keys that each row of a masked item sees: they are always next to one another."""
    ranges = np.zeros((rows, 2), np.int32)
    at = 0
    for item in items:
        count = len(item.rows)
        if isinstance(item, AlignedItem):
            ranges[at : at + count] = item.ranges
        elif item.causal:
            ranges[at : at + count, 1] = np.arange(1, count + 1)
        elif item.hidden is not None:
            seen = ~item.hidden
            ranges[at : at + count, 0] = seen.argmax(axis=1)
            ranges[at : at + count, 1] = seen.shape[1] - seen[:, ::-1].argmax(axis=1)
        at += count
    return ranges


def _tiles(items: Sequence[WorkItem | AlignedItem], first_spans: Indices, span_counts: Indices, most: int) -> Numbers:
    """Items of at most `most` tokens, those with most work first, so that threads end together."""
    table = np.array([[len(item.rows), _is_masked(item), len(item.slots), isinstance(item, AlignedItem)]
                      for item in items], np.int64).reshape(-1, 4)
    counts, masked, keys, aligned = table.T
    first_row = np.cumsum(counts) - counts
    tiles = -(-counts // most)
    which = np.repeat(np.arange(len(items)), tiles)
    number = np.arange(len(which)) - np.repeat(np.cumsum(tiles) - tiles, tiles)
    start = number * most
    height = np.minimum(counts[which] - start, most)
    first = first_row[which] + start
    result = np.stack([first, height, first_spans[which], span_counts[which], first, masked[which], keys[which],
                       aligned[which]], axis=1)
    order = np.argsort(-height * keys[which], kind="stable")
    return np.ascontiguousarray(result[order]).astype(np.int32)


def _is_masked(item: WorkItem | AlignedItem) -> bool:
    """Whether some row does not see some key."""
    if isinstance(item, AlignedItem):
        return bool((item.ranges != (0, len(item.slots))).any())
    return item.causal or item.hidden is not None
