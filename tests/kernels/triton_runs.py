"""One layer by the Triton kernels in Triton's interpreter, and how far it is from float64."""

import torch
from semlang.kernels.reference_attention import reference_attention
from semlang.kernels.triton.attention import DevicePlan, Pool, TritonAttention
from semlang.kernels.triton.plan import LayerGroup, Plan, Planner
from semlang.kernels.triton.tiles import Tiles
from torch import Tensor
from trees import Step, tensors

CPU = torch.device("cpu")
TILES = Tiles(small_rows=16, large_rows=64, small_keys=16, large_keys=32, small_stages=2, large_stages=2)
ONE = Tiles(large_rows=32, small_keys=16, large_keys=16, one=True)
BOUND = {torch.float32: 1e-6, torch.float16: 2e-3}


def attend(tree: Step, parts: list[Tensor], plan: Plan, tiles: Tiles, *, window: int | None = None,
           scale: float | None = None, soft_cap: float | None = None, sinks: Tensor | None = None) -> Tensor:
    """One layer by the kernels. The new keys are written by them; partial results and the output begin as NaN."""
    query, keys, values = parts
    slots = torch.cat([torch.from_numpy(segment.slots) for segment in tree.segments])
    new_keys, new_values = (pool[:, slots].transpose(0, 1).contiguous() for pool in (keys, values))
    pool = Pool(keys.clone(), values.clone())
    pool.keys[:, slots], pool.values[:, slots] = torch.nan, torch.nan
    device_plan = DevicePlan(CPU)
    device_plan.load(plan)
    device_plan.reserve(query.shape[0], values.shape[-1])
    device_plan.outputs.fill_(torch.nan)
    device_plan.sums.fill_(torch.nan)
    attention = TritonAttention(tiles, CPU)
    attention.store(new_keys, new_values, slots, pool)
    output = torch.full((plan.row_count, query.shape[0], values.shape[-1]), torch.nan, dtype=query.dtype)
    padding = torch.full((plan.row_count - query.shape[1], *query.shape[::2]), torch.nan, dtype=query.dtype)
    attention.attend(torch.cat([query.transpose(0, 1), padding]), pool, device_plan, scale=scale, soft_cap=soft_cap,
                     sinks=sinks, window=window, output=output)
    return output


def error(tree: Step, heads: int = 6, kv_heads: int = 2, dim: int = 16, dtype: torch.dtype = torch.float32, *,
          window: int | None = None, soft_cap: float | None = None, sinks: Tensor | None = None, scale: float = 0.25,
          gain: float = 1.0, tiles: Tiles = TILES, span: int | None = None, invariant: bool = False,
          value_dim: int | None = None) -> float:
    """Relative distance of the kernels from the float64 reference."""
    query, keys, values = tensors(tree, heads, kv_heads, dim, dtype, gain)
    values = values[..., : value_dim or dim].contiguous()
    planner = Planner(tiles, 16, span=span, invariant=invariant)
    plan = planner.plan(tree.runs, tree.segments, LayerGroup(kv_heads, heads // kv_heads, window))
    result = attend(tree, [query, keys, values], plan, tiles, window=window, scale=scale, soft_cap=soft_cap,
                    sinks=sinks)
    expected = reference_attention(query, keys, values, tree.runs, tree.segments, scale=scale, window=window,
                                   soft_cap=soft_cap, sinks=sinks)
    return float((result.double() - expected).norm() / expected.norm())
