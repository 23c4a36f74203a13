"""The decoder of a `transformers` model for the compiled kernels: described by what was seen of it, and compared.

No table of architectures: a few tokens are computed by the model itself, once all at position 0 and once apart. Where
the numbers say which known operation every part is, the parts become a `DecoderModel`; where they do not, or where its
logits differ from the model's own, `NotNative` says why and the model is left as it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...kernels.cpu.attention import PagedPool
from ...kernels.cpu.attention import supports as attention_supports
from ...kernels.cpu.decoder import ENTRIES, CpuDecoder, DecoderModel, in_8_bits, supports
from ...kernels.cpu.decoder_structures import WeightKind
from ...kernels.cpu.library import Kernels
from ...kernels.cpu.plan import ItemPlan
from ..model_runner import KVRun, Segment, StepBatch
from .errors import ModelLoadError
from .native_builder import Builder
from .native_layers import LayerParts, layer_parts
from .native_observation import NotNative, Observation, observe
from .native_parts import Weights, close, factor_of, flat, is_linear, norm_giving
from .native_weights import Mover
from .plain_logits import plain_logits

POSITIONS = (0, 1, 2, 5, 3, 11, 13)
"""Of the tokens of an observation; their number is not likely to be one of heads."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Relative distance of logits that is still rounding."""
PREFIX, BRANCH = 21, 4

_made: weakref.WeakKeyDictionary[nn.Module, tuple[WeightKind | None, DecoderModel]] = weakref.WeakKeyDictionary()
"""Models whose weights are in compiled decoders already, and how they are kept there: engines may share them."""


def known_decoder(model: PreTrainedModel, weights: WeightKind | None = None) -> DecoderModel | None:
    """The decoder that was made of `model` before. Raises ModelLoadError where it keeps its weights otherwise."""
    if model not in _made:
        return None
    kept, made = _made[model]
    if kept is not weights:
        raise ModelLoadError("the weights of this model are kept otherwise by another engine; load it once more")
    return made


def native_decoder(model: PreTrainedModel, kernels: Kernels, most_positions: int,
                   weights: WeightKind | None = None) -> DecoderModel:
    """The compiled decoder of `model`, which is on the CPU and has our attention. The weights of its linear layers move
    there, so that it cannot compute by itself any more; those of int8 are rounded after the decoder has been compared.
    Raises NotNative, and leaves it as it was."""
    if model.dtype not in ENTRIES:
        raise NotNative(f"it is in {str(model.dtype).removeprefix('torch.')}")
    mover = Mover()
    try:
        prompts = _check_prompts(model)
        expected = np.stack([plain_logits(model, np.concatenate(parts)) for parts in prompts])
        made = _describe(model, mover, most_positions)
        _compare(made, kernels, prompts, expected)
    except (NotNative, ModelLoadError):
        mover.give_back()
        raise
    except Exception as error:  # what a module of an unknown kind raises when it is tried
        mover.give_back()
        raise NotNative(f"{type(error).__name__}: {error}") from error
    if weights is WeightKind.int8:
        made = in_8_bits(made)
    _made[model] = weights, made
    return made


def _describe(model: PreTrainedModel, mover: Mover, most_positions: int) -> DecoderModel:
    config: Any = model.config.get_text_config()
    embedding: Any = model.get_input_embeddings()
    chosen = torch.randperm(len(embedding.weight), generator=torch.Generator().manual_seed(0))
    ids = chosen[: len(POSITIONS)].tolist()
    still, moved = observe(model, ids, [0] * len(ids)), observe(model, ids, POSITIONS)
    if len(moved.layers) != config.num_hidden_layers:
        raise NotNative("not all of its layers are used")
    layers = [layer_parts(one, other, moved) for one, other in zip(still.layers, moved.layers, strict=True)]
    factor, positions = _embedding(embedding, moved)
    norm, head, logit_factor, logit_cap = _head(model, moved, config)
    hidden = Weights(head).weight.shape[1]
    for layer in layers:
        _check_shape(layer, model.dtype, hidden)
    builder = Builder(mover, moved, most_positions)
    tied = Weights(head).weight.data_ptr() == embedding.weight.data_ptr()
    return DecoderModel(
        layers=[builder.layer(layer) for layer in layers], embedding=None if tied else embedding.weight.detach(),
        positions=positions, before_head=builder.norm(norm), head=mover.take([head]), hidden=hidden, dtype=model.dtype,
        embedding_factor=factor, logit_factor=logit_factor, logit_cap=logit_cap)


def _check_shape(layer: LayerParts, dtype: torch.dtype, hidden: int) -> None:
    heads, _, size = layer.attention.query.shape
    kv_heads, value_size = layer.attention.key.shape[0], layer.attention.value.shape[-1]
    if not attention_supports(heads, kv_heads, size, value_size, dtype) or not supports(size, value_size, hidden):
        raise NotNative(f"the kernels do not compute {heads} heads of {size} over {kv_heads} on {hidden} numbers")


def _embedding(embedding: nn.Module, seen: Observation) -> tuple[float, Tensor | None]:
    """What multiplies an embedding, and what is added to it, float32 [positions, hidden]."""
    start = flat(seen.layers[0].given)
    weight: Tensor = embedding.weight.detach()  # type: ignore[operator]
    rows = weight[seen.token_ids]
    factor = factor_of(rows, start) if rows.shape == start.shape else None
    if factor is not None:
        return factor, None
    for call in seen.outside:
        if call.module is embedding or not isinstance(call.module, nn.Embedding):
            continue
        added = flat(call.result)
        if added.shape == start.shape == rows.shape and close(rows.float() + added.float(), start):
            table = call.module.weight.detach()
            places = [int((table == row).all(1).nonzero()[0]) for row in added]
            offsets = {place - position for place, position in zip(places, seen.positions.tolist(), strict=True)}
            if len(offsets) == 1:
                return 1.0, table[offsets.pop():].float().contiguous()
    raise NotNative("what it makes of embeddings is not known")


def _head(model: PreTrainedModel, seen: Observation, config: Any) -> tuple[nn.Module | None, nn.Module, float, float]:
    """The norm before the head, the head, the factor of its outputs and their cap."""
    untyped: Any = model
    module: nn.Module = untyped.get_output_embeddings()
    call = next((call for call in seen.outside if call.module is module), None)
    final = seen.layers[-1].result
    if call is None or final is None or seen.logits is None or not is_linear(module):
        raise NotNative("its head is no linear layer")
    norm = norm_giving(seen.outside, call.given)
    if not torch.equal(flat(call.given if norm is None else norm.given), flat(final)):
        raise NotNative("what comes before its head is no norm")
    given, logits = flat(call.result), flat(seen.logits)
    factor = factor_of(given, logits)
    if factor is not None:
        return None if norm is None else norm.module, module, factor, 0.0
    cap: Any = getattr(config, "final_logit_softcapping", None)
    if isinstance(cap, float | int) and close(torch.tanh(given.float() / cap) * cap, logits):
        return None if norm is None else norm.module, module, 1.0, float(cap)
    raise NotNative("what it makes of its logits is not known")


def _check_prompts(model: PreTrainedModel) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Two prompts with one beginning."""
    embedding: Any = model.get_input_embeddings()
    ids = np.random.default_rng(0).integers(0, len(embedding.weight), PREFIX + 2 * BRANCH)
    return [(ids[:PREFIX], branch) for branch in (ids[PREFIX : PREFIX + BRANCH], ids[PREFIX + BRANCH :])]


def _compare(made: DecoderModel, kernels: Kernels, prompts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
             expected: NDArray[np.float32]) -> None:
    """Raise NotNative unless `made` gives the logits `expected`, over a small tree with slots out of order."""
    slots = np.arange(PREFIX + 2 * BRANCH)[::-1].copy()
    pools = [PagedPool.allocate(len(slots), layer.kv_heads, layer.key_size, layer.value_size, made.dtype)
             for layer in made.layers]
    for pool in pools:
        pool.keys.fill_(torch.nan)
        pool.values.fill_(torch.nan)
    decoder = CpuDecoder(kernels, made, pools)
    root = KVRun(1, slots[:PREFIX], 0)
    branches = [Segment(branch, slots[PREFIX + BRANCH * i : PREFIX + BRANCH * (i + 1)], PREFIX, (0,), True)
                for i, (_, branch) in enumerate(prompts)]
    found = np.empty(0, np.float32)
    for batch in (StepBatch((), (Segment(prompts[0][0], root.slots, 0, (), False),)), StepBatch((root,), branches)):
        plans = [ItemPlan(batch.runs, batch.segments, group=group, window=window) for group, window in made.plan_keys]
        found = decoder.run(batch.token_ids, batch.positions, batch.slots, batch.wanted, plans)
    away = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    if not away <= TOLERANCE[made.dtype]:
        raise NotNative(f"its logits differ by {away:.1g} from its own")
