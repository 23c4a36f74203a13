"""Makes the torch engine: model, tokenizer, KV pool and the step engine around them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..early_fills import EarlyTokens
from ..embedded import embedded_model_directory
from ..step_engine import StepEngine
from ..tokenizer import load_tokenizer
from .errors import ModelLoadError
from .model_directory import model_directory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .runner import TorchRunner

MOST_KV_SLOTS = 1 << 20
"""Token slots of the KV pool unless asked for; less where memory is short."""
MEMORY_SHARE = {"cpu": 0.25, "cuda": 0.8}
"""Part of the memory left after loading that the KV pool may take."""
STEP_TOKENS = {"cpu": 512, "cuda": 2048}
"""Tokens of one step: on a CPU longer prefill chunks are no faster, and decoding calls wait for them."""
EARLY_TOKENS = {"cpu": EarlyTokens(free=16, alone=64), "cuda": EarlyTokens(free=256, alone=2048)}
"""Tokens of prompts that a step computes before a call needs them."""


def torch_engine(
    model: str | None = None,
    device: str = "cpu",
    dtype: str | None = "auto",
    *,
    context_length: int | None = None,
    threads: int | None = None,
    self_check: bool | None = None,
    name: str = "torch",
    kv_slots: int | None = None,
    page_size: int = 16,
    max_step_tokens: int | None = None,
    max_batch: int = 256,
    prefix_cache: bool = True,
    speculative_fills: bool = True,
    trace: bool = False,
    loaded: PreTrainedModel | None = None,
    kv_share: float = 1.0,
    overlap: bool = True,
    recorded: bool = True,
    weights: str | None = None,
    batch_invariant: bool = False,
) -> StepEngine:
    """An engine for `model`, a directory or hub id (the embedded model by default), on `device` cpu or cuda.

    `dtype`: float32, bfloat16 or float16; `auto`, the default, is bfloat16 where the device computes it, unless the
    model's config.json names another under `semlang_dtype`. `context_length`: tokens of one context, at most what the
    model has. `threads`: CPU threads of torch, for the whole process. `self_check`: compare with plain transformers
    first; by default for architectures that no test covers. `loaded`: what `load_model` gave for the same model,
    device and dtype; engines may share it. `kv_share`: part of the memory for KV that is this engine's. `recorded`:
    whether decoding steps on a GPU are replayed from CUDA graphs. `weights`: `int8` keeps those of linear layers in 8
    bits, on a CPU with compiled kernels. `batch_invariant`: no bit of a logit depends on anything but the tokens
    before it, as `TorchRunner` says; a model that cannot be computed so is refused. The rest as in `StepEngine`.
    Raises ModelLoadError, or TokenizerError, with a message for users.
    """
    # A thread that spins at a barrier takes the core from the one that it waits for wherever cores are shared: a run of
    # the embedded model took 2.7 s with spinning and 0.2 s without. Read once, when torch loads its OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    directory = str(model_directory(model) if model is not None else embedded_model_directory())
    tokenizer = load_tokenizer(directory)  # before the weights: it is quick, and may fail
    import torch

    from .loading import load_model
    from .runner import TorchRunner
    from .self_check import VERIFIED, check_model

    if threads is not None:
        torch.set_num_threads(threads)
    if loaded is None:
        loaded = load_model(directory, device=device, dtype=dtype)
    if loaded.device.type == "cpu" or weights is not None:
        runner = TorchRunner(loaded, context_length=context_length, weights=weights, invariant=batch_invariant)
    else:
        runner = _device_runner(loaded, context_length, max_batch, recorded, batch_invariant)
    if self_check is None:
        self_check = loaded.config.model_type not in VERIFIED
    if self_check and not runner.is_native:
        check_model(loaded, runner)
    place = runner.device.type
    return StepEngine(
        runner,
        tokenizer,
        name=name,
        kv_slots=kv_slots if kv_slots is not None else _default_kv_slots(runner, page_size, max_batch, kv_share),
        page_size=page_size,
        max_step_tokens=max_step_tokens if max_step_tokens is not None else STEP_TOKENS[place],
        max_batch=max_batch,
        prefix_cache=prefix_cache,
        speculative_fills=speculative_fills,
        early_tokens=EARLY_TOKENS[place],
        trace=trace,
        overlap=overlap,
    )


def _device_runner(loaded: PreTrainedModel, context_length: int | None, max_batch: int, recorded: bool,
                   batch_invariant: bool) -> TorchRunner:
    """A runner for a device that works beside the host."""
    from .device_runner import DeviceTorchRunner
    from .step_graph import CudaGraphs

    return DeviceTorchRunner(loaded, context_length=context_length, graphs=CudaGraphs() if recorded else None,
                             rows=max_batch, invariant=batch_invariant)


def torch_engines(names: Sequence[str], model: str | None = None, device: str = "cpu", dtype: str | None = "auto", *,
                  prefix_cache: bool = True, trace: bool = False, weights: str | None = None) -> list[StepEngine]:
    """Engines for one model, on one device, that share its weights and the memory for KV. As `torch_engine`."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    directory = str(model_directory(model) if model is not None else embedded_model_directory())
    load_tokenizer(directory)
    from .loading import load_model

    loaded = load_model(directory, device=device, dtype=dtype)
    return [torch_engine(model, device, dtype, name=name, prefix_cache=prefix_cache, trace=trace, loaded=loaded,
                         kv_share=1 / len(names), weights=weights) for name in names]


def _default_kv_slots(runner: TorchRunner, page_size: int, max_batch: int, kv_share: float) -> int:
    """As many slots as the device's share of its free memory holds, `MOST_KV_SLOTS` at most; of these a part."""
    from .memory import available_bytes, gibibytes

    free = available_bytes(runner.device)
    most = int(MOST_KV_SLOTS * kv_share)
    if free is None:
        return most
    share = int(free * MEMORY_SHARE[runner.device.type] * kv_share)
    slots = min(most, share // runner.kv_bytes_per_token - max_batch)
    if slots < page_size:
        raise ModelLoadError(
            f"{gibibytes(free)} is free on {runner.device}, too little for a KV pool of {runner.kv_bytes_per_token} "
            "bytes per token; use a smaller model"
        )
    return slots
