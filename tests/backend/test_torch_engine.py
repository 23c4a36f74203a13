"""The torch engine as a whole gives the tokens of `transformers`' own greedy generation, whatever shares its batch."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from semlang.backend.embedded import embedded_model_directory
from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, SamplingOptions
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.engine import torch_engine
from semlang.backend.torch_engine.errors import ModelLoadError
from transformers import AutoModelForCausalLM, GenerationConfig

TOKENS = 12
GREEDY = SamplingOptions(max_tokens=TOKENS, ignore_eos=True)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Outputs:
    """Collects the outputs of generates by context."""

    def __init__(self) -> None:
        self.finished: dict[int, Generation] = {}
        self.failed: dict[int, EngineError] = {}
        self._changed = threading.Condition()

    def callbacks(self, context: int) -> Callbacks:
        def finish(generation: Generation) -> None:
            self._note(self.finished, context, generation)

        def fail(error: EngineError) -> None:
            self._note(self.failed, context, error)

        return Callbacks(finish, fail)

    def _note(self, outcomes: dict[int, Any], context: int, outcome: object) -> None:
        with self._changed:
            outcomes[context] = outcome
            self._changed.notify_all()

    def wait(self, count: int) -> dict[int, Generation]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.finished) + len(self.failed) >= count, timeout=60)
        assert not self.failed
        return self.finished


def prompts(seed: int) -> list[tuple[int | None, list[int]]]:
    """A forest of prompts as (parent's index, own tokens); forks stand anywhere, some pieces are empty."""
    generator = random.Random(seed)
    pieces: list[tuple[int | None, list[int]]] = [(None, [generator.randrange(300, 1700) for _ in range(70)])]
    for _ in range(14):
        parent = generator.choice([None, 0, 0, *range(len(pieces))])
        pieces.append((parent, [generator.randrange(300, 1700) for _ in range(generator.choice([0, 1, 3, 17, 40]))]))
    return pieces


def whole(pieces: list[tuple[int | None, list[int]]], index: int | None) -> list[int]:
    """All tokens of a prompt."""
    if index is None:
        return []
    parent, own = pieces[index]
    return whole(pieces, parent) + own


def run(engine: StepEngine, pieces: list[tuple[int | None, list[int]]], seed: int) -> list[tuple[int, ...]]:
    """Generate after every prompt, arriving in waves; the tokens of each output."""
    generator = random.Random(seed)
    outputs = Outputs()
    started = 0
    while started < len(pieces):
        with engine.hold():
            for index in range(started, min(started + generator.randint(1, 6), len(pieces))):
                parent, own = pieces[index]
                engine.fill(own, 1 + index, ROOT if parent is None else 1 + parent)
                engine.generate(GREEDY, 100 + index, 1 + index, outputs.callbacks(index))
                started += 1
        if generator.random() < 0.5:
            outputs.wait(generator.randint(1, started))
    finished = outputs.wait(len(pieces))
    engine.check_integrity()
    for index in range(len(pieces)):
        engine.free_context(100 + index)
        engine.free_context(1 + index)
    return [finished[index].sampled_ids for index in range(len(pieces))]


@pytest.fixture(scope="module")
def plain() -> Any:
    auto: Any = AutoModelForCausalLM
    model = auto.from_pretrained(embedded_model_directory(), dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None  # what the options leave out comes from here
    return model


@pytest.fixture(scope="module")
def bos(plain: Any) -> int:
    return int(plain.config.bos_token_id)


def expected(plain: Any, bos: int, pieces: list[tuple[int | None, list[int]]]) -> list[tuple[int, ...]]:
    """The tokens of greedy generation one prompt at a time; its choices must be clear, not a matter of rounding."""
    configuration: Any = GenerationConfig
    options = configuration(
        max_new_tokens=TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0, output_logits=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    results = []
    for index in range(len(pieces)):
        ids = torch.tensor([[bos, *whole(pieces, index)]])
        made = plain.generate(ids, attention_mask=torch.ones_like(ids), generation_config=options)
        best = torch.cat(made.logits).topk(2).values
        assert (best[:, 0] - best[:, 1]).min() > 1e-4
        results.append(tuple(made.sequences[0, ids.shape[1] :].tolist()))
    return results


@pytest.mark.parametrize("seed", [1, 2])
def test_greedy_equals_transformers_with_random_arrival_and_sharing(seed: int, plain: Any, bos: int) -> None:
    pieces = prompts(seed)
    engine = torch_engine(kv_slots=4096, max_step_tokens=50)
    try:
        assert run(engine, pieces, seed) == expected(plain, bos, pieces)
        stats = engine.stats()
        assert stats.filled_tokens < stats.prompt_tokens
        assert stats.preemptions == 0
    finally:
        engine.close()


def test_few_kv_slots_give_the_same_tokens(plain: Any, bos: int) -> None:
    pieces = prompts(3)
    engine = torch_engine(kv_slots=256, max_step_tokens=64)
    try:
        assert run(engine, pieces, 3) == expected(plain, bos, pieces)
        stats = engine.stats()
        assert stats.preemptions > 0
        assert stats.refilled_tokens > 0
        assert stats.peak_kv_tokens <= 256
    finally:
        engine.close()


def test_without_a_prefix_cache(plain: Any, bos: int) -> None:
    pieces = prompts(4)
    engine = torch_engine(kv_slots=4096, prefix_cache=False)
    try:
        assert run(engine, pieces, 4) == expected(plain, bos, pieces)
    finally:
        engine.close()


def test_defaults() -> None:
    engine = torch_engine()
    try:
        assert engine.name == "torch"
        assert engine.context_length == 8192
        assert "float32" in engine.stats().kernels
    finally:
        engine.close()


def test_short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semlang.backend.torch_engine.memory._meminfo_available", lambda: 9_100_000)
    with pytest.raises(ModelLoadError, match="too little for a KV pool of 2048 bytes per token"):
        torch_engine(max_batch=2000)
    with pytest.raises(
        ModelLoadError, match=r"the KV pool of 20256 tokens needs 39\.6 MiB on cpu, where 8\.7 MiB is free"
    ):
        torch_engine(kv_slots=20000)


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no config\.json"):
        torch_engine(str(tmp_path))
