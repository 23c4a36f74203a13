"""Who reads what in a step: the part of its plan that stays from step to step while rows only grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..work_items import Indices, QuerySegment

Key = tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]


@dataclass(frozen=True)
class Structure:
    """Regions of keys and the rows that read them: runs that several segments read, above the segments' own keys.

    Regions are numbered from the root down; the last ones are those of the segments with tokens, in order, each the
    runs that it alone reads and its new tokens. `row_starts` int64 [segments + 1]: first row of each segment.
    `shared` [shared regions]: their runs. `own` [own regions]: their segments. `paths`: for each region, the runs
    above and in it, root first. `rows` int64: the rows of all regions, region after region, `row_counts` of each.
    `parts` int64: runs, or segments numbered after the runs, whose keys make up all regions in order, `part_counts`
    of each region.
    """

    row_starts: Indices
    shared: Indices
    own: Indices
    paths: tuple[tuple[int, ...], ...]
    rows: Indices
    row_counts: Indices
    parts: Indices
    part_counts: Indices


def structure_key(segments: Sequence[QuerySegment]) -> Key:
    """What a structure depends on, besides the number of runs."""
    return tuple(segment.ancestors for segment in segments), tuple(len(segment.slots) for segment in segments)


def make_structure(key: Key, run_count: int) -> Structure:
    """The structure of a step with such segments over `run_count` runs."""
    ancestors, lengths = key
    row_starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    own = np.flatnonzero(np.asarray(lengths, np.int64))
    above = [ancestors[number] for number in own.tolist()]
    depths = np.fromiter(map(len, above), np.int64, len(above))
    flat = np.fromiter(chain.from_iterable(above), np.int64, int(depths.sum()))
    readers = np.bincount(flat, minlength=run_count)
    order = np.argsort(flat, kind="stable")
    reader_starts = np.cumsum(readers) - readers
    reader_of = np.repeat(own, depths)[order]

    depth_of = np.zeros(run_count, np.int64)
    np.maximum.at(depth_of, flat, ragged_range(np.zeros_like(depths), depths))
    shared = np.flatnonzero(readers > 1)
    shared = shared[np.argsort(depth_of[shared], kind="stable")]
    members = reader_of[ragged_range(reader_starts[shared], readers[shared])]
    region_segments = np.concatenate([members, own])
    segment_counts = np.concatenate([readers[shared], np.ones(len(own), np.int64)])
    heights = np.diff(row_starts)[region_segments]
    rows = ragged_range(row_starts[region_segments], heights)
    firsts = np.cumsum(segment_counts) - segment_counts
    row_counts = np.add.reduceat(heights, firsts) if len(firsts) else np.empty(0, np.int64)

    is_private = (readers == 1).tolist()
    private = [tuple(run for run in path if is_private[run]) for path in above]
    first_reader = members[np.cumsum(readers[shared]) - readers[shared]].tolist()
    paths = [ancestors[reader][: ancestors[reader].index(run) + 1]
             for run, reader in zip(shared.tolist(), first_reader, strict=True)]
    parts = list(chain(shared.tolist(), *((*runs, run_count + number)
                                          for runs, number in zip(private, own.tolist(), strict=True))))
    part_counts = [1] * len(shared) + [len(runs) + 1 for runs in private]
    return Structure(row_starts, shared, own, (*paths, *above), rows, row_counts, np.array(parts, np.int64),
                     np.array(part_counts, np.int64))


def ragged_range(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Indices:
    """starts[0], starts[0]+1, … (counts[0] numbers), then the same from starts[1], and so on."""
    offsets = np.cumsum(counts) - counts
    return np.repeat(starts - offsets, counts) + np.arange(int(counts.sum()))
