"""Moves the weights of modules into the panels of the compiled decoder, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.pytorch_utils import Conv1D

from ...kernels.cpu.decoder import unpacked
from ...kernels.cpu.linear import PackedWeights
from .native_parts import Weights


class Mover:
    """Takes weights out of modules, so that memory holds them once; `give_back` undoes that."""

    def __init__(self) -> None:
        self._moved: list[tuple[list[nn.Module], list[int], Tensor, PackedWeights, int]] = []

    def take(self, modules: Sequence[nn.Module], rows: Tensor | None = None,
             inputs: int | None = None) -> PackedWeights:
        """A linear layer of the modules' weights, one below the other, in the order of `rows`; -1 is a row of zeros.

        `rows` int64 [outputs] holds each row once; None is all as they are. `inputs`: with columns of zeros at the end.
        """
        parts = [Weights(module) for module in modules]
        heights = [len(part.weight) for part in parts]
        weight = torch.cat([part.weight for part in parts]) if len(parts) > 1 else parts[0].weight
        width = weight.shape[1]
        rows = torch.arange(len(weight)) if rows is None else rows
        biases = [part.bias if part.bias is not None else weight.new_zeros(len(part.weight)) for part in parts]
        bias = _rows_of(torch.cat(biases), rows) if any(part.bias is not None for part in parts) else None
        linear = PackedWeights.of(pad(_rows_of(weight, rows), (0, (inputs or width) - width)), bias)
        self._moved.append((list(modules), heights, rows, linear, width))
        for module in modules:
            _set_weight(module, weight.new_empty(0, 0))
        return linear

    def give_back(self) -> None:
        """Put all weights back into their modules."""
        for modules, heights, rows, linear, width in self._moved:
            weight = linear.packed.new_empty(sum(heights), width)
            kept = rows >= 0
            weight[rows[kept]] = unpacked(linear)[kept][:, :width]
            for module, part in zip(modules, torch.split(weight, heights), strict=True):
                _set_weight(module, part)
        self._moved.clear()


def _rows_of(tensor: Tensor, rows: Tensor) -> Tensor:
    taken = tensor.detach()[rows.clamp(min=0)]
    taken[rows < 0] = 0
    return taken


def _set_weight(module: nn.Module, weight: Tensor) -> None:
    if isinstance(module, Conv1D):
        weight = weight.T.contiguous()
    parameter: nn.Parameter = module.weight  # type: ignore[assignment]
    parameter.data = weight  # and so of every module that shares it
