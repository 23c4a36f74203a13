"""Norms and gated layers by the C++ kernels, in the place of a model's own modules."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from .decoder_structures import WeightKind
from .library import Kernels
from .linear import PackedLinear

LANES = 16
NORMS = {torch.bfloat16: "rms_norm_bf16", torch.float32: "rms_norm_float"}
GATES = {torch.bfloat16: "gate_bf16", torch.float32: "gate_float"}
SERIAL = 1 << 16
"""Elements up to which waking other threads costs more than it saves."""


def _threads(elements: int) -> int:
    return 1 if elements <= SERIAL else torch.get_num_threads()


class RmsNorm(nn.Module):
    """y = round(x / rms(x)) · weight over the last dimension, a multiple of 16; float32 inside."""

    def __init__(self, weight: Tensor, epsilon: float, kernels: Kernels) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.epsilon = epsilon
        self._entry = getattr(kernels.library, NORMS[weight.dtype])
        self._entry.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long, ctypes.c_int, ctypes.c_float, ctypes.c_int]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        size = len(self.weight)
        x = x.contiguous()
        y = torch.empty_like(x)
        count = x.numel()
        self._entry(x.data_ptr(), self.weight.data_ptr(), y.data_ptr(), count // size, size, self.epsilon,
                    _threads(count))
        return y


class GatedLayer(nn.Module):
    """y = W₃ (silu(W₁ x) · W₂ x): both products of x in one, on prepacked weights of `kind`."""

    def __init__(self, gate: nn.Linear, up: nn.Linear, down: nn.Linear, kernels: Kernels,
                 kind: WeightKind | None = None) -> None:
        super().__init__()
        bias = torch.cat([gate.bias, up.bias]) if gate.bias is not None else None
        self.size = gate.weight.shape[0]
        self.both = PackedLinear(torch.cat([gate.weight, up.weight]), bias, kernels, kind)
        self.down = PackedLinear(down.weight, down.bias, kernels, kind)
        self._entry = getattr(kernels.library, GATES[gate.weight.dtype])
        self._entry.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_long, ctypes.c_int, ctypes.c_int]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        hidden: Tensor = self.both(x)
        gated = torch.empty(*hidden.shape[:-1], self.size, dtype=hidden.dtype)
        count = gated.numel()
        self._entry(hidden.data_ptr(), gated.data_ptr(), count // self.size, self.size, _threads(count))
        down: Tensor = self.down(gated)
        return down
