"""Norms, gated layers and rotations by position in one launch each, for a model's own modules on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import element_kernels

WIDEST = 1 << 14
"""Numbers of a row up to which one program normalises it."""
GATE_BLOCK = 1024
HEADS = 8
"""Heads that one program rotates."""


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
        self.both = joined([gate, up])
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        hidden = self.both(x)
        gated = torch.empty(*hidden.shape[:-1], self.size, dtype=hidden.dtype, device=hidden.device)
        count = gated.numel() // self.size
        if count:
            launch: Any = element_kernels.gate[(count, -(-self.size // GATE_BLOCK))]
            launch(hidden, gated, SIZE=self.size, BLOCK=GATE_BLOCK, num_warps=4)
        down: Tensor = self.down(gated)
        return down


def joined(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer that gives what `layers` of the same input give, one after the other. Its weights are new."""
    first = layers[0]
    outputs = sum(layer.out_features for layer in layers)
    made = nn.Linear(first.in_features, outputs, first.bias is not None, device="meta")
    made.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), requires_grad=False)
    if first.bias is not None:
        made.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]), requires_grad=False)
    return made


def rotate(query: Tensor, key: Tensor, cosines: Tensor, sines: Tensor) -> None:
    """Turn the pairs (d, d + size / 2) of all heads by their row's angles, in place: `query` [rows, heads, size] and
    `key` [rows, kv_heads, size], each head contiguous; `cosines` and `sines` [rows, size], whose halves are equal."""
    rows, heads, size = query.shape
    if rows:
        constants = rotate_constants(heads, key.shape[1], size)
        launch: Any = element_kernels.rotate[(rows, -(-heads // HEADS) + -(-key.shape[1] // HEADS))]
        launch(query, key, cosines.contiguous(), sines.contiguous(), query.stride(0), query.stride(1), key.stride(0),
               key.stride(1), **constants, num_warps=4)


def rotate_constants(heads: int, kv_heads: int, size: int) -> dict[str, int]:
    """The compile-time arguments of `element_kernels.rotate`."""
    return {"QUERY_HEADS": heads, "KEY_HEADS": kv_heads, "SIZE": size, "HEADS": HEADS,
            "BLOCK": 1 << (size // 2 - 1).bit_length()}


def norm_constants(size: int) -> dict[str, int]:
    """The compile-time arguments of `element_kernels.rms_norm`."""
    return {"SIZE": size, "BLOCK": 1 << (size - 1).bit_length()}


def norm_warps(size: int) -> int:
    """Warps of a program of `element_kernels.rms_norm`."""
    return 4 if size <= 2048 else 8
