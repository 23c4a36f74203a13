"""A step's attention work as index tensors on the device that computes it, made once for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .work_items import Indices, KeyRun, QuerySegment, WorkItem, merge_levels, split_contiguous, work_items


@dataclass(frozen=True)
class AttentionShape:
    """What the plan needs of a layer, `heads` a multiple of `kv_heads`, and where it runs."""

    heads: int
    kv_heads: int
    head_dim: int
    device: torch.device

    @property
    def longest_gather(self) -> int:
        """Keys up to which an item is gathered and batched; above, copying costs more than a call."""
        # CPU: measured break-even of a 15 µs call against copying K. CUDA: calls are dearer, copies cheaper.
        elements = 1 << 15 if self.device.type == "cpu" else 1 << 20
        return max(1, elements // (self.kv_heads * self.head_dim))

    @property
    def most_batched_scores(self) -> int:
        """Scores (rows × keys) up to which an item is batched."""
        return (1 << 16 if self.device.type == "cpu" else 1 << 24) // self.heads

    @property
    def most_scores(self) -> int:
        """Scores (rows × keys) that are materialised at once: 2 MiB on a CPU (its L2), 256 MiB on CUDA."""
        return (1 << 19 if self.device.type == "cpu" else 1 << 26) // self.heads


@dataclass(frozen=True)
class SingleItem:
    """One item: `rows` and `slots` are slices where they are contiguous; `hidden` bool [1, r, k]."""

    rows: slice | Tensor
    slots: slice | Tensor
    causal: bool
    hidden: Tensor | None


@dataclass(frozen=True)
class ItemBatch:
    """`count` items, padded: `rows` [count·r], `slots` [count·k], `hidden` bool [count, r, k]."""

    count: int
    rows: Tensor
    slots: Tensor
    hidden: Tensor | None


class AttentionPlan:
    """The work of one step, on the device that computes it.

    `pieces` are what runs; `levels` say which partial results belong to which rows (None: all rows, in
    order); `kv_tokens_read`: keys that a layer reads, a shared run counted once. Padding is not counted.
    """

    def __init__(
        self,
        runs: Sequence[KeyRun],
        segments: Sequence[QuerySegment],
        shape: AttentionShape,
        window: int | None = None,
    ) -> None:
        self.shape = shape
        self.row_count = sum(len(segment.slots) for segment in segments)
        items = [
            part
            for item in work_items(runs, segments, window)
            for part in split_contiguous(item, shape.longest_gather + 1)
        ]
        self.kv_tokens_read = sum(len(item.slots) for item in items)
        self.pieces: list[SingleItem | ItemBatch] = []
        starts = np.empty(len(items), np.int64)
        """Number of each item's first partial result."""
        partials = 0
        for group in _batches(items, shape):
            members = [items[number] for number in group]
            if len(group) == 1:
                self.pieces.append(_single(members[0], shape.device))
                height = len(members[0].rows)
            else:
                height = max(len(item.rows) for item in members)
                self.pieces.append(_batch(members, height, shape.device))
            starts[group] = partials + height * np.arange(len(group))
            partials += height * len(group)
        self.levels: list[tuple[Tensor | None, slice | Tensor]] = []
        numbers = [start + np.arange(len(item.rows)) for start, item in zip(starts.tolist(), items, strict=True)]
        numbering = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
        for rows, entries in merge_levels(items, self.row_count):
            targets = None if len(rows) == self.row_count else _tensor(rows, shape.device)
            self.levels.append((targets, _slice_or_tensor(numbering[entries], shape.device)))


def _batches(items: Sequence[WorkItem], shape: AttentionShape) -> list[list[int]]:
    """Items that run together (similar numbers of rows and keys, so that padding stays below 4×)."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, item in enumerate(items):
        rows, keys = len(item.rows), len(item.slots)
        small = keys <= shape.longest_gather and rows * keys <= shape.most_batched_scores
        # Below 32 keys a call costs more than the padding.
        kind = (rows.bit_length(), max(keys, 32).bit_length()) if small else (-1, number)
        groups.setdefault(kind, []).append(number)
    return [
        part for group in groups.values() for part in ([group] if len(group) > 2 else [[number] for number in group])
    ]


def _single(item: WorkItem, device: torch.device) -> SingleItem:
    hidden = None if item.hidden is None else _tensor(item.hidden[None], device)
    return SingleItem(_slice_or_tensor(item.rows, device), _slice_or_tensor(item.slots, device), item.causal, hidden)


def _batch(items: Sequence[WorkItem], height: int, device: torch.device) -> ItemBatch:
    """Padding repeats the first row (its result is not used) and the last slot (hidden, but finite)."""
    width = max(len(item.slots) for item in items)
    rows = np.empty((len(items), height), np.int64)
    slots = np.empty((len(items), width), np.int64)
    hidden = np.zeros((len(items), height, width), np.bool_)
    for number, item in enumerate(items):
        row_count, key_count = len(item.rows), len(item.slots)
        rows[number, :row_count], rows[number, row_count:] = item.rows, item.rows[0]
        slots[number, :key_count], slots[number, key_count:] = item.slots, item.slots[-1]
        hidden[number, :, key_count:] = True
        if item.causal:
            hidden[number, :row_count, :key_count] = np.triu(np.ones((row_count, key_count), np.bool_), 1)
        elif item.hidden is not None:
            hidden[number, :row_count, :key_count] = item.hidden
    mask = _tensor(hidden, device) if hidden.any() else None
    return ItemBatch(len(items), _tensor(rows.reshape(-1), device), _tensor(slots.reshape(-1), device), mask)


def _slice_or_tensor(indices: Indices, device: torch.device) -> slice | Tensor:
    first, last = int(indices[0]), int(indices[-1])
    if last - first == len(indices) - 1 and bool((np.diff(indices) == 1).all()):
        return slice(first, last + 1)
    return _tensor(indices, device)


def _tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
