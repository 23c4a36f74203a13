"""Runs a `transformers` decoder over segments of the context tree, with a KV pool of its own.

All tokens of a step are one packed row [1, tokens] with explicit positions; each layer writes its
new keys and values into the pool and attends through `kernels.tree_attention`.
"""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ...kernels.cpu.decoder import CpuDecoder, DecoderModel
from ...kernels.cpu.decoder_structures import WeightKind
from ...kernels.cpu.library import Kernels, Unavailable, load_kernels
from ...kernels.cpu.linear import ENTRIES
from ..model_runner import StepBatch
from .attention_hook import UnsupportedAttention
from .cpu_pools import CpuPools
from .errors import ModelLoadError, first_line
from .fast_leaves import check_kept, use_kernels
from .kv_pools import KVPools, LayerShape, TorchPools
from .memory import available_bytes, gibibytes
from .native_decoder import known_decoder, native_decoder
from .native_observation import NotNative


class TorchRunner:
    """A `ModelRunner` over a model that was loaded with our attention (`loading.load_model`).

    On a CPU the compiled kernels take over the whole decoder, else attention and linear layers, where they can, on a
    GPU those in Triton attention, unless `compiled` is False. `weights`: `int8` keeps those of linear layers in 8 bits,
    which only the compiled kernels for CPUs compute; raises ModelLoadError where they do not. `invariant`: no bit of a
    token's KV and logits depends on anything but the tokens before it: not on other segments of a step, on what these
    share with it, on chunks, slots and threads. On a CPU only the whole compiled decoder keeps to that, on a GPU Triton
    kernels for all of the model (`device_runner.py`); raises ModelLoadError where they do not compute the model.
    `kv_tokens_read`: keys that a layer read in the last step, a shared run counted once (the layer
    that read most, where windows differ).
    """

    def __init__(self, model: PreTrainedModel, *, context_length: int | None = None, compiled: bool = True,
                 weights: str | None = None, invariant: bool = False) -> None:
        self._model = model
        self._invariant = invariant
        self._weights = weights_kind(weights)
        self._pools: KVPools | None = None
        self._selects_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        config: Any = model.config.get_text_config()
        self.device = model.device
        self.dtype = model.dtype
        self.context_length = _context_length(config, model, context_length)
        self._native: CpuDecoder | None = None
        self._decoder = known_decoder(model, self._weights)
        if self._decoder is None:
            embeddings: Any = model.get_input_embeddings()
            self._embedded_ids = len(embeddings.weight)
            self.layers, self.vocabulary_size = self._probe(config.num_hidden_layers)
        else:
            self._embedded_ids = self._decoder.embedded_ids
            self.layers, self.vocabulary_size = _layer_shapes(self._decoder), self._decoder.head.outputs
        self.kv_bytes_per_token = sum(layer.bytes_per_token for layer in self.layers)
        self.kv_tokens_read = 0
        self._compiled: Kernels | None = None
        self._use_compiled = compiled
        self._triton = False
        self.kernels = self._choose_kernels(load_kernels() if self.device.type == "cpu" and compiled else None)
        if invariant and self._decoder is None and not self._triton:
            needed = "the whole decoder, compiled for a CPU" if self.device.type == "cpu" else "Triton kernels"
            raise ModelLoadError(f"results that do not depend on the batch need {needed}, and here it is: "
                                 f"{self.kernels}; leave `batch_invariant` out, or use another model")

    def _choose_kernels(self, compiled: Kernels | Unavailable | None) -> str:
        """Put compiled kernels in place where they compute this model; the names of what is in use."""
        attention, linear, note = TorchPools.kernel, "torch linear", ""
        dtype = str(self.dtype).removeprefix("torch.")
        if self._weights is not None:
            self._check_weights(compiled)
            dtype = f"int8 weights, {dtype}"
        if isinstance(compiled, Unavailable):
            note = f"; not compiled: {compiled.reason}"
        elif compiled is not None:
            if CpuPools.take(self.layers):
                self._compiled = compiled
                attention = f"tree attention ({compiled.instructions})"
            note = self._make_native(compiled)
            if self._decoder is not None:
                kind = "batch-invariant whole decoder" if self._invariant else "whole decoder"
                return f"{kind} ({compiled.instructions}), {dtype} on {self.device.type}"
            check_kept(self._model, self._weights)
            replaced = use_kernels(self._model, compiled, self._weights)
            if self._weights is not None and not replaced["linear"]:
                raise ModelLoadError(f"{type(self._model).__name__} has no linear layers that can have int8 weights; "
                                     "leave the weights as they are")
            if any(replaced.values()):
                names = [name for name in ("linear", "norm", "gated") if replaced[name]]
                linear = f"{', '.join(names)} layers ({compiled.instructions})"
        elif self.device.type == "cuda" and self._use_compiled:
            refusal = self._triton_refusal()
            self._triton = refusal is None
            attention = "tree attention (Triton)" if self._triton else attention
            note = f"; no Triton kernels: {refusal}" if refusal is not None else ""
        return f"{attention}, {linear}, {dtype} on {self.device.type}{note}"

    def _make_native(self, kernels: Kernels) -> str:
        """Have the compiled decoder take over the whole model; a note where it cannot."""
        if self._decoder is None:
            most: int | None = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
            try:
                self._decoder = native_decoder(self._model, kernels, max(most or 0, self.context_length), self._weights)
            except (NotNative, ModelLoadError) as reason:
                return f"; no whole decoder: {reason}"
        return ""

    def _check_weights(self, compiled: Kernels | Unavailable | None) -> None:
        """Raise ModelLoadError where weights cannot be in 8 bits."""
        reason = compiled.reason if isinstance(compiled, Unavailable) else None
        if self.device.type != "cpu":
            reason = f"only the compiled kernels for CPUs compute with them, and this is {self.device.type}"
        elif compiled is None:
            reason = "the compiled kernels are off"
        elif self.dtype not in ENTRIES:
            reason = f"the kernels do not compute in {str(self.dtype).removeprefix('torch.')}"
        if reason is not None:
            raise ModelLoadError(f"int8 weights are not possible: {reason}; leave the weights as they are")

    @property
    def is_native(self) -> bool:
        """Whether the compiled decoder, which was compared with the model when it was made, computes the steps."""
        return self._decoder is not None

    def _triton_refusal(self) -> str | None:
        """Why the Triton kernels cannot be used; None where they can."""
        if importlib.util.find_spec("triton") is None:
            return "Triton is not installed; pip install 'semlang[gpu]'"
        try:
            from .triton_pools import refusal
        except ImportError as error:
            return f"Triton cannot be imported: {first_line(error)}"
        return refusal(self.layers, self.device)

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
            if self._compiled is not None:
                pools = CpuPools(self._compiled, self.layers, slots, invariant=self._invariant)
                self._pools = pools
                if self._decoder is not None:
                    self._native = CpuDecoder(self._compiled, self._decoder, list(pools))
            elif self._triton:
                from .triton_pools import TritonPools

                self._pools = TritonPools(self.layers, slots, self.device, invariant=self._invariant)
            else:
                self._pools = TorchPools(self.layers, slots, self.device)
        except RuntimeError as error:  # torch reports CPU and CUDA exhaustion alike
            raise ModelLoadError(complaint) from error

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        """Compute the step; float32 logits [segments that want logits, vocabulary_size], in segment order.

        Raises ValueError for a segment without tokens that wants logits, for tokens beyond the context
        length, and for ids that the model does not have.
        """
        self._check(batch)
        if not len(batch.token_ids):
            return np.empty((0, self.vocabulary_size), np.float32)
        assert self._pools is not None, "allocate comes before the first step"
        if self._native is not None:
            return self._run_native(self._native, batch)
        with torch.inference_mode():
            step = self._pools.begin(batch, self._indices(batch.slots))
            logits = self._forward(self._indices(batch.token_ids), self._indices(batch.positions), batch.wanted, step)
            step.finish()
            self.kv_tokens_read = step.kv_tokens_read
            return logits.float().cpu().numpy()

    def _run_native(self, decoder: CpuDecoder, batch: StepBatch) -> NDArray[np.float32]:
        """The step by the compiled decoder."""
        assert isinstance(self._pools, CpuPools)
        cache = self._pools.plans
        cache.begin(batch)
        plans = [cache.plan(group, window) for group, window in decoder.model.plan_keys]
        logits = decoder.run(batch.token_ids, batch.positions, batch.slots, batch.wanted, plans)
        self.kv_tokens_read = cache.kv_tokens_read
        return logits

    def _check(self, batch: StepBatch) -> None:
        """Refuse what the model cannot compute; on CUDA it would take the whole process down."""
        if (batch.starts[1:] == batch.starts[:-1]).any() and any(
                segment.wants_logits and not len(segment.token_ids) for segment in batch.segments):
            raise ValueError("a segment without tokens has no logits")
        if not len(batch.token_ids):
            return
        if batch.positions.max() >= self.context_length:
            raise ValueError(f"a token beyond the context length of {self.context_length}")
        largest = int(batch.token_ids.max())
        if batch.token_ids.min() < 0 or largest >= self._embedded_ids:
            raise ValueError(f"the model has no token {largest}, only {self._embedded_ids} tokens")

    def _forward(self, token_ids: Tensor, positions: Tensor, wanted: NDArray[np.int64], step: object) -> Tensor:
        """Logits [len(wanted), vocabulary] of the packed rows `wanted`."""
        options: dict[str, Any] = {"use_cache": False, "tree_step": step}
        rows = torch.from_numpy(wanted).to(self.device)
        if self._selects_logits:
            options["logits_to_keep"] = rows
        logits: Tensor = self._model(input_ids=token_ids[None], position_ids=positions[None], **options).logits[0]
        return logits if self._selects_logits else logits.index_select(0, rows)

    def _indices(self, numbers: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(numbers).to(self.device)

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


def _layer_shapes(decoder: DecoderModel) -> list[LayerShape]:
    return [LayerShape(layer.head_count, layer.kv_heads, layer.key_size, layer.value_size, decoder.dtype)
            for layer in decoder.layers]


class _Probe:
    """Records the shapes of the layers for a single token, whose attention is its own value."""

    def __init__(self) -> None:
        self.layers: list[LayerShape] = []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
        heads, kv_heads = query.shape[1], key.shape[1]
        self.layers.append(LayerShape(heads, kv_heads, key.shape[-1], value.shape[-1], key.dtype))
        return value.repeat_interleave(heads // kv_heads, dim=1).transpose(1, 2)


def weights_kind(name: str | None) -> WeightKind | None:
    """How weights are kept: None as they are, or in 8 bits. Raises ModelLoadError for another name."""
    if name not in (None, "int8"):
        raise ModelLoadError(f"weights are kept as they are or as int8, not as `{name}`")
    return WeightKind.int8 if name == "int8" else None


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
