"""Linear layers whose result for a row never depends on the other rows, in the place of a model's own on a GPU.

A library of matrix products chooses its kernel, and with it the order of sums, by the number of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import linear_kernels
from .attention import ANY_CORES

PROGRAMS_PER_CORE = 2


class InvariantLinear(nn.Module):
    """y = W x + b over the last dimension, with the weights of an `nn.Linear`."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.weight = plain.weight
        self.bias = plain.bias
        device = plain.weight.device
        cores = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else ANY_CORES
        self._programs = cores * PROGRAMS_PER_CORE

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        outputs, inputs = self.weight.shape
        rows = x.reshape(-1, inputs).contiguous()
        y = torch.empty(*x.shape[:-1], outputs, dtype=x.dtype, device=x.device)
        if len(rows):
            constants = linear_constants(inputs, outputs, x.dtype == torch.float32, self.bias is not None)
            tiles = -(-len(rows) // constants["ROWS"]) * -(-outputs // constants["COLUMNS"])
            launch: Any = linear_kernels.linear[(min(self._programs, tiles),)]
            launch(rows, self.weight, self.weight if self.bias is None else self.bias, y, len(rows), **constants,
                   num_warps=4)
        return y


def linear_constants(inputs: int, outputs: int, exact: bool, with_bias: bool) -> dict[str, Any]:
    """The compile-time arguments of `linear_kernels.linear`; never by the number of rows. `exact`: for float32, whose
    products do not run on tensor cores."""
    tile = {"ROWS": 32, "COLUMNS": 32, "DEPTH": 32, "STAGES": 2} if exact else {
        "ROWS": 64, "COLUMNS": 64, "DEPTH": 64, "STAGES": 4}
    return {"INPUTS": inputs, "OUTPUTS": outputs, "WITH_BIAS": with_bias, **tile}
