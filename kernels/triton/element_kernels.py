"""Device code for norms and gated layers: rows of numbers, no products."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rms_norm(x, weight, y, x_row, y_row, epsilon, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """One row: y = round(x / rms(x)) · weight; float32 inside."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    real = place < SIZE
    numbers = tl.load(x + row * x_row + place, mask=real, other=0.0).to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(numbers * numbers, 0) / SIZE + epsilon)
    rounded = (numbers * scale).to(y.dtype.element_ty)
    result = rounded.to(tl.float32) * tl.load(weight + place, mask=real, other=0.0).to(tl.float32)
    tl.store(y + row * y_row + place, result.to(y.dtype.element_ty), mask=real)


@triton.jit
def gate(x, y, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """Part of one row: y = round(silu(first half of x)) · second half; float32 inside."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = place < SIZE
    first = tl.load(x + row * 2 * SIZE + place, mask=real, other=0.0).to(tl.float32)
    second = tl.load(x + row * 2 * SIZE + SIZE + place, mask=real, other=0.0).to(tl.float32)
    rounded = (first / (1.0 + tl.exp(-first))).to(y.dtype.element_ty).to(tl.float32)
    tl.store(y + row * SIZE + place, (rounded * second).to(y.dtype.element_ty), mask=real)
