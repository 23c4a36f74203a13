"""Linear layers on prepacked weights, in the place of `torch.nn.Linear`."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .decoder_structures import LinearFields, WeightKind
from .int8 import pack_int8
from .library import Kernels
from .memory import LARGE_PAGES

PANEL = 32
WAKING = 8e-5
"""Seconds of work below which waking the other threads costs more than they save (they sleep between calls)."""
PRODUCTS, BYTES = 5e10, 2e10
"""Products of float32 numbers, and bytes of weights, that one thread gets through in a second."""
ENTRIES = {torch.bfloat16: "linear_bf16", torch.float32: "linear_float"}


@dataclass(frozen=True)
class PackedWeights:
    """Weights as the kernels read them: `outputs`, and `inputs` with those that were added to make them even.

    `scale` and `bias` are float32 for all panels, or None.
    """

    packed: Tensor
    scale: Tensor | None
    bias: Tensor | None
    outputs: int
    inputs: int
    kind: WeightKind

    @staticmethod
    def of(weight: Tensor, bias: Tensor | None, kind: WeightKind | None = None) -> PackedWeights:
        """From `weight` [outputs, inputs] and `bias` [outputs]; in the dtype of `weight`, or in 8 bits."""
        weight = weight.detach()
        kind = kind if kind is not None else WeightKind[str(weight.dtype).removeprefix("torch.")]
        packed, scale = pack_int8(weight) if kind is WeightKind.int8 else (pack(weight), None)
        inputs = weight.shape[1] if kind is WeightKind.float32 else weight.shape[1] + weight.shape[1] % 2
        return PackedWeights(packed, scale, None if bias is None else for_panels(bias.detach()), len(weight), inputs,
                             kind)

    def fields(self) -> LinearFields:
        """For the kernel; they are valid as long as these weights."""
        scale, bias = (None if values is None else values.data_ptr() for values in (self.scale, self.bias))
        return LinearFields(self.packed.data_ptr(), scale, bias, self.outputs, self.inputs, self.kind)


class PackedLinear(nn.Module):
    """y = x Wᵀ + b for `x` [..., in] of the weights' dtype, float32 or bfloat16; sums are in float32.

    The packed weights replace the given ones, so that memory holds them once; with `kind` int8 in 8 bits for each, one
    scale for each output.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, kernels: Kernels, kind: WeightKind | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.dtype = weight.dtype
        self.weights = PackedWeights.of(weight, bias, kind)
        self._fields = self.weights.fields()
        self._entry = getattr(kernels.library, ENTRIES[self.dtype])
        self._entry.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 2

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        packed = self.weights.packed
        rows = x.reshape(-1, self.in_features)
        if self.weights.inputs != self.in_features:
            rows = nn.functional.pad(rows, (0, self.weights.inputs - self.in_features))
        rows = rows.contiguous()
        y = torch.empty(*x.shape[:-1], self.out_features, dtype=self.dtype)
        work = max(len(rows) * packed.numel() / PRODUCTS, packed.nbytes / BYTES)
        self._entry(ctypes.addressof(self._fields), rows.data_ptr(), y.data_ptr(), len(rows),
                    1 if work < WAKING else torch.get_num_threads())
        return y


def pack(weight: Tensor) -> Tensor:
    """`weight` [N, K] in panels: float32 [N/32, K, 32], bfloat16 [N/32, K/2, 32, 2]; padded with zeros."""
    outputs, inputs = weight.shape
    pair = 2 if weight.dtype == torch.bfloat16 else 1
    padded = nn.functional.pad(weight, (0, -inputs % pair, 0, -outputs % PANEL))
    panels = padded.reshape(-1, PANEL, padded.shape[1] // pair, pair).permute(0, 2, 1, 3)
    panels = panels if pair == 2 else panels[..., 0]
    return LARGE_PAGES.empty(tuple(panels.shape), weight.dtype).copy_(panels)


def for_panels(values: Tensor) -> Tensor:
    """`values` [N] as float32 for whole panels, padded with zeros."""
    return nn.functional.pad(values.float(), (0, -len(values) % PANEL)).contiguous()
