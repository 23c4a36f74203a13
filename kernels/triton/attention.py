"""Attention over a context tree by the Triton kernels: pools, buffers and launches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import kernels
from .plan import Plan
from .tiles import Tiles, block

LOG2_E = 1.4426950408889634
ANY_CORES = 4
"""Multiprocessors assumed where there are none: in Triton's interpreter."""


@dataclass(frozen=True)
class Pool:
    """KV of one layer: `keys` [kv_heads, slots, D] and `values` [kv_heads, slots, V], each head's slots together."""

    keys: Tensor
    values: Tensor

    @staticmethod
    def allocate(slots: int, kv_heads: int, key_size: int, value_size: int, dtype: torch.dtype,
                 device: torch.device) -> Pool:
        """A pool of `slots` slots, not initialised. Raises ValueError where 32 bits do not address a head's slots."""
        if slots * max(key_size, value_size) >= 1 << 31:
            raise ValueError(f"{slots} slots of {max(key_size, value_size)} numbers are too many for one KV pool")
        return Pool(torch.empty(kv_heads, slots, key_size, dtype=dtype, device=device),
                    torch.empty(kv_heads, slots, value_size, dtype=dtype, device=device))


class DevicePlan:
    """A plan on the device, and room for the partial results of one layer after the other.

    The buffers keep their addresses while plans fit; `moves` counts how often they did not. A CUDA graph of
    launches with this plan is valid for as long as `moves` and `row_count` stay.
    """

    def __init__(self, device: torch.device, *, integers: int = 0, partials: int = 0) -> None:
        self.device = device
        self.row_count = 0
        self.moves = 0
        self.data = torch.empty(integers, dtype=torch.int32, device=device)
        self.outputs = torch.empty(0, device=device)
        self.sums = torch.empty(0, device=device)
        self._partials = partials
        self._partial_count = 0

    def load(self, plan: Plan) -> None:
        """Copy a plan to the device, without waiting for what runs there."""
        if len(self.data) < len(plan.data):
            self.data = torch.empty(_room(len(plan.data)), dtype=torch.int32, device=self.device)
            self.moves += 1
        source = torch.from_numpy(plan.data)
        if self.device.type == "cuda":
            # Torch keeps the pinned memory until the copy is done.
            source = torch.empty(len(plan.data), dtype=torch.int32, pin_memory=True).copy_(source)
        self.data[: len(plan.data)].copy_(source, non_blocking=True)
        self.row_count = plan.row_count
        self._partial_count = plan.partial_count

    def reserve(self, heads: int, value_size: int) -> None:
        """Make room for the partial results of a layer."""
        count = max(self._partial_count, self._partials) * heads
        if len(self.sums) < count or len(self.outputs) < count * value_size:
            self.sums = torch.empty(_room(count), device=self.device)
            self.outputs = torch.empty(_room(count * value_size), device=self.device)
            self.moves += 1


class TritonAttention:
    """The kernels with tiles of some size, on one device."""

    def __init__(self, tiles: Tiles, device: torch.device) -> None:
        self.tiles = tiles
        self.device = device
        cores = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else ANY_CORES
        self.programs = cores * tiles.per_core

    def store(self, new_keys: Tensor, new_values: Tensor, slots: Tensor, pool: Pool) -> None:
        """Write `new_keys` [rows, kv_heads, D] and `new_values` [rows, kv_heads, V] to `slots` int64 [rows]; rows
        with a negative slot are left out."""
        rows, heads, key_size = new_keys.shape
        value_size = new_values.shape[-1]
        if not rows:
            return
        new_keys, new_values = _inner_contiguous(new_keys), _inner_contiguous(new_values)
        launch: Any = kernels.store[(rows,)]
        launch(new_keys, new_values, slots, pool.keys, pool.values, new_keys.stride(0), new_keys.stride(1),
               new_values.stride(0), new_values.stride(1), pool.keys.stride(0), pool.keys.stride(1),
               pool.values.stride(0), pool.values.stride(1), HEADS=heads, KEY_SIZE=key_size, VALUE_SIZE=value_size,
               HEAD_BLOCK=1 << (heads - 1).bit_length(), KEY_BLOCK=block(key_size), VALUE_BLOCK=block(value_size),
               num_warps=4, enable_fp_fusion=True)

    def attend(self, query: Tensor, pool: Pool, plan: DevicePlan, *, scale: float | None = None,
               soft_cap: float | None = None, sinks: Tensor | None = None, window: int | None = None,
               output: Tensor | None = None) -> Tensor:
        """Attention of one layer for all rows of a step, whose new keys are in the pool already.

        `query` [rows, heads, D]; result [rows, heads, V] of query's dtype, in `output` if given. `scale`, `soft_cap`
        and `sinks` as in `tree_attention.tree_attention`; `window` must be the plan's. Rows of the plan's padding
        become 0. Two launches, on the current stream.
        """
        rows, heads, key_size = query.shape
        kv_heads, _, value_size = pool.values.shape
        if rows != plan.row_count:
            raise ValueError(f"the plan has {plan.row_count} rows, the query {rows}")
        if output is None:
            output = torch.empty(rows, heads, value_size, dtype=query.dtype, device=query.device)
        if not rows:
            return output
        plan.reserve(heads, value_size)
        query = _inner_contiguous(query)
        scale = key_size**-0.5 if scale is None else scale
        tiles = self.tiles
        attend: Any = kernels.attend[(self.programs,)]
        attend(query, pool.keys, pool.values, plan.data, plan.outputs, plan.sums,
               scale * LOG2_E if soft_cap is None else 2 * LOG2_E * scale / soft_cap,
               0.0 if soft_cap is None else soft_cap * LOG2_E, 1 if window is None else min(window, 1 << 30),
               query.stride(0), query.stride(1), pool.keys.stride(0), pool.keys.stride(1),
               pool.values.stride(0), pool.values.stride(1),
               **attend_constants(tiles, kv_heads=kv_heads, group=heads // kv_heads, key_size=key_size,
                                  value_size=value_size, capped=soft_cap is not None, windowed=window is not None),
               num_warps=tiles.warps, enable_fp_fusion=True)
        constants = merge_constants(heads, value_size, sinks is not None)
        merge: Any = kernels.merge[(rows, -(-heads // constants["HEAD_BLOCK"]))]
        merge(output, plan.data, plan.outputs, plan.sums, plan.sums if sinks is None else sinks,
              output.stride(0), output.stride(1), **constants, num_warps=4, enable_fp_fusion=True)
        return output


def attend_constants(tiles: Tiles, *, kv_heads: int, group: int, key_size: int, value_size: int, capped: bool,
                     windowed: bool) -> dict[str, Any]:
    """The compile-time arguments of `kernels.attend`."""
    return {
        "KV_HEADS": kv_heads, "GROUP": group, "KEY_SIZE": key_size, "VALUE_SIZE": value_size,
        "KEY_BLOCK": block(key_size), "VALUE_BLOCK": block(value_size), "CAPPED": capped, "WINDOWED": windowed,
        "SMALL_ROWS": tiles.small_rows, "LARGE_ROWS": tiles.large_rows, "SMALL_KEYS": tiles.small_keys,
        "LARGE_KEYS": tiles.large_keys, "SMALL_STAGES": tiles.small_stages, "LARGE_STAGES": tiles.large_stages,
        "ONE_TILE": tiles.one,
    }  # fmt: skip


def merge_constants(heads: int, value_size: int, with_sinks: bool) -> dict[str, Any]:
    """The compile-time arguments of `kernels.merge`."""
    return {"HEADS": heads, "SIZE": value_size, "BLOCK": block(value_size),
            "HEAD_BLOCK": min(8, 1 << (heads - 1).bit_length()), "PARTS": 16, "WITH_SINKS": with_sinks}


def _room(count: int) -> int:
    """A quarter more than now, so that growing contexts do not move the buffers in every step."""
    return math.ceil(count * 1.25)


def _inner_contiguous(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
