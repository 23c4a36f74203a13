"""A whole decoder in one call of the C++ kernels: what it is made of, and its steps over KV pools."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from .attention import AttentionStep, PagedPool
from .decoder_structures import (
    FACTORS,
    FLAGS,
    SHAPE,
    Activation,
    DecoderFields,
    LayerFields,
    NormFields,
    NormKind,
    StepFields,
    WeightKind,
)
from .library import Kernels
from .linear import PANEL, PackedWeights
from .plan import ItemPlan

ENTRIES = {torch.bfloat16: "decode_bf16", torch.float32: "decode_float"}
LANES = 16
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Norm:
    """`weight` float32 [size]; `bias` only for NormKind.layer."""

    kind: NormKind
    weight: Tensor
    bias: Tensor | None
    epsilon: float

    def fields(self) -> NormFields:
        """For the kernel."""
        return NormFields(self.weight.data_ptr(), _pointer(self.bias), self.epsilon, self.kind)


class Turns:
    """The angles of positions, float32 [positions, rotated]: cosines, then sines; made when first needed.

    `make(n)` gives the first n rows; `most`: of all there are.
    """

    def __init__(self, rotated: int, make: Callable[[int], Tensor], most: int) -> None:
        self.rotated = rotated
        self._make = make
        self._most = most
        self.table = torch.empty(0, rotated)

    def reserve(self, positions: int) -> None:
        """Have rows for so many positions."""
        if len(self.table) < positions:
            wanted = min(self._most, max(256, 1 << (positions - 1).bit_length()))
            self.table = self._make(max(positions, wanted)).float().contiguous()


@dataclass(frozen=True)
class DecoderLayer:
    """One layer, as `Layer` of decoder.h has it; `norms` and `linears` by their names there.

    Its heads are in panels of their own (`head_order`), gate and partner alternate panel by panel (`gated_order`).
    `window`: tokens that attention looks back, its own included.
    """

    norms: Mapping[str, Norm]
    linears: Mapping[str, PackedWeights]
    turns: Turns | None
    sinks: Tensor | None
    window: int | None
    scale: float
    soft_cap: float
    attention_factor: float
    feed_forward_factor: float
    head_count: int
    kv_heads: int
    key_size: int
    value_size: int
    activation: Activation
    gated: bool
    parallel: bool
    whole_norms: bool

    @property
    def group(self) -> int:
        """Query heads of a KV head."""
        return self.head_count // self.kv_heads


@dataclass(frozen=True)
class DecoderModel:
    """A decoder. `embedding` [vocabulary, hidden], or None where it is the head's weights; `positions` float32
    [positions, hidden] is added to it. Logits are head(x) · logit_factor, then capped (0: they are not)."""

    layers: Sequence[DecoderLayer]
    embedding: Tensor | None
    positions: Tensor | None
    before_head: Norm | None
    head: PackedWeights
    hidden: int
    dtype: torch.dtype
    embedding_factor: float = 1.0
    logit_factor: float = 1.0
    logit_cap: float = 0.0

    @property
    def embedded_ids(self) -> int:
        """Tokens that have an embedding."""
        return self.head.outputs if self.embedding is None else len(self.embedding)

    @property
    def plan_keys(self) -> list[tuple[int, int | None]]:
        """(query heads of a KV head, window) of the plans that a step needs."""
        return list(dict.fromkeys((layer.group, layer.window) for layer in self.layers))


class CpuDecoder:
    """Computes steps of a model over `pools`, one for each layer. One thread uses it at a time."""

    def __init__(self, kernels: Kernels, model: DecoderModel, pools: Sequence[PagedPool]) -> None:
        self.model = model
        self._pools = list(pools)
        self._library = kernels.library
        self._entry = getattr(kernels.library, ENTRIES[model.dtype])
        self._entry.argtypes = [ctypes.c_void_p] * 3
        self._entry.restype = None
        self._threads = 0
        self._workspace = ctypes.c_void_p()
        self._end: Callable[[], object] = _nothing
        self._layers = self._layer_fields()
        self._fields = self._decoder_fields()
        self._turns = list({id(layer.turns): layer.turns for layer in model.layers if layer.turns is not None}.values())
        self._positions = 0

    def run(self, token_ids: Indices, positions: Indices, slots: Indices, wanted: Indices,
            plans: Sequence[ItemPlan]) -> NDArray[np.float32]:
        """Write keys and values of the tokens to `slots`; float32 logits [wanted, vocabulary] of the rows `wanted`.

        `plans` in the order of `DecoderModel.plan_keys`.
        """
        self._use_threads(torch.get_num_threads())
        self._reserve(int(positions.max()) + 1)
        logits = np.empty((len(wanted), self.model.head.outputs), np.float32)
        steps = (AttentionStep * len(plans))(*map(_plan_fields, plans))
        partials = np.array([plan.partial_count for plan in plans], np.int32)
        step = StepFields(
            token_ids.ctypes.data, positions.ctypes.data, slots.ctypes.data, wanted.ctypes.data,
            ctypes.addressof(steps), partials.ctypes.data, logits.ctypes.data, len(token_ids), len(wanted), len(plans))
        self._entry(ctypes.addressof(self._fields), ctypes.addressof(step), self._workspace)
        return logits

    def _use_threads(self, threads: int) -> None:
        """Have a team of so many; they wait between steps."""
        if threads == self._threads:
            return
        new, free = self._library.workspace_new, self._library.workspace_free
        new.argtypes, new.restype = [ctypes.c_int], ctypes.c_void_p
        free.argtypes, free.restype = [ctypes.c_void_p], None
        self._end()
        self._workspace = ctypes.c_void_p(new(threads))
        self._end = weakref.finalize(self, free, self._workspace)
        self._threads = threads

    def _reserve(self, positions: int) -> None:
        if positions <= self._positions:
            return
        for turns in self._turns:
            turns.reserve(positions)
        for fields, layer in zip(self._layers, self.model.layers, strict=True):
            if layer.turns is not None:
                fields.turns = layer.turns.table.data_ptr()
        self._positions = min((len(turns.table) for turns in self._turns), default=1 << 62)

    def _layer_fields(self) -> ctypes.Array[LayerFields]:
        keys = self.model.plan_keys
        array = (LayerFields * len(self.model.layers))()
        for fields, layer, pool in zip(array, self.model.layers, self._pools, strict=True):
            for name, norm in layer.norms.items():
                setattr(fields, name, norm.fields())
            for name, linear in layer.linears.items():
                setattr(fields, name, linear.fields())
            for name in (*FACTORS, *SHAPE, *FLAGS):
                setattr(fields, name, getattr(layer, name))
            fields.sinks = _pointer(layer.sinks)
            fields.key_pool, fields.value_pool = pool.keys.data_ptr(), pool.values.data_ptr()
            fields.rotated = layer.turns.rotated if layer.turns is not None else 0
            fields.plan = keys.index((layer.group, layer.window))
        return array

    def _decoder_fields(self) -> DecoderFields:
        model = self.model
        return DecoderFields(
            ctypes.addressof(self._layers), _pointer(model.embedding) or model.head.packed.data_ptr(),
            _pointer(model.positions), model.before_head.fields() if model.before_head is not None else NormFields(),
            model.head.fields(), model.embedding_factor, model.logit_factor, model.logit_cap, len(model.layers),
            model.hidden, model.embedding is None)


def _plan_fields(plan: ItemPlan) -> AttentionStep:
    """What the plan says of a step; the rest depends on the layer."""
    return AttentionStep(
        items=plan.items.ctypes.data, rows=plan.rows.ctypes.data, spans=plan.spans.ctypes.data,
        ranges=plan.ranges.ctypes.data, merge_starts=plan.merge_starts.ctypes.data,
        merge_partials=plan.merge_partials.ctypes.data, item_count=len(plan.items))


def supports(key_size: int, value_size: int, hidden: int) -> bool:
    """Whether the kernels compute such a layer, where attention's own conditions hold (`attention.supports`)."""
    return key_size % LANES == 0 and value_size % LANES == 0 and hidden % LANES == 0


def head_order(rows: Tensor, size: int) -> Tensor:
    """Numbers of rows, int64 [heads · size], with -1 after each head where its last panel is not full."""
    return pad(rows.reshape(-1, size), (0, -size % PANEL), value=-1).flatten()


def gated_order(gate: Tensor, partner: Tensor) -> Tensor:
    """Numbers of rows, int64 [size] each: panel after panel one of `gate`, one of `partner`; -1 fills the last ones."""
    panels = [head_order(part, len(part)).reshape(-1, PANEL) for part in (gate, partner)]
    return torch.stack(panels, 1).flatten()


def unpacked(weights: PackedWeights) -> Tensor:
    """The numbers [outputs, inputs] again, of weights that are not in 8 bits."""
    pair = weights.packed.shape[-1] if weights.kind is WeightKind.bfloat16 else 1
    panels = weights.packed.reshape(-1, weights.inputs // pair, PANEL, pair)
    return panels.permute(0, 2, 1, 3).reshape(-1, weights.inputs)[: weights.outputs]


def in_8_bits(model: DecoderModel) -> DecoderModel:
    """`model` with its linear layers in 8 bits; embeddings keep their dtype."""
    def smaller(weights: PackedWeights) -> PackedWeights:
        fewer = PackedWeights.of(unpacked(weights), None, WeightKind.int8)
        return replace(fewer, bias=weights.bias)

    embedding = model.embedding if model.embedding is not None else unpacked(model.head).contiguous()
    layers = [replace(layer, linears={name: smaller(part) for name, part in layer.linears.items()})
              for layer in model.layers]
    return replace(model, layers=layers, embedding=embedding, head=smaller(model.head))


def _nothing() -> None:
    """There is no team yet."""


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
