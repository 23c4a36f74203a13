"""Linear layers on prepacked weights, in the place of `torch.nn.Linear`."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from .library import Kernels

PANEL = 32
WAKING = 8e-5
"""Seconds of work below which waking the other threads costs more than they save (they sleep between calls)."""
PRODUCTS, BYTES = 5e10, 2e10
"""Products of float32 numbers, and bytes of weights, that one thread gets through in a second."""
ENTRIES = {torch.bfloat16: "linear_bf16", torch.float32: "linear_float"}


class PackedLinear(nn.Module):
    """y = x Wᵀ + b for `x` [..., in] of the weights' dtype, float32 or bfloat16; sums are in float32.

    The packed weights replace the given ones, so that memory holds them once.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, kernels: Kernels) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.dtype = weight.dtype
        self._packed = pack(weight.detach())
        self._bias = None if bias is None else _padded(bias.detach().float())
        self._entry = getattr(kernels.library, ENTRIES[self.dtype])
        self._entry.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int] * 4

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        size = self._packed.shape[1] * (2 if self.dtype == torch.bfloat16 else 1)
        rows = x.reshape(-1, self.in_features)
        if size != self.in_features:
            rows = nn.functional.pad(rows, (0, size - self.in_features))
        rows = rows.contiguous()
        y = torch.empty(*x.shape[:-1], self.out_features, dtype=self.dtype)
        work = max(len(rows) * self._packed.numel() / PRODUCTS, self._packed.nbytes / BYTES)
        self._entry(rows.data_ptr(), self._packed.data_ptr(), None if self._bias is None else self._bias.data_ptr(),
                    y.data_ptr(), len(rows), self.out_features, size, 1 if work < WAKING else torch.get_num_threads())
        return y


def pack(weight: Tensor) -> Tensor:
    """`weight` [N, K] in panels: float32 [N/32, K, 32], bfloat16 [N/32, K/2, 32, 2]; padded with zeros."""
    outputs, inputs = weight.shape
    pair = 2 if weight.dtype == torch.bfloat16 else 1
    padded = nn.functional.pad(weight, (0, -inputs % pair, 0, -outputs % PANEL))
    panels = padded.reshape(-1, PANEL, padded.shape[1] // pair, pair).permute(0, 2, 1, 3)
    return panels.contiguous() if pair == 2 else panels[..., 0].contiguous()


def _padded(bias: Tensor) -> Tensor:
    return nn.functional.pad(bias, (0, -len(bias) % PANEL)).contiguous()
