"""Penalties and biases: what they do to logits, to outputs on an engine, and which are refused."""

import math
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from semlang.backend.decoding.output_decoder import OutputDecoder
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, SamplingOptions
from semlang.backend.logit_changes import logit_changes
from semlang.backend.random_stream import stream_key
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.ir.types import INT

TOKENIZER = embedded_tokenizer()
LOGITS = np.array([1.0, -2.0, 3.0, 0.0, 0.5], np.float32)


def changed(options: SamplingOptions, prompt: list[int], output: list[int]) -> list[float]:
    changes = logit_changes(options, np.array(prompt, np.int64), 5)
    assert changes is not None
    for token in output:
        changes.note(token)
    before = LOGITS.copy()
    result = changes.apply(LOGITS)
    assert (before == LOGITS).all(), "the given logits stay"
    assert result.dtype == np.float32
    return [float(x) for x in result]


def test_none_are_wanted() -> None:
    assert logit_changes(SamplingOptions(), None, 5) is None


def test_repetition_counts_prompt_and_output_alike() -> None:
    options = SamplingOptions(repetition_penalty=2.0)
    assert changed(options, [0, 0, 7], [1, 3]) == [0.5, -4.0, 3.0, 0.0, 0.5], "ids that the model lacks do not matter"
    assert changed(SamplingOptions(repetition_penalty=0.5), [2], []) == [1.0, -2.0, 6.0, 0.0, 0.5]


def test_presence_and_frequency_count_the_output_only() -> None:
    assert changed(SamplingOptions(frequency_penalty=0.5), [0, 2], [2, 2, 4]) == [1.0, -2.0, 2.0, 0.0, 0.0]
    assert changed(SamplingOptions(presence_penalty=0.5), [0, 2], [2, 2, 4]) == [1.0, -2.0, 2.5, 0.0, 0.0]
    both = SamplingOptions(frequency_penalty=0.5, presence_penalty=-1.0)
    assert changed(both, [], [2, 2]) == [1.0, -2.0, 3.0, 0.0, 0.5]


def test_biases_come_before_penalties_and_add_up() -> None:
    options = SamplingOptions(logit_bias=((1, 4.0), (0, -math.inf), (3, 1.0), (3, 1.0)), repetition_penalty=2.0)
    assert changed(options, [1], []) == [-math.inf, 1.0, 3.0, 2.0, 0.5]


def answer(engine: StepEngine, prompt: list[int], options: SamplingOptions) -> Generation | EngineError:
    found: list[Any] = []
    done = threading.Event()

    def settle(result: Generation | EngineError) -> None:
        found.append(result)
        done.set()

    number = 2 * answer_count[0] + 1
    answer_count[0] += 1
    engine.fill(prompt, number, ROOT)
    engine.generate(options, number + 1, number, Callbacks(settle, settle))
    assert done.wait(30)
    result: Generation | EngineError = found[0]
    return result


answer_count = [0]


def test_outputs_of_an_engine() -> None:
    engine = reference_engine(trace=False)
    prompt = TOKENIZER.encode_piece("the cache keeps ", first=False)
    try:
        free = answer(engine, prompt, SamplingOptions(8, ignore_eos=True))
        assert isinstance(free, Generation)
        banned = answer(engine, prompt, SamplingOptions(8, ignore_eos=True, logit_bias=((free.sampled_ids[0], -50.0),)))
        assert isinstance(banned, Generation) and banned.sampled_ids[0] != free.sampled_ids[0]
        wanted = answer(engine, prompt, SamplingOptions(3, ignore_eos=True, logit_bias=((77, 500.0),)))
        assert isinstance(wanted, Generation) and wanted.sampled_ids == (77, 77, 77)
        two = SamplingOptions(8, ignore_eos=True, logit_bias=((77, 500.0), (78, 400.0)))
        for once in (replace(two, frequency_penalty=300.0), replace(two, presence_penalty=300.0)):
            varied = answer(engine, prompt, once)
            assert isinstance(varied, Generation) and varied.sampled_ids[:2] == (77, 78)
        old = prompt[0]
        again = SamplingOptions(1, ignore_eos=True, logit_bias=((old, 500.0), (78, 400.0)), repetition_penalty=2.0)
        other = answer(engine, prompt, again)
        assert isinstance(other, Generation) and other.sampled_ids == (78,), "the prompt counts"
        number = answer(engine, prompt, SamplingOptions(8, type=INT, logit_bias=((77, 500.0),)))
        assert isinstance(number, Generation) and int(number.text) is not None, "a grammar has the last word"
        key = stream_key(1, "p", [], "o", 0)
        sampled = SamplingOptions(8, temperature=0.7, stream_key=key, frequency_penalty=3.0, ignore_eos=True)
        assert answer(engine, prompt, sampled) == answer(engine, prompt, sampled)
    finally:
        engine.close()


def test_forced_tokens_count_too() -> None:
    options = SamplingOptions(20, choices=("the cache",), frequency_penalty=0.5)
    decoder = OutputDecoder(options, TOKENIZER, TOKENIZER.vocabulary_size)
    row = np.zeros(TOKENIZER.vocabulary_size, np.float32)
    while decoder.finished is None:
        decoder.advance(row)
    changes = decoder.choice().changes
    assert changes is not None
    result = changes.apply(row)
    assert {token for token in range(len(row)) if result[token]} == set(decoder.finished.sampled_ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SamplingOptions(repetition_penalty=0.0), "repetition_penalty is 0.0; it must be above 0, and 1 is none"),
        (SamplingOptions(repetition_penalty=math.nan), "repetition_penalty is nan"),
        (SamplingOptions(frequency_penalty=math.inf), "frequency_penalty is inf; it must be a finite number"),
        (SamplingOptions(presence_penalty=math.nan), "presence_penalty is nan"),
        (SamplingOptions(logit_bias=((99_999, 1.0),)), "logit_bias names token 99999, but there are only"),
        (SamplingOptions(logit_bias=((1, math.inf),)), "the logit_bias of token 1 is inf"),
    ],
)
def test_options_without_sense_are_refused(options: SamplingOptions, message: str) -> None:
    engine = reference_engine()
    try:
        result = answer(engine, [500], options)
        assert isinstance(result, EngineError) and message in str(result)
    finally:
        engine.close()
