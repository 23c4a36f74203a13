"""A step's attention work as one array of integers, which the kernels walk; made on the host, once for all layers.

Its parts: a header with the offsets of the other parts, the items (longest first), the rows of the items, the
position of each row, the slots of the keys, and for each row the numbers of its partial results in the order of its
context. Nothing is done row by row: who reads what is kept while it stays (`structure.py`), the rest is arithmetic
on whole arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..planned_step import PlannedStep
from ..work_items import Indices, KeyRun, QuerySegment
from .grown import GrownRegions
from .regions import Regions, aligned_regions, joined_regions
from .structure import Key, Structure, make_structure, ragged_range, structure_key
from .tiles import Tiles

Numbers = NDArray[np.int32]

HEADER = 16
"""Integers before the items: the number of items, then the offset of each other part."""
ITEM = 8
"""Integers of an item: first row, rows, first key, keys, position of the first key, first partial, keys before those
that all rows see, keys that all rows see (a multiple of the tile's block; unmasked)."""
SHORTEST_SPAN, LONGEST_SPAN = 128, 4096
"""Keys of an item, where there is a choice: below, partial results cost more than idle programs."""
PROGRAMS_SHARE = 1.75
"""Items for each program that spans aim at, so that the last ones end together."""


@dataclass(frozen=True)
class LayerGroup:
    """Layers that share a plan. `group`: query heads of a KV head."""

    kv_heads: int
    group: int
    window: int | None = None


@dataclass(frozen=True)
class Plan:
    """`data` int32, the whole plan; `partial_count`: partial results that the items leave; `kv_tokens_read`: keys
    that a layer reads, a shared run counted once; `row_count`: rows, those of the padding included."""

    data: Numbers
    item_count: int
    row_count: int
    partial_count: int
    kv_tokens_read: int


class Planner:
    """Makes plans for `programs` persistent programs, and keeps what stays the same from one step to the next.

    `span`: keys of an item; None: as the work asks for. `invariant`: items end where the position in the context is
    a multiple of the span (256 unless given), whatever else is in the step, so that with one tile size
    (`Tiles.one`) no bit of a row's result depends on the other rows.
    """

    def __init__(self, tiles: Tiles, programs: int, *, span: int | None = None, invariant: bool = False) -> None:
        self.tiles = tiles
        self.programs = programs
        self.invariant = invariant
        self.span = 256 if invariant and span is None else span
        largest = max(tiles.small_keys, tiles.large_keys)
        if self.span is not None and (self.span < 1 or self.span % largest):
            raise ValueError(f"a span is a multiple of the {largest} keys of a block, not {self.span}")
        if invariant and not tiles.one:
            raise ValueError("results that do not depend on other rows need tiles of one size")
        self._key: tuple[Key, int] | None = None
        self._structure: Structure | None = None
        self._grown = GrownRegions()

    def plan(self, runs: Sequence[KeyRun], segments: Sequence[QuerySegment], layers: LayerGroup,
             padded_rows: int = 0) -> Plan:
        """The plan of one step. With `padded_rows`, rows without keys follow, up to that number.

        Raises ValueError for layers that the tiles do not hold, and for runs with gaps between them.
        """
        structure, regions = self._regions_of(runs, segments)
        counts = np.diff(structure.row_starts)
        firsts = np.fromiter((segment.first_position for segment in segments), np.int64, len(segments))
        return self._plan(structure, regions, ragged_range(firsts, counts), layers, padded_rows)

    def plan_step(self, step: PlannedStep, layers: LayerGroup, padded_rows: int = 0) -> Plan:
        """As `plan`; steps that follow one another are not looked at row by row."""
        if step.age == 0:
            return self.plan(step.runs, step.segments, layers, padded_rows)
        structure, regions = self._grown.of(step, lambda step: self._regions_of(step.runs, step.segments))
        return self._plan(structure, regions, step.positions, layers, padded_rows)

    def _plan(self, structure: Structure, regions: Regions, positions: Indices, layers: LayerGroup,
              padded_rows: int) -> Plan:
        if layers.window is not None and layers.window < 1:
            raise ValueError(f"a sliding window holds at least one token, not {layers.window}")
        if layers.group > self.tiles.large_rows:
            raise ValueError(f"a tile of {self.tiles.large_rows} rows does not hold the {layers.group} heads of a KV "
                             "head")
        items, tokens, read = self._items(structure, regions, positions, layers)
        row_count = max(padded_rows, len(positions))
        data = _assemble(items, structure.rows, positions, regions.slots, tokens, row_count)
        return Plan(data, len(items), row_count, len(tokens), read)

    def _regions_of(self, runs: Sequence[KeyRun], segments: Sequence[QuerySegment]) -> tuple[Structure, Regions]:
        structure = self._structure_of(runs, segments)
        make = aligned_regions if self.invariant else joined_regions
        return structure, make(structure, runs, segments, self.span or 0)

    def _structure_of(self, runs: Sequence[KeyRun], segments: Sequence[QuerySegment]) -> Structure:
        key = structure_key(segments), len(runs)
        if self._structure is None or key != self._key:
            self._key, self._structure = key, make_structure(key[0], key[1])
        return self._structure

    def _items(self, structure: Structure, regions: Regions, positions: Indices,
               layers: LayerGroup) -> tuple[Indices, Indices, int]:
        """Items [n, 8] longest first, the token of each partial result, and the keys read."""
        tiles = _row_tiles(structure, positions, max(1, self.tiles.large_rows // layers.group))
        is_small = (tiles.height * layers.group <= self.tiles.small_rows) & (not self.tiles.one)
        block = np.where(is_small, self.tiles.small_keys, self.tiles.large_keys)
        begin, end = regions.begin[tiles.region], regions.end[tiles.region]
        low = begin
        if layers.window is not None:
            low = begin + np.maximum(0, tiles.least - layers.window + 1 - begin) // block * block
        high = np.minimum(end, tiles.most + 1)
        keys = np.maximum(0, high - low)
        span = self._span(int(keys.sum()) * layers.kv_heads)
        if self.invariant:
            number = np.where(keys > 0, -(-high // span) - low // span, 0)
            size = np.full_like(keys, span)
            base = low // span * span
        else:
            number = -(-keys // span)
            size = (-(-keys // np.maximum(1, number)) + block - 1) // block * block
            number = -(-keys // np.maximum(1, size))
            base = low
        which = np.repeat(np.arange(len(keys)), number)
        start = base[which] + ragged_range(np.zeros_like(number), number) * size[which]
        first = np.maximum(start, low[which])
        last = np.minimum(start + size[which], high[which])
        head, full = self._unmasked(first, last, tiles.least[which], tiles.most[which], block[which], layers.window)
        height = tiles.height[which]
        partial = np.cumsum(height) - height
        items = np.stack([tiles.row[which], height, regions.key_start[tiles.region[which]] + first - begin[which],
                          last - first, first, partial, head, full], axis=1)
        tokens = structure.rows[ragged_range(tiles.row[which], height)]
        # Tiles of the same keys next to one another: the second finds them in the cache.
        order = np.lexsort((which, first, tiles.region[which], first - last))
        return items[order], tokens, _keys_read(tiles.region, low, high, len(regions.begin))

    def _span(self, work: int) -> int:
        """Keys of an item, so that `work` keys (counted for each KV head) keep all programs busy to the end."""
        if self.span is not None:
            return self.span
        largest = max(self.tiles.small_keys, self.tiles.large_keys)
        share = int(work / (PROGRAMS_SHARE * self.programs))
        return -(-min(max(share, SHORTEST_SPAN), LONGEST_SPAN) // largest) * largest

    def _unmasked(self, first: Indices, last: Indices, least: Indices, most: Indices, block: Indices,
                  window: int | None) -> tuple[Indices, Indices]:
        """Of keys at positions `first`..`last`, those before the whole blocks that all rows see, and these."""
        head = np.zeros_like(first)
        if window is not None:
            head = -(-np.maximum(0, most - window + 1 - first) // block) * block
        full = (np.minimum(last, least + 1) - first - head) // block * block
        # With tiles of one size, no bit may depend on what other rows see: one loop takes all blocks, in order.
        none = (full <= 0) | self.tiles.one
        return np.where(none, 0, head), np.where(none, 0, full)


@dataclass(frozen=True)
class _RowTiles:
    """Rows that one program takes at once: their region, first row and number, least and largest position."""

    region: Indices
    row: Indices
    height: Indices
    least: Indices
    most: Indices


def _row_tiles(structure: Structure, positions: Indices, most: int) -> _RowTiles:
    counts = structure.row_counts
    tiles = -(-counts // most)
    region = np.repeat(np.arange(len(counts)), tiles)
    offset = ragged_range(np.zeros_like(tiles), tiles) * most
    row = (np.cumsum(counts) - counts)[region] + offset
    at = positions[structure.rows]
    ends = (np.minimum.reduceat(at, row), np.maximum.reduceat(at, row)) if len(row) else (row, row)
    return _RowTiles(region, row, np.minimum(counts[region] - offset, most), *ends)


def _keys_read(region: Indices, low: Indices, high: Indices, count: int) -> int:
    lowest = np.full(count, np.iinfo(np.int64).max)
    highest = np.zeros(count, np.int64)
    some = high > low
    np.minimum.at(lowest, region[some], low[some])
    np.maximum.at(highest, region[some], high[some])
    return int(np.maximum(0, highest - np.minimum(lowest, highest)).sum())


def _assemble(items: Indices, rows: Indices, positions: Indices, slots: Numbers, tokens: Indices,
              row_count: int) -> Numbers:
    """All parts in one array, each of them in a place that is a multiple of 4."""
    # A stable sort of 16-bit numbers takes linear time.
    order = np.argsort(tokens.astype(np.uint16) if row_count < 1 << 16 else tokens, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(tokens, minlength=row_count))])
    parts: list[NDArray[Any]] = [items.reshape(-1), rows, positions, slots, starts, order]
    sizes = np.array([len(part) + -len(part) % 4 for part in parts])
    offsets = HEADER + np.cumsum(sizes) - sizes
    data = np.zeros(HEADER + int(sizes.sum()), np.int32)
    data[0] = len(items)
    data[1 : len(parts)] = offsets[1:]
    for part, offset in zip(parts, offsets.tolist(), strict=True):
        data[offset : offset + len(part)] = part
    return data
