"""Attention over a context tree in float64, one row at a time: what tests compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .work_items import KeyRun, QuerySegment


def reference_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    runs: Sequence[KeyRun],
    segments: Sequence[QuerySegment],
    *,
    scale: float,
    window: int | None = None,
    soft_cap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Shapes as in `tree_attention.tree_attention`; result float64 [rows, heads, V]."""
    group = query.shape[0] // keys.shape[0]
    tails = torch.full((query.shape[0], 1), -math.inf) if sinks is None else sinks[:, None]
    result: list[Tensor] = []
    for segment in segments:
        context = [slot for run in segment.ancestors for slot in runs[run].slots.tolist()]
        for own in range(1, len(segment.slots) + 1):
            visible = context + segment.slots[:own].tolist()
            visible = visible[-window:] if window is not None else visible
            key, value = (pool[:, visible].double().repeat_interleave(group, dim=0) for pool in (keys, values))
            scores = torch.einsum("hd,hkd->hk", query[:, len(result)].double(), key) * scale
            scores = scores if soft_cap is None else torch.tanh(scores / soft_cap) * soft_cap
            weights = torch.softmax(torch.cat([scores, tails.double()], dim=1), dim=1)[:, :-1]
            result.append(torch.einsum("hk,hkd->hd", weights, value))
    return torch.stack(result)
