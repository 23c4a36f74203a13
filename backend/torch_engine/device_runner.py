"""The torch runner on a device that works beside the host: steps are handed over, recorded ones are replayed.

A step in which every row decodes one token runs as a recorded graph of the next larger size, where that can be had;
all others, prompts among them, are launched one kernel after another.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ..device_runner import Following, TokenChoices
from ..model_runner import StepBatch
from .device_sampling import choose_on_device, to_device
from .errors import first_line
from .kv_pools import Step
from .memory import available_bytes, gibibytes
from .runner import TorchRunner
from .step_buffers import SIZES, StepBuffers, padded_size
from .step_graph import GraphMaker, StepGraph

if TYPE_CHECKING:
    from .triton_pools import TritonPools

MEMORY_KEPT = 1 << 30
"""Bytes of the device that stay free: below, no more steps are recorded."""


class DeviceTorchRunner(TorchRunner):
    """Implements `device_runner.DeviceRunner`. `graphs`: what records steps, None for nothing; `rows`: the most rows
    of a recorded step. `invariant`: as in `TorchRunner`; here, no bit depends on padding and recording either."""

    def __init__(self, model: PreTrainedModel, *, context_length: int | None = None, compiled: bool = True,
                 graphs: GraphMaker | None = None, rows: int = 256, invariant: bool = False) -> None:
        super().__init__(model, context_length=context_length, compiled=compiled, invariant=invariant)
        self._maker = graphs
        self._sizes = [size for size in SIZES if size < rows] + [rows]
        self._graphs: dict[int, StepGraph] = {}
        self._moves = 0
        self._buffers: StepBuffers | None = None
        if self._triton:
            self.kernels = _with_gpu_leaves(model, self.kernels, invariant)
        if invariant:
            _check_invariant(model, self._embedded_ids)
        self._names = self.kernels
        self.eager_steps = 0
        """Steps whose kernels were launched one by one."""
        self.replayed_steps = 0

    def allocate(self, slots: int) -> None:
        """See `TorchRunner.allocate`. Records a step of one row, to see whether steps can be recorded."""
        self._graphs.clear()
        self._buffers = None
        super().allocate(slots)
        if self._maker is None:
            return
        if not self._triton:
            self._refuse("attention in plain torch launches what the tree asks for")
            return
        with torch.inference_mode():
            self._buffers = StepBuffers(self._sizes[-1], self.vocabulary_size, self.dtype, self.device)
            self._triton_pools.recorded_rows = self._sizes[-1]
            if self._graph(self._sizes[0]) is not None:
                self.kernels = f"{self._names}, recorded steps of up to {self._sizes[-1]} rows"

    def _refuse(self, reason: str) -> None:
        """Record no more; the names of what is in use say so."""
        known = f"recorded steps of {', '.join(map(str, sorted(self._graphs)))} rows only" if self._graphs else (
            "no recorded steps")
        self.kernels = f"{self._names}; {known}: {reason}"
        self._maker = None

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        """See `ModelRunner.run`."""
        return self.submit(batch).logits()

    def submit(self, batch: StepBatch, choices: TokenChoices | None = None,
               following: Following | None = None) -> DevicePending:
        """See `device_runner.DeviceRunner`. Raises as `TorchRunner.run`."""
        self._check_batch(batch, following is None)
        if not len(batch.token_ids):
            return DevicePending(torch.empty((0, self.vocabulary_size), device=self.device), self.device)
        with torch.inference_mode():
            tokens = None
            if following is not None:
                assert isinstance(following.step, DevicePending)
                chosen = following.step.result.index_select(0, to_device(following.places, self.device))
                tokens = chosen.clamp_min(0)  # no token: its call fails when the host hears of it
            logits = self._replayed(batch, tokens) if batch.can_be_followed else None
            if logits is None:
                logits = self._launched(batch, tokens)
            result = logits.float() if choices is None else choose_on_device(logits, choices)
            return DevicePending(result, self.device)

    def _check_batch(self, batch: StepBatch, tokens_known: bool) -> None:
        """Refuse what the model cannot compute; on CUDA it would take the whole process down."""
        if not len(batch.token_ids):
            return
        if batch.positions.max() >= self.context_length:
            raise ValueError(f"a token beyond the context length of {self.context_length}")
        largest = int(batch.token_ids.max())
        if tokens_known and (batch.token_ids.min() < 0 or largest >= self._embedded_ids):
            raise ValueError(f"the model has no token {largest}, only {self._embedded_ids} tokens")

    def _launched(self, batch: StepBatch, tokens: Tensor | None) -> Tensor:
        """Logits of a step whose kernels are launched one by one."""
        assert self._pools is not None, "allocate comes before the first step"
        if tokens is None:
            tokens = to_device(batch.token_ids, self.device)
        step = self._pools.begin(batch, to_device(batch.slots, self.device))
        wanted = None if batch.can_be_followed else to_device(batch.wanted, self.device)
        logits = self._compute(tokens, to_device(batch.positions, self.device), wanted, step)
        step.finish()
        self.kv_tokens_read = step.kv_tokens_read
        self.eager_steps += 1
        return logits

    def _compute(self, tokens: Tensor, positions: Tensor, wanted: Tensor | None, step: Step) -> Tensor:
        """Logits of the rows `wanted`, or of all; unlike `_forward`, nothing waits for the device."""
        options: dict[str, Any] = {"use_cache": False, "tree_step": step}
        if wanted is not None and self._selects_logits:
            options["logits_to_keep"] = wanted
        logits: Tensor = self._model(input_ids=tokens[None], position_ids=positions[None], **options).logits[0]
        return logits if wanted is None or self._selects_logits else logits.index_select(0, wanted)

    # ---- recorded steps ----

    def _replayed(self, batch: StepBatch, tokens: Tensor | None) -> Tensor | None:
        """Logits of a step of one token for each row, from a recorded graph; None where there is none."""
        size = padded_size(len(batch.token_ids), self._sizes)
        if self._buffers is None or size is None:
            return None
        pools = self._triton_pools
        graph = self._graph(size)
        if graph is None:
            return None
        read = pools.load_recorded(batch, size)
        if pools.recorded_moves != self._moves:  # the graphs would read buffers that are gone
            self._graphs.clear()
            graph = self._graph(size)
            if graph is None:
                return None
            pools.load_recorded(batch, size)
        self._buffers.fill(batch, size, tokens)
        graph.replay()
        self.kv_tokens_read = read
        self.replayed_steps += 1
        return self._buffers.logits[: len(batch.token_ids)]

    @property
    def _triton_pools(self) -> TritonPools:
        from .triton_pools import TritonPools

        assert isinstance(self._pools, TritonPools)
        return self._pools

    def _graph(self, size: int) -> StepGraph | None:
        """The recorded step of `size` rows; None where it cannot be recorded."""
        graph = self._graphs.get(size)
        if graph is not None or self._maker is None:
            return graph
        free = available_bytes(self.device)
        if self.device.type == "cuda" and free is not None and free < MEMORY_KEPT:
            self._refuse(f"{gibibytes(free)} of memory is free")
            return None
        pools = self._triton_pools
        pools.load_recorded(StepBatch((), ()), size)  # rows of padding only: nothing is read or written
        self._buffers_of(size).fill(StepBatch((), ()), size, None)
        try:
            graph = self._maker.capture(partial(self._recorded_step, size))
        except Exception as error:  # whatever the model's code, a compiler or a driver raises
            self._refuse(f"{type(error).__name__}: {first_line(error)}")
            return None
        if pools.recorded_moves != self._moves:  # the others would read buffers that are gone
            self._graphs.clear()
        self._moves = pools.recorded_moves
        self._graphs[size] = graph
        return graph

    def _buffers_of(self, size: int) -> StepBuffers:
        assert self._buffers is not None and size <= self._buffers.inputs.shape[1]
        return self._buffers

    def _recorded_step(self, size: int) -> None:
        """What is recorded: a step of `size` rows from buffer to buffer."""
        buffers = self._buffers_of(size)
        tokens, positions, slots = buffers.inputs[:, :size]
        step = self._triton_pools.recorded_step(slots)
        buffers.logits[:size].copy_(self._compute(tokens, positions, None, step))
        step.finish()


def _with_gpu_leaves(model: PreTrainedModel, names: str, invariant: bool) -> str:
    """Put Triton kernels in the place of the model's own modules; the names of what is in use."""
    from .gpu_leaves import use_gpu_kernels

    try:
        replaced = [name for name, count in use_gpu_kernels(model, invariant=invariant).items() if count]
    except Exception as error:  # whatever a compiler or a driver raises
        return f"{names}; torch norms: {type(error).__name__}: {first_line(error)}"
    names = f"batch-invariant {names}" if invariant else names
    return f"{', '.join(replaced)} layers (Triton), {names}" if replaced else names


def _check_invariant(model: PreTrainedModel, token_ids: int) -> None:
    from .invariance import check_invariant

    check_invariant(model, token_ids)


class DevicePending:
    """Implements `device_runner.PendingStep`. `result`: logits or tokens on the device; they are on their way."""

    def __init__(self, result: Tensor, device: torch.device) -> None:
        self.result = result
        self._host = result
        self._done: Any = None
        if device.type == "cuda":
            cuda: Any = torch.cuda
            self._host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
            self._host.copy_(result, non_blocking=True)
            self._done = cuda.Event()
            self._done.record()
        elif result.dtype == torch.float32:
            self._host = result.clone()

    def logits(self) -> NDArray[np.float32]:
        """See `PendingStep`."""
        return self._wait()

    def tokens(self) -> NDArray[np.int64]:
        """See `PendingStep`."""
        return self._wait()

    def _wait(self) -> NDArray[Any]:
        if self._done is not None:
            self._done.synchronize()
        return self._host.numpy()
