"""Attention over a context tree in plain torch: shared runs are read once for all rows below them.

`AttentionPlan` turns the work items of a step into index tensors once; `tree_attention` runs them
for one layer. Large items run one by one, on views of the KV pool where their slots are contiguous;
small items are gathered and run together. The partial results of a row are merged by log-sum-exp,
in the order of its context. Sliding windows are part of the plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .attention_plan import Indices, KeyRun, QuerySegment, WorkItem, merge_levels, split_contiguous, work_items


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


def tree_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    plan: AttentionPlan,
    *,
    scale: float | None = None,
    soft_cap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of one layer for all rows of a step.

    `query` [heads, rows, D]; `keys` [kv_heads, slots, D] and `values` [kv_heads, slots, V], the whole
    pool, new tokens included; result [rows, heads, V] of query's dtype. `scale` multiplies the scores
    (default D^-0.5), `soft_cap` c turns a score s into c·tanh(s/c), `sinks` [heads] are scores of a
    key without a value. Slots that the plan does not name are never read.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    kv_heads = keys.shape[0]
    group = query.shape[0] // kv_heads
    grouped = query.reshape(kv_heads, group, plan.row_count, query.shape[-1])
    if not plan.pieces:
        return query.new_empty((0, query.shape[0], values.shape[-1]))
    outputs, log_sums = [], []
    for piece in plan.pieces:
        if isinstance(piece, ItemBatch):
            output, log_sum = _attend_batch(grouped, keys, values, piece, scale, soft_cap)
        elif _flash_applies(piece, query, values, soft_cap):
            output, log_sum = _attend_flash(grouped, keys, values, piece, scale)
        else:
            output, log_sum = _attend_single(grouped, keys, values, piece, scale, soft_cap, plan.shape.most_scores)
        outputs.append(output.flatten(0, 1))
        log_sums.append(log_sum.flatten(0, 1))
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
    log_sum = log_sums[0] if len(log_sums) == 1 else torch.cat(log_sums, dim=1)
    return _merge(output, log_sum, plan, sinks).transpose(0, 1).to(query.dtype)


def _merge(output: Tensor, log_sum: Tensor, plan: AttentionPlan, sinks: Tensor | None) -> Tensor:
    """Partial results [heads, partials, V] with log-sums [heads, partials] to rows [heads, rows, V]."""
    (_, sources), *later = plan.levels
    first, first_sum = _pick(output, sources), _pick(log_sum, sources)
    if not later and sinks is None:
        return first
    total = first_sum
    for rows, sources in later:
        part_sum = _pick(log_sum, sources)
        if rows is None:
            total = torch.logaddexp(total, part_sum)
        else:
            total = total.index_copy(1, rows, torch.logaddexp(total.index_select(1, rows), part_sum))
    if sinks is not None:
        total = torch.logaddexp(total, sinks.to(total.dtype)[:, None].expand_as(total))
    merged = first * (first_sum - total).exp_()[..., None]
    for rows, sources in later:
        part, part_sum = _pick(output, sources), _pick(log_sum, sources)
        if rows is None:
            merged += part * (part_sum - total).exp_()[..., None]
        else:
            weight = (part_sum - total.index_select(1, rows)).exp_()
            merged.index_add_(1, rows, part * weight[..., None])
    return merged


def _attend_batch(
    grouped: Tensor, keys: Tensor, values: Tensor, batch: ItemBatch, scale: float, soft_cap: float | None
) -> tuple[Tensor, Tensor]:
    """Partial results [kv_heads, group, count·r, V] and log-sums of a batch of small items."""
    kv_heads, group, _, head_dim = grouped.shape
    count = batch.count
    height = len(batch.rows) // count
    query = grouped.index_select(2, batch.rows).view(kv_heads, group, count, height, head_dim).transpose(1, 2)
    output, log_sum = _attend(
        query.reshape(kv_heads * count, group * height, head_dim),
        keys.index_select(1, batch.slots).view(kv_heads * count, -1, head_dim),
        values.index_select(1, batch.slots).view(kv_heads * count, -1, values.shape[-1]),
        batch.hidden,
        scale,
        soft_cap,
    )
    output = output.view(kv_heads, count, group, height, -1).transpose(1, 2)
    log_sum = log_sum.view(kv_heads, count, group, height).transpose(1, 2)
    return output.reshape(kv_heads, group, count * height, -1), log_sum.reshape(kv_heads, group, count * height)


def _attend_single(
    grouped: Tensor,
    keys: Tensor,
    values: Tensor,
    item: SingleItem,
    scale: float,
    soft_cap: float | None,
    most_scores: int,
) -> tuple[Tensor, Tensor]:
    """Partial results [kv_heads, group, r, V] and log-sums, in tiles of rows that bound the scores' memory."""
    query, key, value = _select(grouped, item.rows), _pick(keys, item.slots), _pick(values, item.slots)
    kv_heads, group, row_count, head_dim = query.shape
    key_count = key.shape[1]
    tile = max(1, most_scores // key_count)
    outputs, log_sums = [], []
    for start in range(0, row_count, tile):
        stop = min(start + tile, row_count)
        seen = stop if item.causal else key_count
        hidden = item.hidden[:, start:stop] if item.hidden is not None else None
        if item.causal and stop - start > 1:
            hidden = torch.ones((1, stop - start, seen), dtype=torch.bool, device=query.device).triu_(start + 1)
        output, log_sum = _attend(
            query[:, :, start:stop].reshape(kv_heads, group * (stop - start), head_dim),
            key[:, :seen],
            value[:, :seen],
            hidden,
            scale,
            soft_cap,
        )
        outputs.append(output.view(kv_heads, group, stop - start, -1))
        log_sums.append(log_sum.view(kv_heads, group, stop - start))
    if len(outputs) == 1:
        return outputs[0], log_sums[0]
    return torch.cat(outputs, dim=2), torch.cat(log_sums, dim=2)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None, scale: float, soft_cap: float | None
) -> tuple[Tensor, Tensor]:
    """Softmax attention of [b, m, D] over [b, k, D]; `hidden` [i, r, k] where b = kv_heads·i and m = group·r."""
    scores = torch.bmm(query, key.transpose(1, 2))
    if scores.dtype in (torch.bfloat16, torch.float16):
        scores = scores.float()
    scores = scores.mul_(scale)
    if soft_cap is not None:
        scores = scores.div_(soft_cap).tanh_().mul_(soft_cap)
    if hidden is not None:
        items, rows, width = hidden.shape
        scores.view(-1, items, scores.shape[1] // rows, rows, width).masked_fill_(hidden[:, None], -math.inf)
    largest = scores.amax(dim=-1)
    weights = torch.softmax(scores, dim=-1)
    # The largest weight is exp(largest - log_sum).
    log_sum = largest - weights.amax(dim=-1).log_()
    return torch.bmm(weights.to(value.dtype), value), log_sum


def _flash_applies(item: SingleItem, query: Tensor, values: Tensor, soft_cap: float | None) -> bool:
    """Whether torch's CPU flash operator computes this item: no mask but the square causal one."""
    return (
        query.device.type == "cpu" and item.hidden is None and soft_cap is None and query.shape[-1] == values.shape[-1]
    )


def _attend_flash(
    grouped: Tensor, keys: Tensor, values: Tensor, item: SingleItem, scale: float
) -> tuple[Tensor, Tensor]:
    """Partial results [kv_heads, group, r, V] and log-sums from torch's CPU flash operator.

    It never sees empty inputs (the plan has none), on which it kills the process.
    """
    query, key, value = _select(grouped, item.rows), _pick(keys, item.slots), _pick(values, item.slots)
    kv_heads, group, row_count, head_dim = query.shape
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    if item.causal:
        key, value = key[:, None].expand(-1, group, -1, -1), value[:, None].expand(-1, group, -1, -1)
        output, log_sum = flash(query, key, value, 0.0, True, scale=scale)
        return output, log_sum
    packed = query.reshape(1, kv_heads, group * row_count, head_dim)
    output, log_sum = flash(packed, key[None], value[None], 0.0, False, scale=scale)
    shape = (kv_heads, group, row_count)
    return output.reshape(*shape, head_dim), log_sum.reshape(shape)


def _select(grouped: Tensor, rows: slice | Tensor) -> Tensor:
    return grouped[:, :, rows] if isinstance(rows, slice) else grouped.index_select(2, rows)


def _pick(pool: Tensor, slots: slice | Tensor) -> Tensor:
    return pool[:, slots] if isinstance(slots, slice) else pool.index_select(1, slots)
