"""Norms and gated layers in one launch each, in the place of a model's own modules on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import element_kernels

WIDEST = 1 << 14
"""Numbers of a row up to which one program normalises it."""
GATE_BLOCK = 1024


class RmsNorm(nn.Module):
    """y = round(x / rms(x)) · weight over the last dimension."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        size = len(self.weight)
        rows = x.reshape(-1, size)
        if rows.stride(-1) != 1:
            rows = rows.contiguous()
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        if rows.shape[0]:
            launch: Any = element_kernels.rms_norm[(rows.shape[0],)]
            launch(rows, self.weight, y, rows.stride(0), size, self.epsilon, **norm_constants(size),
                   num_warps=norm_warps(size))
        return y


class GatedLayer(nn.Module):
    """y = W₃ (silu(W₁ x) · W₂ x): both products of x in one."""

    def __init__(self, gate: nn.Linear, up: nn.Linear, down: nn.Linear) -> None:
        super().__init__()
        self.size = gate.weight.shape[0]
        self.both = nn.Parameter(torch.cat([gate.weight, up.weight]), requires_grad=False)
        self.bias = None if gate.bias is None else nn.Parameter(torch.cat([gate.bias, up.bias]), requires_grad=False)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        hidden = functional.linear(x, self.both, self.bias)
        gated = torch.empty(*hidden.shape[:-1], self.size, dtype=hidden.dtype, device=hidden.device)
        count = gated.numel() // self.size
        if count:
            launch: Any = element_kernels.gate[(count, -(-self.size // GATE_BLOCK))]
            launch(hidden, gated, SIZE=self.size, BLOCK=GATE_BLOCK, num_warps=4)
        down: Tensor = self.down(gated)
        return down


def norm_constants(size: int) -> dict[str, int]:
    """The compile-time arguments of `element_kernels.rms_norm`."""
    return {"SIZE": size, "BLOCK": 1 << (size - 1).bit_length()}


def norm_warps(size: int) -> int:
    """Warps of a program of `element_kernels.rms_norm`."""
    return 4 if size <= 2048 else 8
