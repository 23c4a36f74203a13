"""Attention over a context tree by the C++ kernel, with KV pools in its layout."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from .library import Kernels
from .memory import LARGE_PAGES
from .plan import MOST_ROWS, PAGE, ItemPlan

MOST_SIZE = 256
LANES = 16
SERIAL = 4_000_000
"""Products up to which waking the other threads costs more than they save (they sleep between calls)."""
ENTRIES = {torch.bfloat16: "attend_bf16", torch.float32: "attend_float"}

_POINTERS = ("query", "new_keys", "new_values", "new_slots", "key_pool", "value_pool", "output", "partial_outputs",
             "partial_sums", "items", "rows", "spans", "ranges", "merge_starts", "merge_partials", "sinks")
_COUNTS = ("tokens", "item_count", "heads", "kv_heads", "key_size", "value_size", "threads")


class AttentionStep(ctypes.Structure):
    """The structure of that name in attention.h."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in _POINTERS]
        + [(name, ctypes.c_int64) for name in ("query_stride", "key_stride", "value_stride")]
        + [(name, ctypes.c_int32) for name in _COUNTS]
        + [(name, ctypes.c_float) for name in ("scale", "soft_cap")]
    )


@dataclass(frozen=True)
class PagedPool:
    """KV of one layer: `keys` [pages, kv_heads, 16·D] and `values` [pages, kv_heads, 16·V], packed as the kernel
    wants them."""

    keys: Tensor
    values: Tensor
    kv_heads: int
    key_size: int
    value_size: int

    @staticmethod
    def allocate(slots: int, kv_heads: int, key_size: int, value_size: int, dtype: torch.dtype) -> PagedPool:
        """A pool of at least `slots` slots."""
        pages = -(-slots // PAGE)
        keys = LARGE_PAGES.empty((pages, kv_heads, PAGE * key_size), dtype)
        values = LARGE_PAGES.empty((pages, kv_heads, PAGE * value_size), dtype)
        return PagedPool(keys, values, kv_heads, key_size, value_size)


def supports(heads: int, kv_heads: int, key_size: int, value_size: int, dtype: torch.dtype) -> bool:
    """Whether the kernel computes such a layer."""
    return (dtype in ENTRIES and heads % kv_heads == 0 and heads // kv_heads <= MOST_ROWS
            and key_size % 2 == 0 and key_size <= MOST_SIZE
            and value_size % LANES == 0 and value_size <= MOST_SIZE)


class CpuAttention:
    """The kernel. It keeps the buffers of partial results from call to call, so one thread uses it at a time."""

    def __init__(self, kernels: Kernels) -> None:
        self._library = kernels.library
        self._partials = torch.empty(0)
        self._sums = torch.empty(0)

    def attend(self, query: Tensor, new_keys: Tensor, new_values: Tensor, new_slots: Tensor, pool: PagedPool,
               plan: ItemPlan, *, scale: float | None = None, soft_cap: float | None = None,
               sinks: Tensor | None = None) -> Tensor:
        """Write the new keys and values into the pool, then attend.

        `query` [rows, heads, D], `new_keys` [rows, kv_heads, D], `new_values` [rows, kv_heads, V], `new_slots` int64
        [rows]; result [rows, heads, V]. `scale`, `soft_cap`, `sinks` as in `tree_attention.tree_attention`.
        """
        rows, heads, key_size = query.shape
        output = torch.empty(rows, heads, pool.value_size, dtype=query.dtype)
        if not rows:
            return output
        query, new_keys, new_values = (_packed(t) for t in (query, new_keys, new_values))
        self._reserve(plan.partial_count * heads, pool.value_size)
        sinks = None if sinks is None else sinks.float().contiguous()
        step = AttentionStep(
            query.data_ptr(), new_keys.data_ptr(), new_values.data_ptr(), new_slots.data_ptr(), pool.keys.data_ptr(),
            pool.values.data_ptr(), output.data_ptr(), self._partials.data_ptr(), self._sums.data_ptr(),
            plan.items.ctypes.data, plan.rows.ctypes.data, plan.spans.ctypes.data, plan.ranges.ctypes.data,
            plan.merge_starts.ctypes.data, plan.merge_partials.ctypes.data,
            None if sinks is None else sinks.data_ptr(),
            query.stride(0), new_keys.stride(0), new_values.stride(0),
            rows, len(plan.items), heads, pool.kv_heads, key_size, pool.value_size,
            1 if plan.pairs * heads * (key_size + pool.value_size) < SERIAL else torch.get_num_threads(),
            key_size**-0.5 if scale is None else scale, soft_cap or 0.0)
        getattr(self._library, ENTRIES[query.dtype])(ctypes.byref(step))
        return output

    def _reserve(self, partials: int, size: int) -> None:
        if len(self._sums) < partials or len(self._partials) < partials * size:
            self._partials = torch.empty(partials * size)
            self._sums = torch.empty(partials)


def _packed(tensor: Tensor) -> Tensor:
    """`tensor` [rows, heads, size] with the numbers of a row next to one another."""
    _, heads, size = tensor.shape
    tight = (tensor.stride(2) == 1 or size == 1) and (tensor.stride(1) == size or heads == 1)
    return tensor if tight else tensor.contiguous()
