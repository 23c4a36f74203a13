"""Device code for norms, gated layers and rotations by position: rows of numbers, no products."""

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


@triton.jit
def rotate(
    query, key, cosines, sines, query_row, query_head, key_row, key_head,
    QUERY_HEADS: tl.constexpr, KEY_HEADS: tl.constexpr, SIZE: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Some heads of one row, in place: pairs (d, d + SIZE / 2) are turned by the row's angles; float32 inside.

    Programs of a row: those of its queries, HEADS heads each, then those of its keys.
    """
    row = tl.program_id(0).to(tl.int64)
    number = tl.program_id(1)
    place = tl.arange(0, BLOCK)
    real = place < SIZE // 2
    cosine = tl.load(cosines + row * SIZE + place, mask=real, other=0.0).to(tl.float32)
    sine = tl.load(sines + row * SIZE + place, mask=real, other=0.0).to(tl.float32)
    query_programs = tl.cdiv(QUERY_HEADS, HEADS)
    if number < query_programs:
        _rotate_heads(query + row * query_row, query_head, number * HEADS, cosine, sine, QUERY_HEADS, SIZE, HEADS,
                      BLOCK)
    else:
        _rotate_heads(key + row * key_row, key_head, (number - query_programs) * HEADS, cosine, sine, KEY_HEADS, SIZE,
                      HEADS, BLOCK)


@triton.jit
def _rotate_heads(heads, stride, first, cosine, sine, COUNT: tl.constexpr, SIZE: tl.constexpr, HEADS: tl.constexpr,
                  BLOCK: tl.constexpr):
    head = first + tl.arange(0, HEADS)
    place = tl.arange(0, BLOCK)
    real = (head < COUNT)[:, None] & (place < SIZE // 2)[None, :]
    low_place = heads + head[:, None] * stride + place[None, :]
    high_place = low_place + SIZE // 2
    low = tl.load(low_place, mask=real, other=0.0).to(tl.float32)
    high = tl.load(high_place, mask=real, other=0.0).to(tl.float32)
    number = heads.dtype.element_ty
    tl.store(low_place, (low * cosine[None, :] - high * sine[None, :]).to(number), mask=real)
    tl.store(high_place, (high * cosine[None, :] + low * sine[None, :]).to(number), mask=real)
