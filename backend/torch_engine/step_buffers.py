"""Where a step's tokens, positions, slots and logits lie on the device, at addresses that stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..model_runner import StepBatch

SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Rows of recorded steps; a step takes the next larger one."""


class StepBuffers:
    """Buffers for steps of up to `rows` decoding rows. `inputs` int64 [3, rows]: tokens, positions and slots."""

    def __init__(self, rows: int, vocabulary_size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.inputs = torch.zeros((3, rows), dtype=torch.int64, device=device)
        self.logits = torch.zeros((rows, vocabulary_size), dtype=dtype, device=device)
        self._device = device

    def fill(self, batch: StepBatch, size: int, tokens: Tensor | None) -> None:
        """Bring a step of one token for each row to the first `size` rows, without waiting for the device.

        `tokens`: the tokens, where only the device knows them. Rows beyond the step are those of padding: they have
        no slot, so that nothing is written for them.
        """
        count = len(batch.slots)
        values = np.zeros((3, size), np.int64)
        values[2, count:] = -1
        values[:, :count] = batch.token_ids, batch.positions, batch.slots
        source = torch.from_numpy(values)
        if self._device.type == "cuda":
            source = torch.empty((3, size), dtype=torch.int64, pin_memory=True).copy_(source)
        for target, row in zip(self.inputs, source, strict=True):
            target[:size].copy_(row, non_blocking=True)
        if tokens is not None:
            self.inputs[0, :count].copy_(tokens)


def padded_size(rows: int, sizes: Sequence[int]) -> int | None:
    """The smallest of the rising `sizes` that holds `rows`."""
    return next((size for size in sizes if size >= rows), None)
