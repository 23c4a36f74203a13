"""Weights in 8 bits with one scale for each output; what they are multiplied by stays as it is.

A weight is scale · n with n from -127 to 127, rounded to the nearest. n is exact in bfloat16, so nothing but this
rounding changes what a layer computes: its relative error is at most 1/254 of the largest weight of an output.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .memory import LARGE_PAGES

PANEL = 32
MOST = 127


def pack_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """`weight` [N, K] as uint8 [N/32, K/2, 4, 2, 4, 2], and the scales of outputs, float32 [N/32 · 32].

    A byte is a sign and a magnitude; `linear.h` has the order of outputs.
    """
    outputs, inputs = weight.shape
    numbers, scale = quantize(weight)
    bytes_ = numbers.abs().to(torch.uint8) | (numbers < 0).to(torch.uint8) << 7
    padded = pad(bytes_, (0, inputs % 2, 0, -outputs % PANEL))
    panels = padded.reshape(-1, 2, 4, 4, padded.shape[1] // 2, 2).permute(0, 4, 2, 1, 3, 5)
    return LARGE_PAGES.empty(tuple(panels.shape), torch.uint8).copy_(panels), pad(scale, (0, -outputs % PANEL))


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers n int8 [N, K] and scales float32 [N] of `weight`."""
    weight = weight.float()
    scale = weight.abs().amax(dim=1) / MOST
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight / scale[:, None]).round().to(torch.int8), scale
