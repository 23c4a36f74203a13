"""Attention over a context tree in plain torch: shared runs are read once for all rows below them.

Large items of a plan run one by one, on views of the KV pool where their slots are contiguous; small
items are gathered and run together. The partial results of a row are merged by log-sum-exp, in the
order of its context. Sliding windows are part of the plan.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .attention_plan import AttentionPlan, ItemBatch, SingleItem


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
