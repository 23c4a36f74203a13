"""The KV pools of the compiled attention kernel on a CPU, and one step over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from ...kernels.cpu.attention import CpuAttention, PagedPool, supports
from ...kernels.cpu.library import Kernels
from ...kernels.cpu.plan_cache import PlanCache
from ..model_runner import StepBatch
from .kv_pools import LayerShape, Step


class CpuPools:
    """Implements `kv_pools.KVPools` by the C++ kernel. `invariant`: see `TorchRunner`."""

    def __init__(self, kernels: Kernels, layers: Sequence[LayerShape], slots: int, *, invariant: bool = False) -> None:
        self.kernel = f"tree attention ({kernels.instructions})"
        self._attention = CpuAttention(kernels)
        self._pools = [
            PagedPool.allocate(slots, layer.kv_heads, layer.key_size, layer.value_size, layer.dtype)
            for layer in layers
        ]
        self._groups = [layer.heads // layer.kv_heads for layer in layers]
        self.plans = PlanCache(aligned=invariant)

    def __iter__(self) -> Iterator[PagedPool]:
        return iter(self._pools)

    @staticmethod
    def take(layers: Sequence[LayerShape]) -> bool:
        """Whether the kernel computes all of these layers."""
        return all(supports(one.heads, one.kv_heads, one.key_size, one.value_size, one.dtype)
                   for one in layers)

    def begin(self, batch: StepBatch, slots: Tensor) -> Step:
        """See `kv_pools.KVPools`."""
        self.plans.begin(batch)
        return _CpuStep(self._attention, self._pools, self._groups, self.plans, slots)


class _CpuStep:
    """One step. The plan depends on the window and on the heads of a KV head, not on the layer."""

    def __init__(self, attention: CpuAttention, pools: Sequence[PagedPool], groups: Sequence[int], plans: PlanCache,
                 slots: Tensor) -> None:
        self._attention = attention
        self._pools = pools
        self._groups = groups
        self._plans = plans
        self._slots = slots
        self._layer = 0

    @property
    def kv_tokens_read(self) -> int:
        return self._plans.kv_tokens_read

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, scale: float | None, window: int | None,
               soft_cap: float | None, sinks: Tensor | None) -> Tensor:
        pool, group = self._pools[self._layer], self._groups[self._layer]
        self._layer += 1
        plan = self._plans.plan(group, window)
        query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
        return self._attention.attend(query, key, value, self._slots, pool, plan, scale=scale, soft_cap=soft_cap,
                                      sinks=sinks)[None]

    def finish(self) -> None:
        """Check that every layer has attended once."""
        if self._layer != len(self._pools):
            raise RuntimeError(f"{self._layer} of {len(self._pools)} layers attended in this step")
