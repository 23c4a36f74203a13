"""Random decoders of few layers for tests, without `transformers`."""

import numpy as np
import torch
from numpy.typing import NDArray
from semlang.kernels.cpu.attention import PagedPool
from semlang.kernels.cpu.decoder import (
    CpuDecoder,
    DecoderLayer,
    DecoderModel,
    Norm,
    Turns,
    gated_order,
    head_order,
)
from semlang.kernels.cpu.decoder_structures import Activation, NormKind
from semlang.kernels.cpu.library import Kernels
from semlang.kernels.cpu.linear import PANEL, PackedWeights
from semlang.kernels.cpu.plan import ItemPlan
from torch import Tensor
from trees import Step

HIDDEN, VOCABULARY, HEADS, KV_HEADS = 48, 70, 6, 2


def random_layer(dtype: torch.dtype, number: int, *, size: int, inner: int, plain: bool) -> DecoderLayer:
    """A layer as Llama has it where it is `plain`; else with all norms, biases, a window, sinks and a cap."""
    def weights(rows: Tensor, inputs: int, padded: int | None = None) -> PackedWeights:
        weight = torch.zeros(len(rows), padded or inputs)
        weight[rows >= 0, :inputs] = torch.randn(int((rows >= 0).sum()), inputs) * inputs**-0.5
        return PackedWeights.of(weight.to(dtype), None if plain else (rows >= 0) * torch.randn(len(rows)))

    def norm(width: int) -> Norm:
        kind = NormKind.rms if plain else NormKind.layer
        return Norm(kind, torch.rand(width) + 0.5, None if plain else torch.randn(width), 1e-5)

    names = ("before_attention", "before_feed_forward") if plain else (
        "before_attention", "after_attention", "before_feed_forward", "after_feed_forward")
    norms = {name: norm(HIDDEN) for name in names}
    if not plain:
        norms |= {"query_norm": norm(size), "key_norm": norm(size)}
    heads = torch.cat([head_order(torch.arange(count * size), size) for count in (HEADS, KV_HEADS, KV_HEADS)])
    first = torch.arange(inner)
    linears = {"heads": weights(heads, HIDDEN), "output": weights(torch.arange(HIDDEN), HEADS * size),
               "up": weights(gated_order(first, first) if plain else head_order(first, inner), HIDDEN),
               "down": weights(torch.arange(HIDDEN), inner, inner + -inner % PANEL)}
    def angles(count: int) -> Tensor:
        turn = torch.arange(count)[:, None] / torch.arange(1, size // 2 + 1)
        return torch.cat([turn.cos(), turn.sin()], 1)

    return DecoderLayer(
        norms=norms, linears=linears, turns=Turns(size, angles, 1 << 20), sinks=None if plain else torch.randn(HEADS),
        window=None if plain or number else 20, scale=size**-0.5, soft_cap=0.0 if plain else 2.0, attention_factor=1.0,
        feed_forward_factor=1.0, head_count=HEADS, kv_heads=KV_HEADS, key_size=size, value_size=size,
        activation=Activation.silu if plain else list(Activation)[number], gated=plain,
        parallel=not plain and number == 1, whole_norms=False)


def random_decoder(dtype: torch.dtype, *, size: int = 16, inner: int = 50, layers: int = 2,
                   plain: bool = True) -> DecoderModel:
    """A decoder; tied embeddings where it is `plain`."""
    parts = [random_layer(dtype, number, size=size, inner=inner, plain=plain) for number in range(layers)]
    embedding = None if plain else torch.randn(VOCABULARY, HIDDEN).to(dtype)
    positions = None if plain else torch.randn(4096, HIDDEN)
    return DecoderModel(parts, embedding, positions, Norm(NormKind.rms, torch.ones(HIDDEN), None, 1e-5),
                        PackedWeights.of(torch.randn(VOCABULARY, HIDDEN).to(dtype), None), HIDDEN, dtype, logit_cap=5.0)


def logits(kernels: Kernels, model: DecoderModel, step: Step) -> NDArray[np.float32]:
    """Of the last row of every segment; what the runs hold is random, and all else of the pools NaN."""
    pools = []
    for layer in model.layers:
        pool = PagedPool.allocate(step.slot_count, KV_HEADS, layer.key_size, layer.value_size, model.dtype)
        pool.keys.normal_()
        pool.values.normal_()
        pools.append(pool)
    slots = np.concatenate([segment.slots for segment in step.segments])
    positions = np.concatenate([segment.first_position + np.arange(len(segment.slots)) for segment in step.segments])
    ids = np.arange(len(slots)) * 7 % VOCABULARY
    ends = np.cumsum([len(segment.slots) for segment in step.segments]) - 1
    plans = [ItemPlan(step.runs, step.segments, group=group, window=window) for group, window in model.plan_keys]
    return CpuDecoder(kernels, model, pools).run(ids, positions, slots, ends, plans)
