"""Device code for linear layers whose result for a row never depends on the other rows."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["rows"])
def linear(
    x, weight, bias, y, rows,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, WITH_BIAS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """y [rows, OUTPUTS] = x [rows, INPUTS] · weightᵀ + bias; sums in float32, of blocks of DEPTH inputs in order.

    Every program takes every n-th tile. Tiles of the same columns follow one another, so that weights come from memory
    once. There is one size of tile and one loop, whatever the number of rows: any other choice would be another order
    of sums.
    """
    row_tiles = tl.cdiv(rows, ROWS)
    tiles = row_tiles * tl.cdiv(OUTPUTS, COLUMNS)
    for number in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        row = (number % row_tiles) * ROWS + tl.arange(0, ROWS)
        column = (number // row_tiles) * COLUMNS + tl.arange(0, COLUMNS)
        real_row = (row < rows)[:, None]
        real_column = (column < OUTPUTS)[None, :]
        sums = tl.zeros([ROWS, COLUMNS], tl.float32)
        for start in tl.range(0, INPUTS, DEPTH, num_stages=STAGES):
            depth = start + tl.arange(0, DEPTH)
            given_mask, weight_mask = real_row, real_column
            if INPUTS % DEPTH != 0:
                given_mask = given_mask & (depth < INPUTS)[None, :]
                weight_mask = weight_mask & (depth < INPUTS)[:, None]
            given = tl.load(x + row.to(tl.int64)[:, None] * INPUTS + depth[None, :], mask=given_mask, other=0.0)
            weights = tl.load(weight + column.to(tl.int64)[None, :] * INPUTS + depth[:, None], mask=weight_mask,
                              other=0.0)
            sums = tl.dot(given, weights, sums, input_precision="ieee")
        if WITH_BIAS:
            sums += tl.load(bias + column, mask=column < OUTPUTS, other=0.0).to(tl.float32)[None, :]
        tl.store(y + row.to(tl.int64)[:, None] * OUTPUTS + column[None, :], sums.to(y.dtype.element_ty),
                 mask=real_row & real_column)
