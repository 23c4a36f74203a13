"""The KV pool of every layer, and one step over them, in plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...kernels.attention_plan import AttentionPlan, AttentionShape
from ...kernels.tree_attention import tree_attention
from ..model_runner import StepBatch
from .attention_hook import TreeStep


@dataclass(frozen=True)
class LayerShape:
    """One layer's attention: head counts, sizes of a key and a value, and the dtype of both."""

    heads: int
    kv_heads: int
    key_size: int
    value_size: int
    dtype: torch.dtype

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token's key and value take in this layer."""
        return self.kv_heads * (self.key_size + self.value_size) * self.dtype.itemsize


@dataclass(frozen=True)
class LayerPool:
    """Keys [kv_heads, slots, key_size] and values [kv_heads, slots, value_size] of one layer."""

    keys: Tensor
    values: Tensor


class Step(TreeStep, Protocol):
    """A forward pass over the pools. `kv_tokens_read`: keys that a layer read, a shared run counted once."""

    @property
    def kv_tokens_read(self) -> int: ...

    def finish(self) -> None:
        """Check that every layer has attended once."""


class KVPools(Protocol):
    """The pools of all layers."""

    kernel: str
    """Name of the attention kernel, for statistics."""

    def begin(self, batch: StepBatch, slots: Tensor) -> Step:
        """A step that writes its new keys and values to `slots` int64 [tokens]."""


class TorchPools:
    """Implements `KVPools` on any device that torch has."""

    kernel = "torch tree attention"

    def __init__(self, layers: Sequence[LayerShape], slots: int, device: torch.device) -> None:
        self._pools = [
            LayerPool(
                torch.empty(layer.kv_heads, slots, layer.key_size, dtype=layer.dtype, device=device),
                torch.empty(layer.kv_heads, slots, layer.value_size, dtype=layer.dtype, device=device),
            )
            for layer in layers
        ]
        # The plan is shared by all layers, so its thresholds follow the largest.
        largest = max(layers, key=lambda layer: layer.kv_heads * layer.key_size)
        self._shape = AttentionShape(largest.heads, largest.kv_heads, largest.key_size, device)

    def __iter__(self) -> Iterator[LayerPool]:
        return iter(self._pools)

    def begin(self, batch: StepBatch, slots: Tensor) -> Step:
        """See `KVPools`."""
        return _PooledStep(self._pools, self._shape, batch, slots)


class _PooledStep:
    """One step of the pool: what each layer writes and reads."""

    def __init__(self, pools: Sequence[LayerPool], shape: AttentionShape, batch: StepBatch, slots: Tensor) -> None:
        self._pools = pools
        self._shape = shape
        self._batch = batch
        self._slots = slots
        self._plans: dict[int | None, AttentionPlan] = {}
        self._layer = 0

    @property
    def kv_tokens_read(self) -> int:
        return max((plan.kv_tokens_read for plan in self._plans.values()), default=0)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float | None,
        window: int | None,
        soft_cap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        pool = self._pools[self._layer]
        self._layer += 1
        pool.keys.index_copy_(1, self._slots, key[0])
        # Rows that do not see a value multiply it by 0, which gives NaN where it is not finite.
        finite = value[0].nan_to_num(nan=torch.finfo(value.dtype).max)
        pool.values.index_copy_(1, self._slots, finite)
        if window not in self._plans:
            self._plans[window] = AttentionPlan(self._batch.runs, self._batch.segments, self._shape, window)
        output = tree_attention(
            query[0], pool.keys, pool.values, self._plans[window], scale=scale, soft_cap=soft_cap, sinks=sinks
        )
        return output[None]

    def finish(self) -> None:
        """Check that every layer has attended once."""
        if self._layer != len(self._pools):
            raise RuntimeError(f"{self._layer} of {len(self._pools)} layers attended in this step")
