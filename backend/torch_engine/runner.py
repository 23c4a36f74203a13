"""Runs a `transformers` decoder over segments of the context tree, with a KV pool of its own.

All tokens of a step are one packed row [1, tokens] with explicit positions; each layer writes its
new keys and values into the pool and attends through `kernels.tree_attention`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ...kernels.attention_plan import AttentionPlan, AttentionShape
from ...kernels.tree_attention import tree_attention
from ..model_runner import Segment, StepBatch
from .attention_hook import UnsupportedAttention
from .errors import ModelLoadError, first_line
from .memory import available_bytes, gibibytes


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


class TorchRunner:
    """A `ModelRunner` over a model that was loaded with our attention (`loading.load_model`).

    `kv_tokens_read`: keys that a layer read in the last step, a shared run counted once (the layer
    that read most, where windows differ).
    """

    def __init__(self, model: PreTrainedModel, *, context_length: int | None = None) -> None:
        self._model = model
        self._pools: list[LayerPool] = []
        self._selects_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        config: Any = model.config.get_text_config()
        embeddings: Any = model.get_input_embeddings()
        self._embedded_ids = len(embeddings.weight)
        self.device = model.device
        self.dtype = model.dtype
        self.context_length = _context_length(config, model, context_length)
        self.layers, self.vocabulary_size = self._probe(config.num_hidden_layers)
        self.kv_bytes_per_token = sum(layer.bytes_per_token for layer in self.layers)
        dtype = str(model.dtype).removeprefix("torch.")
        self.kernels = f"torch tree attention, torch linear ({dtype}, {self.device.type})"
        self.kv_tokens_read = 0
        # The plan is shared by all layers, so its thresholds follow the largest.
        largest = max(self.layers, key=lambda layer: layer.kv_heads * layer.key_size)
        self._shape = AttentionShape(largest.heads, largest.kv_heads, largest.key_size, self.device)

    def allocate(self, slots: int) -> None:
        """Reserve the KV pool. Raises ModelLoadError when memory does not suffice."""
        wanted = slots * self.kv_bytes_per_token
        free = available_bytes(self.device)
        room = "" if free is None else f", where {gibibytes(free)} is free"
        complaint = (
            f"the KV pool of {slots} tokens needs {gibibytes(wanted)} on {self.device}{room}; "
            "allow fewer KV tokens or use a smaller model"
        )
        if free is not None and wanted > free:
            raise ModelLoadError(complaint)
        try:
            self._pools = [
                LayerPool(
                    torch.empty(layer.kv_heads, slots, layer.key_size, dtype=layer.dtype, device=self.device),
                    torch.empty(layer.kv_heads, slots, layer.value_size, dtype=layer.dtype, device=self.device),
                )
                for layer in self.layers
            ]
        except RuntimeError as error:  # torch reports CPU and CUDA exhaustion alike
            raise ModelLoadError(complaint) from error

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        """Compute the step; float32 logits [segments that want logits, vocabulary_size], in segment order.

        Raises ValueError for a segment without tokens that wants logits, for tokens beyond the context
        length, and for ids that the model does not have.
        """
        segments = batch.segments
        for segment in segments:
            self._check(segment)
        ends = np.cumsum([len(segment.token_ids) for segment in segments], dtype=np.int64)
        if not segments or not ends[-1]:
            return np.empty((0, self.vocabulary_size), np.float32)
        positions = [segment.first_position + np.arange(len(segment.token_ids)) for segment in segments]
        wanted = np.array(
            [end - 1 for segment, end in zip(segments, ends, strict=True) if segment.wants_logits], np.int64
        )
        with torch.inference_mode():
            step = _PooledStep(self._pools, self._shape, batch, self._indices([s.slots for s in segments]))
            logits = self._forward(
                self._indices([segment.token_ids for segment in segments]), self._indices(positions), wanted, step
            )
            step.finish(len(self.layers))
            self.kv_tokens_read = step.kv_tokens_read
            return logits.float().cpu().numpy()

    def _check(self, segment: Segment) -> None:
        """Refuse what the model cannot compute; on CUDA it would take the whole process down."""
        if not len(segment.token_ids):
            if segment.wants_logits:
                raise ValueError("a segment without tokens has no logits")
            return
        if segment.first_position + len(segment.token_ids) > self.context_length:
            raise ValueError(f"a token beyond the context length of {self.context_length}")
        if segment.token_ids.min() < 0 or segment.token_ids.max() >= self._embedded_ids:
            raise ValueError(f"the model has no token {int(segment.token_ids.max())}, only {self._embedded_ids} tokens")

    def _forward(self, token_ids: Tensor, positions: Tensor, wanted: NDArray[np.int64], step: object) -> Tensor:
        """Logits [len(wanted), vocabulary] of the packed rows `wanted`."""
        options: dict[str, Any] = {"use_cache": False, "tree_step": step}
        rows = torch.from_numpy(wanted).to(self.device)
        if self._selects_logits:
            options["logits_to_keep"] = rows
        logits: Tensor = self._model(input_ids=token_ids[None], position_ids=positions[None], **options).logits[0]
        return logits if self._selects_logits else logits.index_select(0, rows)

    def _indices(self, parts: Sequence[NDArray[np.int64]]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts, dtype=np.int64)).to(self.device)

    def _probe(self, layer_count: int) -> tuple[list[LayerShape], int]:
        """Shapes of the layers and the number of logits, from a forward pass of one token."""
        step = _Probe()
        name = type(self._model).__name__
        try:
            with torch.inference_mode():
                zero = torch.zeros(1, dtype=torch.int64, device=self.device)
                logits = self._forward(zero, zero, np.zeros(1, np.int64), step)
        except UnsupportedAttention as error:
            raise ModelLoadError(f"{name} cannot run on the torch engine: {error}; use another model") from error
        except Exception as error:  # whatever the model's code raises on a configuration that does not fit together
            raise ModelLoadError(
                f"{name} fails on its first token ({type(error).__name__}: {first_line(error)}); check its config.json"
            ) from error
        if len(step.layers) != layer_count:
            raise ModelLoadError(
                f"{name} cannot run on the torch engine: {len(step.layers)} of its {layer_count} layers "
                "use an attention that can be replaced; use another model"
            )
        return step.layers, logits.shape[-1]


class _Probe:
    """Records the shapes of the layers for a single token, whose attention is its own value."""

    def __init__(self) -> None:
        self.layers: list[LayerShape] = []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
        heads, kv_heads = query.shape[1], key.shape[1]
        self.layers.append(LayerShape(heads, kv_heads, key.shape[-1], value.shape[-1], key.dtype))
        return value.repeat_interleave(heads // kv_heads, dim=1).transpose(1, 2)


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
        pool.values.index_copy_(1, self._slots, value[0])
        if window not in self._plans:
            self._plans[window] = AttentionPlan(self._batch.runs, self._batch.segments, self._shape, window)
        output = tree_attention(
            query[0], pool.keys, pool.values, self._plans[window], scale=scale, soft_cap=soft_cap, sinks=sinks
        )
        return output[None]

    def finish(self, layers: int) -> None:
        """Check that every layer has attended once."""
        if self._layer != layers:
            raise RuntimeError(f"{self._layer} of {layers} layers attended in this step")


def _context_length(config: Any, model: PreTrainedModel, wanted: int | None) -> int:
    """Most tokens of one context: what the model's positions allow, or less if `wanted`."""
    limit: int | None = getattr(config, "max_position_embeddings", None)
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        # Beyond this length the model changes the angles of all positions, cached keys included.
        limit = rope.get("original_max_position_embeddings", limit)
    length = wanted if wanted is not None else limit
    if length is None:
        raise ModelLoadError(f"{type(model).__name__} states no context length; pass context_length")
    if limit is not None and length > limit:
        raise ModelLoadError(f"{type(model).__name__} holds {limit} tokens of context, not {length}")
    return length
