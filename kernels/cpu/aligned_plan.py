"""Attention work whose parts depend on positions alone, so that no bit of a row's result depends on other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..work_items import Indices, KeyRun, QuerySegment

SPAN = 256
"""Keys of an item: the kernel takes so many at once."""

Piece = tuple[int, KeyRun | QuerySegment]
"""The number of a run, or -1 minus that of a segment, and its keys."""


@dataclass(frozen=True)
class AlignedItem:
    """Query `rows` int64 [r], each of which sees the keys `ranges[i, 0]` to `ranges[i, 1] - 1`, int64 [r, 2], of those
    in `slots` int64 [k], the first of which is at a multiple of `SPAN` in the context."""

    rows: Indices
    slots: Indices
    ranges: NDArray[np.int64]


def aligned_items(runs: Sequence[KeyRun], segments: Sequence[QuerySegment],
                  window: int | None = None) -> list[AlignedItem]:
    """The work of one step in items of the keys `SPAN · n` to `SPAN · (n + 1) - 1` of a context.

    Keys are read once for all rows where these have the whole span in common; for each row, items appear in the order
    of its context. Rows and `window` as in `work_items.work_items`. Raises ValueError for contexts that do not begin
    at position 0, or that have gaps.
    """
    if window is not None and window < 1:
        raise ValueError(f"a sliding window holds at least one token, not {window}")
    groups: dict[tuple[int, tuple[int, ...]], tuple[list[Piece], list[int]]] = {}
    for number, segment in enumerate(segments):
        if len(segment.slots):
            for span, pieces in _spans_of(number, segment, runs, window):
                names = tuple(name for name, _ in pieces)
                groups.setdefault((span, names), (pieces, []))[1].append(number)
    row_starts = np.cumsum([0, *(len(segment.slots) for segment in segments)])
    items = []
    for (span, _), (pieces, readers) in sorted(groups.items(), key=lambda entry: entry[0][0]):
        start = span * SPAN
        slots = np.concatenate([_slots_within(keys, start) for _, keys in pieces])
        rows = np.concatenate([np.arange(row_starts[reader], row_starts[reader + 1]) for reader in readers])
        positions = np.concatenate([segments[reader].first_position + np.arange(len(segments[reader].slots))
                                    for reader in readers])
        first = np.zeros_like(positions) if window is None else np.maximum(0, positions - window + 1 - start)
        end = np.minimum(len(slots), positions + 1 - start)
        seeing = first < end
        items.append(AlignedItem(rows[seeing], slots, np.stack([first, end], axis=1)[seeing]))
    return items


def _spans_of(number: int, segment: QuerySegment, runs: Sequence[KeyRun],
              window: int | None) -> list[tuple[int, list[Piece]]]:
    """The spans that rows of a segment see, and the pieces of its context that they are made of."""
    pieces: list[Piece] = [(run, runs[run]) for run in segment.ancestors if len(runs[run].slots)]
    pieces.append((-1 - number, segment))
    end = 0
    for _, keys in pieces:
        if keys.first_position != end:
            raise ValueError(f"the keys before position {keys.first_position} of a context end at {end}")
        end += len(keys.slots)
    least = 0 if window is None else max(0, segment.first_position - window + 1)
    found: dict[int, list[Piece]] = {}
    for piece in pieces:
        first = piece[1].first_position
        for span in range(max(first, least) // SPAN, (first + len(piece[1].slots) - 1) // SPAN + 1):
            found.setdefault(span, []).append(piece)
    return list(found.items())


def _slots_within(keys: KeyRun | QuerySegment, start: int) -> Indices:
    """The slots of the positions from `start` on, `SPAN` at most."""
    offset = start - keys.first_position
    return keys.slots[max(0, offset) : max(0, offset + SPAN)]
