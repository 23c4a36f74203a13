"""Tokens without an alternative follow without a step of their own, and nothing else changes by that."""

import threading
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, EngineError, EngineStats, Generation, SamplingOptions
from semlang.backend.random_stream import stream_key
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.ir.types import BOOL, INT, Enum, EnumMember, Field, Int, List, Option, Record, Text, Type

TOKENIZER = embedded_tokenizer()
SEVERITY = Enum("Severity", (EnumMember("critical", "critical"), EnumMember("low", "low")))
FINDING = Record("Finding", (
    Field("service", Text(6)), Field("severity", SEVERITY), Field("evidence", List(Text(6), 2)),
    Field("minutes", Int(0, 90)), Field("resolved", BOOL)))
TYPES: list[Type] = [
    FINDING, Record("R", (Field("name_of_it", INT),)), List(BOOL, 3), SEVERITY, Option(SEVERITY), Int(7, 7), INT]
Answer = Generation | str
"""An output, or the message of an error."""


@st.composite
def calls(draw: st.DrawFn) -> SamplingOptions:
    temperature = draw(st.sampled_from([0.0, 0.9]))
    common: dict[str, Any] = {
        "temperature": temperature, "logprobs": draw(st.sampled_from([None, None, 1])),
        "stream_key": stream_key(draw(st.integers(0, 3)), "p", [], "o", 0) if temperature else None,
        "strip_leading_space": draw(st.booleans()), "frequency_penalty": draw(st.sampled_from([0.0, 2.0])),
    }
    match draw(st.sampled_from(["type", "type", "choices", "regex", "text"])):
        case "type":
            return SamplingOptions(draw(st.integers(20, 90)), type=draw(st.sampled_from(TYPES)), **common)
        case "choices":
            return SamplingOptions(40, choices=("the cache keeps", "the cache", "nothing at all"), **common)
        case "regex":
            return SamplingOptions(30, regex=r"INC-20[0-9]{2}: (open|closed) since 14:[0-5][0-9]", **common)
        case _:
            return SamplingOptions(draw(st.integers(1, 12)), **common)


def run(engine: StepEngine, options: list[SamplingOptions]) -> tuple[list[Answer], list[str], EngineStats]:
    """What the calls give and stream, and the counters."""
    found: dict[int, Answer] = {}
    texts = [""] * len(options)
    done = threading.Semaphore(0)

    def callbacks(number: int) -> Callbacks:
        def settle(answer: Generation | EngineError) -> None:
            found[number] = answer if isinstance(answer, Generation) else str(answer)
            done.release()

        def on_text(text: str) -> None:
            texts[number] += text

        return Callbacks(settle, settle, on_text)

    try:
        with engine.hold():
            for number, one in enumerate(options):
                engine.fill(TOKENIZER.encode_piece(f"case {number % 3}: ", first=True), 2 * number + 1, ROOT)
                engine.generate(one, 2 * number + 2, 2 * number + 1, callbacks(number))
        for _ in options:
            assert done.acquire(timeout=30)
        engine.check_integrity()
        return [found[number] for number in range(len(options))], texts, engine.stats()
    finally:
        engine.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls(), min_size=1, max_size=6), st.sampled_from([{}, {"max_step_tokens": 3}, {"page_size": 3}]))
def test_the_same_answers_with_and_without(options: list[SamplingOptions], engine_options: dict[str, Any]) -> None:
    with_jumps, streamed, stats = run(reference_engine(**engine_options), options)
    one_by_one, streamed_slowly, slow = run(reference_engine(jump_forward=False, **engine_options), options)
    assert with_jumps == one_by_one
    assert streamed == streamed_slowly
    assert stats.generated_tokens == slow.generated_tokens
    assert stats.forced_tokens >= slow.forced_tokens == 0


def test_forced_tokens_are_counted_and_save_steps() -> None:
    options = [SamplingOptions(120, type=FINDING)]
    (answer,), _, stats = run(reference_engine(), options)
    _, _, slow = run(reference_engine(jump_forward=False), options)
    assert isinstance(answer, Generation)
    assert stats.generated_tokens == len(answer.sampled_ids)
    assert stats.engine_steps + stats.forced_tokens == slow.engine_steps
    assert stats.forced_tokens > stats.generated_tokens / 10


def test_log_probabilities_want_a_step_for_each_token() -> None:
    _, _, stats = run(reference_engine(), [SamplingOptions(120, type=FINDING, logprobs=0)])
    assert stats.forced_tokens == 0
