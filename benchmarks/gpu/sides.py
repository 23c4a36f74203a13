"""The ways to compute one layer of a step that the benchmark compares. A side that cannot be had says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cases import PAGE, Layer, Step, Tensors
from semlang.kernels.triton.attention import DevicePlan, Pool, TritonAttention
from semlang.kernels.triton.plan import LayerGroup, Planner
from semlang.kernels.triton.tuned import tiles_on
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Side = Callable[[], Tensor]
"""Computes [rows, heads, D] from tensors that stay in place, without looking at numbers on the device."""


class NotHere(Exception):
    """Why a side cannot be measured."""


def ours(step: Step, layer: Layer, data: Tensors, *, invariant: bool = False) -> Side:
    """The Triton kernels of this project."""
    device = data.query.device
    tiles = tiles_on(device, layer.size, layer.size, str(layer.dtype).removeprefix("torch."), one=invariant)
    kernels = TritonAttention(tiles, device)
    plan = DevicePlan(device)
    plan.load(Planner(tiles, kernels.programs, invariant=invariant).plan(
        step.runs, step.segments, LayerGroup(layer.kv_heads, layer.heads // layer.kv_heads)))
    pool, output = Pool(data.keys, data.values), torch.empty_like(data.query)
    return lambda: kernels.attend(data.query, pool, plan, output=output)


def batch_invariant(step: Step, layer: Layer, data: Tensors) -> Side:
    """The same, with results that no other row changes."""
    return ours(step, layer, data, invariant=True)


def copies(step: Step, data: Tensors) -> tuple[Tensor, Tensor]:
    """Keys and values of each leaf's whole context, [leaves, kv_heads, keys, D]."""
    wanted = torch.from_numpy(np.stack([step.context(leaf) for leaf in range(len(step.segments))]))
    wanted = wanted.to(data.keys.device)
    bytes_wanted = 2 * wanted.numel() * data.keys.shape[0] * data.keys.shape[2] * data.keys.dtype.itemsize
    if data.keys.device.type == "cuda" and bytes_wanted > 0.8 * torch.cuda.mem_get_info()[0]:
        raise NotHere("the copies do not fit")
    return data.keys[:, wanted].transpose(0, 1).contiguous(), data.values[:, wanted].transpose(0, 1).contiguous()


def torch_sdpa(step: Step, layer: Layer, data: Tensors) -> Side:
    """torch's attention over each leaf's own copy of its context, which is not timed. Decoding, heads of a group are
    rows."""
    if step.new == step.levels[0][1]:  # whole prompts
        keys, values = copies(step, data)
        prompts = data.query.view(-1, step.new, layer.heads, layer.size).transpose(1, 2)
        return lambda: scaled_dot_product_attention(
            prompts, keys, values, is_causal=True, enable_gqa=True).transpose(1, 2).reshape(data.query.shape)
    if step.new != 1:
        raise NotHere("chunks below a prefix are left out")
    keys, values = copies(step, data)
    query = data.query.view(step.rows, layer.kv_heads, -1, layer.size)
    return lambda: scaled_dot_product_attention(query, keys, values).reshape(data.query.shape)


def torch_flex(step: Step, layer: Layer, data: Tensors) -> Side:
    """flex_attention of all rows over all slots, a block mask saying who sees what; compiled on a GPU."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    if step.new != 1:
        raise NotHere("only for decoding")
    device = data.query.device
    owner = torch.zeros(len(step.nodes), step.slots, dtype=torch.int32, device=device) - 1
    for depth, level in enumerate(step.nodes):
        owner[depth, torch.from_numpy(level.reshape(-1)).to(device)] = torch.arange(
            len(level), dtype=torch.int32, device=device).repeat_interleave(level.shape[1])
    counts = [count for count, _ in step.levels]

    def sees(batch: Tensor, head: Tensor, row: Tensor, slot: Tensor) -> Tensor:
        found = owner[0, slot] == row * counts[0] // counts[-1]
        for depth in range(1, len(counts)):
            found = found | (owner[depth, slot] == row * counts[depth] // counts[-1])
        return found

    flex: Any = flex_attention
    if device.type == "cuda":
        torch.compiler.reset()  # each tree is compiled anew; without this, only the first eight are
        flex = torch.compile(flex_attention, dynamic=False)
    mask = create_block_mask(sees, None, None, step.rows, step.slots, device=device)
    query = data.query.transpose(0, 1)[None].contiguous()
    # It multiplies a hidden key by zero, so that NaN would come through.
    keys, values = (pool[None].nan_to_num() for pool in (data.keys, data.values))
    return lambda: flex(query, keys, values, block_mask=mask, enable_gqa=True)[0].transpose(0, 1)


def paged(data: Tensors) -> tuple[Tensor, Tensor]:
    """The pools as [pages, 16, kv_heads, D]."""
    kv_heads, slots, size = data.keys.shape
    keys, values = (pool.transpose(0, 1).reshape(slots // PAGE, PAGE, kv_heads, size).contiguous()
                    for pool in (data.keys, data.values))
    return keys, values


def flashinfer_cascade(step: Step, layer: Layer, data: Tensors) -> Side:
    """FlashInfer's MultiLevelCascadeAttentionWrapper: a launch and a merge for each level."""
    flashinfer = _import("flashinfer")
    if step.new != 1 or any(length % PAGE for _, length in step.levels):
        raise NotHere("only for decoding, in whole pages")
    device, leaves = data.query.device, step.levels[-1][0]

    def numbers(values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.int32, device=device)

    workspace = torch.empty(256 << 20, dtype=torch.uint8, device=device)
    wrapper = flashinfer.MultiLevelCascadeAttentionWrapper(len(step.levels), workspace, "NHD")
    wrapper.plan(
        [numbers(np.arange(count + 1) * (leaves // count)) for count, _ in step.levels],
        [numbers(np.arange(count + 1) * (length // PAGE)) for count, length in step.levels],
        [numbers(level[:, ::PAGE].reshape(-1) // PAGE) for level in step.nodes],
        [numbers(np.full(count, PAGE)) for count, _ in step.levels],
        layer.heads, layer.kv_heads, layer.size, PAGE, q_data_type=layer.dtype,
    )  # fmt: skip
    cache = torch.stack(paged(data), dim=1)
    return lambda: wrapper.run(data.query, cache)


def flash_attention_3(step: Step, layer: Layer, data: Tensors) -> Side:
    """FlashAttention 3 over pages of each leaf's whole context: shared keys are read once for each leaf."""
    table = _table(step, 0, len(step.levels), data.query.device)
    call = _flash_attention_3(data.query, paged(data), table, sum(length for _, length in step.levels))
    return lambda: call()[0]


def two_calls_of_flash_attention_3(step: Step, layer: Layer, data: Tensors) -> Side:
    """FlashAttention 3 over the root for all rows as one sequence, then over the rest for each; merged by torch."""
    if len(step.levels) < 2 or step.levels[0][0] != 1:
        raise NotHere("only where all rows share a prefix")
    pages = paged(data)
    root, rest = (_table(step, *levels, data.query.device) for levels in ((0, 1), (1, len(step.levels))))
    prefix = _flash_attention_3(data.query, pages, root[:1], step.levels[0][1])
    own = _flash_attention_3(data.query, pages, rest, sum(length for _, length in step.levels[1:]))

    def merged() -> Tensor:
        parts = [prefix(), own()]
        sums = torch.stack([sums for _, sums in parts]).transpose(1, 2)[..., None]
        weights = torch.softmax(sums, dim=0)
        return (weights[0] * parts[0][0] + weights[1] * parts[1][0]).to(layer.dtype)

    return merged


def _table(step: Step, first: int, last: int, device: torch.device) -> Tensor:
    """Pages of some levels for each row, int32 [rows, pages]."""
    if step.new != 1 or any(length % PAGE for _, length in step.levels):
        raise NotHere("only for decoding, in whole pages")
    leaves = step.levels[-1][0]
    parts = [np.repeat(level[:, ::PAGE] // PAGE, leaves // len(level), axis=0) for level in step.nodes[first:last]]
    return torch.from_numpy(np.concatenate(parts, axis=1)).to(device, torch.int32)


def _flash_attention_3(query: Tensor, pages: tuple[Tensor, Tensor], table: Tensor,
                       count: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Results [rows, heads, D] and sums [heads, rows] by vLLM's build, for sequences of `count` keys."""
    module = _import("vllm.vllm_flash_attn")
    sequences = len(table)
    rows = len(query) // sequences
    starts = torch.arange(0, len(query) + 1, rows, dtype=torch.int32, device=query.device)
    used = torch.full((sequences,), count, dtype=torch.int32, device=query.device)

    def call() -> tuple[Tensor, Tensor]:
        output, sums = module.flash_attn_varlen_func(
            query, *pages, cu_seqlens_q=starts, max_seqlen_q=rows, seqused_k=used, max_seqlen_k=count,
            block_table=table, causal=False, return_softmax_lse=True, fa_version=3)
        return output, sums

    return call


def _import(name: str) -> Any:
    try:
        return __import__(name, fromlist=["_"])
    except Exception as error:  # a library that is there may still fail to load
        raise NotHere(f"{name} cannot be imported ({type(error).__name__})") from error


SIDES: dict[str, Callable[[Step, Layer, Tensors], Side]] = {
    "ours": ours,
    "ours, batch-invariant": batch_invariant,
    "torch SDPA, copies": torch_sdpa,
    "flex_attention": torch_flex,
    "FlashInfer cascade": flashinfer_cascade,
    "FA3, not shared": flash_attention_3,
    "FA3, two calls": two_calls_of_flash_attention_3,
}
