"""Chooses the tokens of a step where its logits are, so that only token ids leave the device.

As `sampling.choose_token`, for all rows at once. Weights become integers before they are summed: sums of integers are
exact in any order, so that a row's token does not depend on how many rows are summed beside it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device_runner import TokenChoices
from ..sampling import UNDEFINED

WEIGHT_BITS = 44
"""Bits of the largest weight; 2^18 of these fit in 63 bits."""


def choose_on_device(logits: Tensor, choices: TokenChoices) -> Tensor:
    """The tokens, int64 [n] on the device of `logits` [rows, vocabulary]; nothing waits for the device.

    `UNDEFINED` where the logits hold NaN or nothing finite.
    """
    logits = logits[:, : choices.vocabulary_size]
    if not _is_range(choices.rows, len(logits)):
        logits = logits.index_select(0, to_device(choices.rows, logits.device))
    if len(choices.masked):
        logits = _masked(logits.float(), choices)
    tokens = logits.argmax(dim=-1)
    sampled = np.flatnonzero(choices.temperatures > 0)
    if len(sampled):
        rows = to_device(sampled, logits.device)
        tokens = tokens.index_copy(0, rows, _sampled(logits.index_select(0, rows).double(), choices, sampled))
    # Of a row with NaN, that is the largest; a row without finite numbers has no token.
    return tokens.masked_fill(~logits.amax(dim=-1).isfinite(), UNDEFINED)


def to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """A copy of `array` on `device`, without waiting for what runs there."""
    source = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return source.clone()
    # Torch keeps the pinned memory until the copy is done.
    return torch.empty(source.shape, dtype=source.dtype, pin_memory=True).copy_(source).to(device, non_blocking=True)


def _is_range(rows: NDArray[np.int64], count: int) -> bool:
    return len(rows) == count and bool((rows == np.arange(count)).all())


def _masked(logits: Tensor, choices: TokenChoices) -> Tensor:
    bits = to_device(choices.masks, logits.device)
    places = torch.arange(8, dtype=torch.uint8, device=logits.device)
    allowed = ((bits[:, :, None] >> places) & 1).flatten(1)[:, : logits.shape[1]].bool()
    rows = to_device(choices.masked, logits.device)
    return logits.index_copy(0, rows, logits.index_select(0, rows).masked_fill(~allowed, -torch.inf))


def _sampled(logits: Tensor, choices: TokenChoices, sampled: NDArray[np.int64]) -> Tensor:
    """Tokens of rows with a temperature, from float64 logits [n, vocabulary]."""
    size = logits.shape[1]

    def column(values: NDArray[np.generic]) -> Tensor:
        return to_device(values[sampled], logits.device)[:, None]

    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / column(choices.temperatures)
    weights = (scaled.exp() * 2.0**WEIGHT_BITS).long()
    top_k, top_p = choices.top_k[sampled], choices.top_p[sampled]
    if ((top_k > 0) & (top_k < size)).any() or (top_p < 1).any():
        falling, order = weights.sort(dim=-1, descending=True, stable=True)
        most = np.where((choices.top_k > 0) & (choices.top_k < size), choices.top_k, size)
        falling = falling.masked_fill(torch.arange(size, device=logits.device)[None] >= column(most), 0)
        sums = falling.cumsum(dim=-1)
        # Keep the fewest most probable tokens whose sum reaches top_p; the most probable one always stays.
        before = (sums - falling).double()
        dropped = (before >= sums[:, -1:].double() * column(choices.top_p)) & (column(choices.top_p) < 1)
        dropped[:, 0] = False
        weights = torch.zeros_like(weights).scatter(1, order, falling.masked_fill(dropped, 0))
    least = weights.amax(dim=-1, keepdim=True).double() * column(choices.min_p)
    weights = weights.masked_fill(weights.double() < least, 0)
    sums = weights.cumsum(dim=-1)
    drawn = (sums[:, -1:].double() * column(choices.uniforms)).long()
    last = torch.where(weights > 0, torch.arange(size, device=logits.device), 0).amax(dim=-1)
    return torch.minimum(torch.searchsorted(sums, drawn, right=True)[:, 0], last)
