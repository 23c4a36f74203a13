"""The keys of each region of a step: which positions it covers, and the slots of its keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..work_items import Indices, KeyRun, QuerySegment
from .structure import Structure

FOLDED = 16
"""Shared runs of fewer keys are read with what hangs below them: a partial result costs more than reading them."""

GAP = "the runs above a segment do not follow one another without gaps"


@dataclass(frozen=True)
class Regions:
    """Region r covers the positions begin[r]..end[r] of its rows' contexts (int64); the slots of its keys are those
    from key_start[r] of `slots` int32."""

    begin: Indices
    end: Indices
    key_start: Indices
    slots: NDArray[np.int32]


def joined_regions(structure: Structure, runs: Sequence[KeyRun], segments: Sequence[QuerySegment],
                   span: int) -> Regions:
    """A region is a run that several segments read, or what only one segment reads. `span` is not used."""
    shared_lengths = np.fromiter((len(runs[run].slots) for run in structure.shared.tolist()), np.int64)
    if ((shared_lengths > 0) & (shared_lengths < FOLDED)).any():
        return _cut_regions(structure, runs, segments, lambda begin, end: end if end - begin >= FOLDED else begin)
    sources = [*runs, *segments]
    parts = [sources[part] for part in structure.parts.tolist()]
    slots = [part.slots for part in parts]
    lengths = np.fromiter(map(len, slots), np.int64, len(slots))
    positions = np.fromiter((part.first_position for part in parts), np.int64, len(parts))
    starts = np.cumsum(structure.part_counts) - structure.part_counts
    last = starts + structure.part_counts - 1
    follows = positions[1:] == positions[:-1] + lengths[:-1]
    follows[last[:-1]] = True
    if not follows.all():
        raise ValueError(GAP)
    return _regions(positions[starts], positions[last] + lengths[last], slots)


def aligned_regions(structure: Structure, runs: Sequence[KeyRun], segments: Sequence[QuerySegment],
                    span: int) -> Regions:
    """Shared regions end at multiples of `span`: what is left of a run is read with what hangs below it."""
    return _cut_regions(structure, runs, segments, lambda begin, end: max(begin, end // span * span))


def _cut_regions(structure: Structure, runs: Sequence[KeyRun], segments: Sequence[QuerySegment],
                 cut: Callable[[int, int], int]) -> Regions:
    """Regions whose shared ones end at `cut(first position of the region, end of its run)`."""
    ends: dict[int, int] = {}
    """Up to which position the shared runs down to this one are covered."""
    begins: list[int] = []
    limits: list[int] = []
    parts: list[Indices] = []
    shared = len(structure.shared)
    for number, path in enumerate(structure.paths):
        segment = segments[structure.own[number - shared]] if number >= shared else None
        above = path if segment is not None else path[:-1]
        begin = next((ends[run] for run in reversed(above) if run in ends), _first_position(path, runs, segment))
        if segment is None:
            run = runs[path[-1]]
            end = ends[path[-1]] = cut(begin, run.first_position + len(run.slots))
        else:
            end = segment.first_position + len(segment.slots)
        begins.append(begin)
        limits.append(end)
        parts += _between(begin, end, [*(runs[run] for run in path), *([] if segment is None else [segment])])
    return _regions(np.array(begins, np.int64), np.array(limits, np.int64), parts)


def _first_position(path: Sequence[int], runs: Sequence[KeyRun], segment: QuerySegment | None) -> int:
    if path:
        return runs[path[0]].first_position
    assert segment is not None, "a shared region has a run"
    return segment.first_position


def _between(begin: int, end: int, path: Sequence[KeyRun | QuerySegment]) -> list[Indices]:
    """The slots of positions `begin`..`end` of a context."""
    found = []
    for part in path:
        first = max(0, begin - part.first_position)
        last = min(len(part.slots), end - part.first_position)
        if first < last:
            found.append(part.slots[first:last])
    return found


def _regions(begin: Indices, end: Indices, parts: Sequence[Indices]) -> Regions:
    lengths = end - begin
    slots = np.concatenate(parts, dtype=np.int32, casting="same_kind") if parts else np.empty(0, np.int32)
    if len(slots) != int(lengths.sum()):
        raise ValueError(GAP)
    return Regions(begin, end, np.cumsum(lengths) - lengths, slots)
