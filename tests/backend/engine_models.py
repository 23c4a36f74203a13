"""Tiny models of several architectures in whole engines, for tests: each is made once in a process."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import Callbacks, EngineError, Generation
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.native_observation import NotNative
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.kernels.cpu.library import load_kernels
from tiny_models import COMMON, MODELS, poison, save_tiny
from transformers import AutoModelForCausalLM

EIGHT = list(MODELS)[:8]
WAYS = ("decoder", "leaves", "torch")
"""The whole compiled decoder, compiled attention and layers below `transformers`' own modules, nothing compiled."""
TOKENIZER = embedded_tokenizer()
BOS = TOKENIZER.bos_id
assert BOS is not None
_folders: list[TemporaryDirectory[str]] = []


NO_NUMBER = 96
"""The token whose embedding is NaN in models that have such a one."""


@cache
def directory(name: str) -> str:
    """Where a tiny model of an architecture is; `llama long` has more positions, `llama nan` a broken embedding."""
    _folders.append(TemporaryDirectory())
    folder = Path(_folders[-1].name)
    architecture, *kind = name.split()
    with patch.dict(COMMON, {"max_position_embeddings": 1024} if kind == ["long"] else {}):
        save_tiny(architecture, folder)
    if kind == ["nan"]:
        (file,) = folder.glob("*.safetensors")
        weights = load_file(file)
        (embedding,) = (key for key in weights if key.endswith("embed_tokens.weight"))
        weights[embedding][NO_NUMBER] = torch.nan
        save_file(weights, file, metadata={"format": "pt"})
    return str(folder)


@cache
def plain(name: str, dtype: torch.dtype = torch.float32, attention: str = "eager") -> Any:
    """It in plain `transformers`."""
    auto: Any = AutoModelForCausalLM
    return auto.from_pretrained(directory(name), dtype=dtype, attn_implementation=attention).eval()


@cache
def loaded(name: str, dtype: str, way: str) -> Any:
    """It as our engine loads it; runners of the same `way` share it."""
    return load_model(directory(name), dtype=dtype)


@contextmanager
def kernels_of(way: str) -> Iterator[None]:
    """Runners made here take a `way`."""
    def refuse(*given: object) -> None:
        raise NotNative("it is not asked for")

    with patch.dict(os.environ, {"SEMC_CPU_KERNELS": "off"} if way == "torch" else {}):
        load_kernels.cache_clear()
        try:
            if way == "leaves":
                with patch("semlang.backend.torch_engine.runner.native_decoder", refuse):
                    yield
            else:
                yield
        finally:
            load_kernels.cache_clear()


def runner_of(name: str, way: str, dtype: str = "float32", *, invariant: bool = False) -> TorchRunner:
    with kernels_of(way):
        runner = TorchRunner(loaded(name, dtype, way), invariant=invariant)
    assert runner.is_native == (way == "decoder"), runner.kernels
    assert ("torch tree attention" in runner.kernels) == (way == "torch"), runner.kernels
    return runner


def engine(name: str, way: str = "decoder", dtype: str = "float32", *, invariant: bool = False,
           **options: Any) -> StepEngine:
    """An engine around it, its pool full of NaN."""
    runner = runner_of(name, way, dtype, invariant=invariant)
    made = StepEngine(runner, TOKENIZER, name="torch", **{"kv_slots": 1024, "max_step_tokens": 40, **options})
    poison(runner)
    return made


class Answers:
    """What calls answer, by the numbers they are given."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Generation | EngineError] = {}
        self._changed = threading.Condition()

    def callbacks(self, number: int) -> Callbacks:
        def settle(outcome: Generation | EngineError) -> None:
            with self._changed:
                assert number not in self.outcomes, "a call settled twice"
                self.outcomes[number] = outcome
                self._changed.notify_all()

        return Callbacks(settle, settle)

    def wait(self, *numbers: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.outcomes.keys() >= set(numbers), timeout=60)

    def tokens(self, number: int) -> tuple[int, ...]:
        """The output tokens of a call that has finished."""
        self.wait(number)
        outcome = self.outcomes[number]
        assert isinstance(outcome, Generation), outcome
        return outcome.sampled_ids


@cache
def greedy(name: str, prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The most likely tokens after BOS and `prompt`, each by plain `transformers`, whose choice has to be clear."""
    assert BOS is not None
    ids = [BOS, *prompt]
    with torch.inference_mode():
        for _ in range(count):
            logits = plain(name)(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            best = logits.topk(2)
            assert best.values[0] - best.values[1] > 5e-5 * logits.abs().max(), "a matter of rounding"
            ids.append(int(best.indices[0]))
    return tuple(ids[1 + len(prompt) :])


def random_tokens(seed: int, count: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(3, NO_NUMBER, count).tolist())
