"""No answer depends on what else an engine computes: bit for bit where it was asked to be batch-invariant."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from engine_models import NO_NUMBER, WAYS, Answers, directory, engine, greedy, random_tokens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nightly import examples
from semlang.backend.engine import ROOT, EngineError, Generation, Priority, SamplingOptions
from semlang.backend.random_stream import stream_key
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.errors import ModelLoadError
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.kernels.cpu.library import find_compiler

compiled = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
GREEDY = SamplingOptions(max_tokens=6, ignore_eos=True)
Tokens = tuple[int, ...]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Request:
    prompt: Tokens
    options: SamplingOptions


def requests(seed: int, longest: int) -> list[Request]:
    """Prompts that share beginnings of any length; some outputs are drawn; all report log-probabilities."""
    generator = random.Random(seed)
    prompts: list[Tokens] = [random_tokens(seed, longest // 2)]
    for number in range(9):
        base = generator.choice(prompts)
        kept = generator.randint(0, len(base))
        count = generator.choice([1, 3, 17, longest // 3])
        prompts.append((base[:kept] + random_tokens(100 * seed + number, count))[:longest])
    drawn = SamplingOptions(5, ignore_eos=True, temperature=0.9, top_p=0.95, logprobs=2)
    return [Request(prompt, replace(drawn, stream_key=stream_key(seed, "p", [number], "o", 0)) if number % 2
                    else replace(GREEDY, logprobs=2)) for number, prompt in enumerate(prompts)]


def answers(engine: StepEngine, asked: Sequence[Request], *, together: bool) -> list[Generation]:
    """What the engine answers, all at once or one after the other; it is closed then."""
    collected = Answers()
    try:
        with engine.hold():
            for number, request in enumerate(asked):
                engine.fill(request.prompt, 1 + number, ROOT)
        for numbers in [range(len(asked))] if together else [[number] for number in range(len(asked))]:
            with engine.hold():
                for number in numbers:
                    engine.generate(asked[number].options, 100 + number, 1 + number, collected.callbacks(number))
            collected.wait(*numbers)
        engine.check_integrity()
    finally:
        engine.close()
    found = [collected.outcomes[number] for number in range(len(asked))]
    assert all(isinstance(one, Generation) for one in found), found
    return found  # type: ignore[return-value]


@compiled
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name, longest", [("llama long", 600), ("gemma2", 100), ("qwen2", 100), ("gpt2", 100)])
def test_no_bit_depends_on_batches_chunks_caches_memory_or_threads(name: str, longest: int, dtype: str) -> None:
    asked = requests(3, longest)
    def made(**options: Any) -> StepEngine:
        return engine(name, dtype=dtype, invariant=True, **{"kv_slots": 8192, "max_step_tokens": 2000, **options})

    alone = made(prefix_cache=False)
    assert alone.stats().kernels.startswith("batch-invariant whole decoder")
    wanted = answers(alone, asked, together=False)
    assert answers(made(max_step_tokens=37), asked, together=True) == wanted
    assert answers(made(), asked, together=False) == wanted
    torch.set_num_threads(3)
    small = made(kv_slots=longest + 20, max_batch=3, max_step_tokens=50, page_size=8)
    order = random.Random(1).sample(range(len(asked)), len(asked))
    found = answers(small, [asked[number] for number in order], together=True)
    assert found == [wanted[number] for number in order]
    assert small.stats().preemptions > 0


@pytest.mark.parametrize("way", WAYS)
def test_by_default_only_rounding_depends_on_neighbours(way: str) -> None:
    if way != "torch" and find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    asked = [replace(one, options=replace(GREEDY, logprobs=2)) for one in requests(3, 600)]
    def made(**options: Any) -> StepEngine:
        return engine("llama long", way, **{"kv_slots": 8192, **options})

    wanted = answers(made(prefix_cache=False, max_step_tokens=2000), asked, together=False)
    found = answers(made(), asked, together=True)
    for one, other in zip(found, wanted, strict=True):
        assert one.sampled_ids == other.sampled_ids
        assert np.allclose([token.logprob for token in one.logprobs], [token.logprob for token in other.logprobs],
                           rtol=1e-4, atol=1e-4)


def test_what_cannot_be_batch_invariant_is_refused() -> None:
    model = load_model(directory("mixtral"), dtype="float32")
    with pytest.raises(ModelLoadError, match=r"need the whole decoder, compiled .*; no whole decoder"):
        TorchRunner(model, invariant=True)


# ---- neighbours of any kind ----

KINDS = ["usual", "aborted", "impossible", "no number", "no number later", "too long", "freed"]


@st.composite
def neighbours(draw: st.DrawFn) -> list[tuple[str, int, int, int, int]]:
    """Kind, tokens in common with the victim's prompt, further ones, tokens of output, urgency."""
    return [(draw(st.sampled_from(KINDS)), draw(st.integers(0, 40)), draw(st.integers(0, 40)), draw(st.integers(1, 20)),
             draw(st.integers(0, 2))) for _ in range(draw(st.integers(1, 6)))]


class Crowd:
    """One engine to which victims and neighbours are sent; its pool holds little more than one context."""

    def __init__(self, **options: Any) -> None:
        self.engine = engine("llama nan", **{"kv_slots": 144, "max_step_tokens": 24, **options})
        self.context = 1

    def victim_and(self, others: Sequence[tuple[str, int, int, int, int]], victim: Request, place: int) -> Any:
        """What `victim`, sent as number `place` among the others, is answered."""
        collected, contexts = Answers(), []
        sent = list(others)
        number = 0
        with self.engine.hold():
            for index in range(len(sent) + 1):
                first = self.context
                self.context += 2
                contexts += [first + 1, first]
                if index == min(place, len(sent)):
                    self.engine.fill(victim.prompt, first, ROOT)
                    self.engine.generate(victim.options, first + 1, first, collected.callbacks(-1))
                    continue
                kind, common, more, output, urgency = sent[number]
                number += 1
                prompt = victim.prompt[:common] + random_tokens(number, more)
                if kind.startswith("no number"):
                    prompt += (NO_NUMBER, *((7, 8) if kind.endswith("later") else ()))
                self.engine.fill(prompt, first, ROOT)
                options = SamplingOptions(100 if kind == "too long" else output, ignore_eos=True,
                                          choices=() if kind == "impossible" else None)
                self.engine.generate(options, first + 1, first, collected.callbacks(number), priority=Priority(
                    None, urgency, ("latency", "throughput", "ttft")[urgency]))
                if kind == "aborted":
                    self.engine.abort(first + 1)
                if kind == "freed":
                    self.engine.free_context(first + 1)
                    contexts.remove(first + 1)
        collected.wait(-1)
        for index, context in enumerate(contexts):
            if index % 2 == 0 or context in self.engine._known:
                self.engine.free_context(context)
        self.engine.check_integrity()
        return collected.outcomes[-1]


VICTIM = Request(random_tokens(7, 45), replace(GREEDY, max_tokens=12, logprobs=2))


@cache
def crowd(invariant: bool) -> Crowd:
    return Crowd(invariant=invariant)


@compiled
@settings(max_examples=examples(40, 2_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(others=neighbours(), place=st.integers(0, 6), invariant=st.booleans())
def test_no_neighbour_changes_an_answer(others: list[tuple[str, int, int, int, int]], place: int,
                                        invariant: bool) -> None:
    found = crowd(invariant).victim_and(others, VICTIM, place)
    wanted = alone()
    assert isinstance(found, Generation), found
    if invariant:
        assert found == wanted
    assert found.sampled_ids == wanted.sampled_ids == greedy("llama nan", VICTIM.prompt, 12)


@cache
def alone() -> Generation:
    found = Crowd(invariant=True, prefix_cache=False, kv_slots=1024).victim_and([], VICTIM, 0)
    assert isinstance(found, Generation)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("drawn", [{}, {"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}, {"presence_penalty": 1.0}])
def test_a_model_that_gives_no_numbers_fails_its_call_only(way: str, drawn: dict[str, Any]) -> None:
    """Of NaN in one prompt nothing is left in KV that others share, nor in slots that they take over."""
    if way != "torch" and find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    made, collected, prompt = engine("llama nan", way, kv_slots=160), Answers(), random_tokens(1, 45)
    key = stream_key(1, "p", [0], "o", 0) if drawn else None
    options = SamplingOptions(5, ignore_eos=True, temperature=0.8 if drawn else 0.0, stream_key=key, **drawn)
    try:
        with made.hold():
            made.fill((*prompt, NO_NUMBER, 5), 1, ROOT)
            made.generate(options, 2, 1, collected.callbacks(2))
            made.fill(random_tokens(2, 30), 3, ROOT)
            made.generate(GREEDY, 4, 3, collected.callbacks(4))
        collected.wait(2)
        assert isinstance(collected.outcomes[2], EngineError)
        assert "no finite numbers after this prompt" in str(collected.outcomes[2])
        assert collected.tokens(4) == greedy("llama nan", random_tokens(2, 30), 6)
        for number, kept in enumerate((3, 18, 40, 45)):
            asked = (*prompt[:kept], 9)
            made.fill(asked, 10 + number, ROOT)
            made.generate(GREEDY, 20 + number, 10 + number, collected.callbacks(20 + number))
            assert collected.tokens(20 + number) == greedy("llama nan", asked, 6)
    finally:
        made.close()
