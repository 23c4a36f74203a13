"""What a caller of the step engine may rely on: errors, statistics, streams, order, trace, closing."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, Priority, SamplingOptions
from semlang.backend.model_runner import StepBatch
from semlang.backend.reference import ReferenceRunner, reference_engine, reference_runner
from semlang.backend.step_engine import StepEngine
from semlang.ir.types import INT, Record

TOKENIZER = embedded_tokenizer()
PROMPT = TOKENIZER.encode_piece("Answer with one word:", first=True)
FIXED = SamplingOptions(6, ignore_eos=True)


class Outcomes:
    """Outcomes of calls by context, and a way to wait for them."""

    def __init__(self) -> None:
        self.found: dict[int, Generation | EngineError] = {}
        self.order: list[int] = []
        self._changed = threading.Condition()

    def callbacks(self, context: int) -> Callbacks:
        def settle(outcome: Generation | EngineError) -> None:
            with self._changed:
                self.found[context] = outcome
                self.order.append(context)
                self._changed.notify_all()

        return Callbacks(settle, settle)

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.found) >= count, 30), "the engine is stuck"

    def generation(self, context: int) -> Generation:
        outcome = self.found[context]
        assert isinstance(outcome, Generation), outcome
        return outcome

    def error(self, context: int) -> str:
        outcome = self.found[context]
        assert isinstance(outcome, EngineError)
        return str(outcome)


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


@pytest.fixture
def engine() -> Iterator[StepEngine]:
    engine = reference_engine(kv_slots=4096)
    yield engine
    engine.close()


def test_statistics_count_what_was_computed(engine: StepEngine, outcomes: Outcomes) -> None:
    with engine.hold():
        engine.fill(PROMPT, 1, ROOT)
        for i in range(4):
            engine.fill([600 + i, 700], 10 + i, 1)
            engine.generate(FIXED, 20 + i, 10 + i, outcomes.callbacks(i))
    outcomes.wait(4)
    stats = engine.stats()
    assert stats.fills == 5 and stats.generates == 4
    assert stats.prompt_tokens == 4 * (len(PROMPT) + 2)
    assert stats.filled_tokens == len(PROMPT) + 4 * 2
    assert stats.refilled_tokens == stats.preemptions == stats.evicted_tokens == 0
    assert stats.generated_tokens == 4 * 6
    # The last token of an output is never fed, so its KV is never held.
    assert stats.peak_kv_tokens == len(PROMPT) + 4 * 2 + 4 * 5
    assert stats.engine_steps == 7 and stats.batch_sizes == [1, 4, 4, 4, 4, 4, 3]
    assert stats.kernels == "reference"
    stats.batch_sizes.clear()
    assert engine.stats().batch_sizes, "stats() gave away its own list"


def test_a_prompt_that_goes_on_by_one_token_counts_as_filled(engine: StepEngine, outcomes: Outcomes) -> None:
    for number in range(3):
        engine.fill(PROMPT if number == 0 else [700 + number], number + 1, number)
        engine.generate(SamplingOptions(0), 10 + number, number + 1, outcomes.callbacks(10 + number))
        engine.generate(SamplingOptions(1), 20 + number, number + 1, outcomes.callbacks(20 + number))
        outcomes.wait(2 * number + 2)
        engine.free_context(20 + number)
    stats = engine.stats()
    assert stats.filled_tokens == len(PROMPT) + 2 and stats.refilled_tokens == 0


@pytest.mark.parametrize("calls", [1, 3, 9])
def test_memory_is_counted_in_bytes_and_pages_and_shared_pages_once(calls: int, outcomes: Outcomes) -> None:
    engine = reference_engine(kv_slots=4096, page_size=4, prefix_cache=False)
    prompt = [500 + i for i in range(39)]  # ten pages, with BOS
    try:
        with engine.hold():
            engine.fill(prompt, 1, ROOT)
            for i in range(calls):
                engine.fill([600 + i] * 4, 10 + i, 1)
                engine.generate(SamplingOptions(5, ignore_eos=True), 30 + i, 10 + i, outcomes.callbacks(i))
        outcomes.wait(calls)
        stats = engine.stats()
        assert stats.kv_bytes_per_token == 8
        assert stats.peak_kv_tokens == 39 + calls * (4 + 4)
        assert stats.peak_kv_slots == 4 * (10 + calls * 2)
        for context in [1, *range(10, 10 + calls), *range(30, 30 + calls)]:
            engine.free_context(context)
    finally:
        engine.close()
    engine.check_integrity()
    assert engine._tree.allocator.used_slots == 4, "BOS stays"


def test_the_prefix_cache_finds_tokens_wherever_they_came_from(engine: StepEngine, outcomes: Outcomes) -> None:
    engine.fill(PROMPT, 1, ROOT)
    engine.generate(FIXED, 2, 1, outcomes.callbacks(2))
    outcomes.wait(1)
    output = outcomes.generation(2)
    for context in (1, 2):
        engine.free_context(context)
    before = engine.stats().filled_tokens
    engine.fill([*PROMPT, *output.kept_ids[:3], 777], 3, ROOT)
    engine.generate(FIXED, 4, 3, outcomes.callbacks(4))
    outcomes.wait(2)
    assert engine.stats().filled_tokens == before + 1


def test_without_the_cache_only_parents_are_shared(outcomes: Outcomes) -> None:
    engine = reference_engine(kv_slots=4096, prefix_cache=False)
    with engine.hold():
        for context in (1, 2):
            engine.fill(PROMPT, context, ROOT)
            engine.generate(FIXED, 10 + context, context, outcomes.callbacks(context))
        engine.generate(FIXED, 20, 1, outcomes.callbacks(20))
    outcomes.wait(3)
    engine.close()
    stats = engine.stats()
    assert stats.filled_tokens == 2 * len(PROMPT) and stats.prompt_tokens == 3 * len(PROMPT)
    assert outcomes.found[1] == outcomes.found[2] == outcomes.found[20]


def test_calls_on_the_same_context_share_a_row(engine: StepEngine, outcomes: Outcomes) -> None:
    with engine.hold():
        engine.fill(PROMPT, 1, ROOT)
        for i in range(3):
            engine.generate(FIXED, 10 + i, 1, outcomes.callbacks(i))
        for i in range(3, 6):
            sampled = SamplingOptions(6, temperature=1.0, ignore_eos=True, stream_key=bytes([i]))
            engine.generate(sampled, 10 + i, 1, outcomes.callbacks(i))
    outcomes.wait(6)
    # The prompt's logits serve all six; after it the three greedy outputs stay together, the sampled ones part.
    assert engine.stats().batch_sizes == [1, 4, 4, 4, 4, 4]
    assert len({outcomes.generation(i).text for i in range(6)}) == 4


def test_calls_on_unknown_contexts_are_refused(engine: StepEngine, outcomes: Outcomes) -> None:
    engine.fill(PROMPT, 1, ROOT)
    with pytest.raises(ValueError, match="context 1 is in use"):
        engine.fill(PROMPT, 1, ROOT)
    with pytest.raises(ValueError, match="context 9 is unknown"):
        engine.generate(FIXED, 2, 9, outcomes.callbacks(2))
    engine.free_context(1)
    with pytest.raises(ValueError, match="context 1 is unknown or freed"):
        engine.free_context(1)
    with pytest.raises(ValueError, match="root"):
        engine.free_context(ROOT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SamplingOptions(choices=()), "`choices` is empty"),
        (SamplingOptions(0, type=INT), "max_tokens is 0, but the shortest value has 1 tokens"),
        (SamplingOptions(choices=("a",), regex="b"), "cannot both be given"),
        (SamplingOptions(type=INT, stop=("x",)), "cannot stand beside"),
        (SamplingOptions(regex="a(?=b)"), "'a(?=b)' cannot be used: it uses assert"),
        (SamplingOptions(regex="a("), "not a regular expression"),
        (SamplingOptions(temperature=1.0), "needs a stream key"),
        (SamplingOptions(top_p=0.0), "top_p is 0.0"),
        (SamplingOptions(-1), "max_tokens is -1"),
        (SamplingOptions(stop=("",)), "a stop string is empty"),
    ],
)
def test_impossible_options_fail_the_call_and_its_children(
    engine: StepEngine, outcomes: Outcomes, options: SamplingOptions, message: str
) -> None:
    engine.generate(options, 1, ROOT, outcomes.callbacks(1))
    engine.fill(PROMPT, 2, 1)
    engine.generate(FIXED, 3, 2, outcomes.callbacks(3))
    outcomes.wait(2)
    assert message in outcomes.error(1) and outcomes.error(3) == outcomes.error(1)
    engine.check_integrity()


def test_a_prompt_that_is_too_long_fails_what_depends_on_it(engine: StepEngine, outcomes: Outcomes) -> None:
    engine.fill([700] * 9000, 1, ROOT)
    engine.fill([701], 2, 1)
    engine.generate(FIXED, 3, 2, outcomes.callbacks(3))
    engine.generate(FIXED, 4, ROOT, outcomes.callbacks(4))
    outcomes.wait(2)
    assert "context overflow: the prompt has 9001 tokens, the model's context holds 8192" in outcomes.error(3)
    assert outcomes.generation(4)


def test_an_output_that_leaves_the_context_fails(outcomes: Outcomes) -> None:
    runner = reference_runner(TOKENIZER, context_length=len(PROMPT) + 4)
    engine = StepEngine(runner, TOKENIZER, name="short", kv_slots=256)
    engine.fill(PROMPT, 1, ROOT)
    engine.generate(SamplingOptions(3, ignore_eos=True), 2, 1, outcomes.callbacks(2))
    engine.generate(SamplingOptions(4, ignore_eos=True), 3, 1, outcomes.callbacks(3))
    outcomes.wait(2)
    engine.close()
    assert len(outcomes.generation(2).kept_ids) == 3
    assert "context overflow" in outcomes.error(3)


def test_a_call_that_can_never_fit_fails_and_others_go_on(outcomes: Outcomes) -> None:
    engine = reference_engine(kv_slots=64, page_size=4)
    engine.fill([700] * 65, 1, ROOT)
    engine.generate(FIXED, 2, 1, outcomes.callbacks(2))
    engine.generate(SamplingOptions(200, ignore_eos=True), 3, ROOT, outcomes.callbacks(3))
    engine.generate(FIXED, 4, ROOT, outcomes.callbacks(4))
    outcomes.wait(3)
    engine.check_integrity()
    engine.close()
    assert "needs KV for 66 tokens, the engine has 64 slots" in outcomes.error(2)
    assert "the engine has 64 slots" in outcomes.error(3)
    assert outcomes.generation(4)


def test_an_empty_prompt_needs_a_bos(outcomes: Outcomes) -> None:
    tokenizer = embedded_tokenizer()
    bos, tokenizer_bos = tokenizer.bos_id, tokenizer
    try:
        tokenizer_bos.bos_id = None
        engine = StepEngine(reference_runner(tokenizer, 64), tokenizer, name="no-bos", kv_slots=64)
        engine.generate(FIXED, 1, ROOT, outcomes.callbacks(1))
        engine.fill(PROMPT, 2, ROOT)
        engine.generate(FIXED, 3, 2, outcomes.callbacks(3))
        outcomes.wait(2)
        engine.check_integrity()
        engine.close()
    finally:
        tokenizer.bos_id = bos
    assert "the prompt is empty and the model has no BOS" in outcomes.error(1)
    assert outcomes.generation(3)


class FailingRunner(ReferenceRunner):
    """Fails in the steps whose numbers it is told."""

    failing_steps: frozenset[int] = frozenset()
    steps = 0

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        self.steps += 1
        if self.steps in self.failing_steps:
            raise RuntimeError("the model caught fire")
        return super().run(batch)


def test_a_failing_model_fails_its_calls_and_nothing_else(outcomes: Outcomes) -> None:
    runner = reference_runner(TOKENIZER, 8192)
    runner.__class__ = FailingRunner
    assert isinstance(runner, FailingRunner)
    runner.failing_steps = frozenset({2})
    engine = StepEngine(runner, TOKENIZER, name="bad", kv_slots=1024)
    with engine.hold():
        engine.fill(PROMPT, 1, ROOT)
        engine.generate(FIXED, 2, 1, outcomes.callbacks(2))
        engine.fill([700], 3, 2)
        engine.generate(FIXED, 4, 3, outcomes.callbacks(4))
    outcomes.wait(2)
    assert outcomes.error(2) == outcomes.error(4) == "engine bad failed: the model caught fire"
    engine.check_integrity()
    engine.generate(FIXED, 5, 1, outcomes.callbacks(5))
    outcomes.wait(3)
    engine.close()
    good = reference_engine()
    good.fill(PROMPT, 1, ROOT)
    good.generate(FIXED, 2, 1, outcomes.callbacks(6))
    outcomes.wait(4)
    good.close()
    assert outcomes.generation(5) == outcomes.generation(6)


def test_abort_fails_the_call_and_keeps_its_siblings(engine: StepEngine, outcomes: Outcomes) -> None:
    with engine.hold():
        engine.fill(PROMPT, 1, ROOT)
        engine.generate(SamplingOptions(5000, ignore_eos=True), 2, 1, outcomes.callbacks(2))
        engine.fill([700], 3, 2)
        engine.generate(FIXED, 4, 3, outcomes.callbacks(4))
        engine.generate(FIXED, 5, 1, outcomes.callbacks(5))
        engine.abort(2)
        engine.abort(5000)  # unknown: nothing to stop
    outcomes.wait(3)
    engine.abort(5)  # has ended
    assert outcomes.error(2) == outcomes.error(4) == "the call was aborted"
    assert outcomes.generation(5)
    engine.check_integrity()


def test_close_fails_what_still_runs(outcomes: Outcomes) -> None:
    engine = reference_engine()
    engine.generate(SamplingOptions(8000, ignore_eos=True), 1, ROOT, outcomes.callbacks(1))
    with engine.hold():
        engine.generate(FIXED, 2, ROOT, outcomes.callbacks(2))
        engine.close()
    engine.close()
    engine.generate(FIXED, 3, ROOT, outcomes.callbacks(3))
    outcomes.wait(3)
    assert "closed" in outcomes.error(1) and "closed" in outcomes.error(2) and "closed" in outcomes.error(3)


def test_an_engine_may_be_closed_and_called_from_its_callbacks(outcomes: Outcomes) -> None:
    engine = reference_engine()
    closed = threading.Event()

    def finish(_: Generation) -> None:
        engine.check_integrity()
        engine.generate(FIXED, 2, 1, Callbacks(lambda _: close(), lambda _: None))

    def close() -> None:
        engine.close()
        closed.set()

    engine.generate(FIXED, 1, ROOT, Callbacks(finish, lambda _: None))
    assert closed.wait(30)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failing_callback_does_not_stop_the_engine(engine: StepEngine, outcomes: Outcomes) -> None:
    def fail(_: Generation) -> None:
        raise RuntimeError("the caller's bug")

    engine.generate(FIXED, 1, ROOT, Callbacks(fail, lambda _: None))
    engine.generate(FIXED, 2, 1, outcomes.callbacks(2))
    outcomes.wait(1)
    assert outcomes.generation(2)


def test_urgent_groups_run_first(outcomes: Outcomes) -> None:
    engine = reference_engine(max_batch=1)
    calls = {
        1: Priority(None, 0),
        2: Priority("a", 1),
        3: Priority("b", 0),
        4: Priority("a", 0),
        5: Priority(None, 0, "latency"),
        6: Priority("b", 0),
    }
    with engine.hold():
        for context, priority in calls.items():
            engine.fill([600 + context], 10 + context, ROOT)
            engine.generate(FIXED, context, 10 + context, outcomes.callbacks(context), priority=priority)
    outcomes.wait(6)
    engine.close()
    assert outcomes.order == [5, 1, 3, 6, 4, 2]


def test_fills_are_computed_when_they_are_needed(engine: StepEngine, outcomes: Outcomes) -> None:
    engine.fill([700] * 50, 1, ROOT)
    engine.fill([701] * 50, 2, ROOT)
    engine.generate(FIXED, 3, 2, outcomes.callbacks(3))
    outcomes.wait(1)
    assert engine.stats().filled_tokens == 50


def test_speculative_fills_leave_the_last_token_to_the_call(outcomes: Outcomes) -> None:
    engine = reference_engine(speculative_fills=True, kv_slots=256, max_step_tokens=8)
    engine.fill([700] * 50, 1, ROOT)
    for _ in range(3000):
        if engine.stats().filled_tokens == 49:
            break
        threading.Event().wait(0.01)
    assert engine.stats().filled_tokens == 49
    engine.generate(FIXED, 2, 1, outcomes.callbacks(2))
    outcomes.wait(1)
    engine.close()
    assert engine.stats().filled_tokens == 50 and engine.stats().refilled_tokens == 0


def test_speculative_fills_never_take_the_room_of_calls(outcomes: Outcomes) -> None:
    engine = reference_engine(speculative_fills=True, kv_slots=64, page_size=4)
    with engine.hold():
        for i in range(10):
            engine.fill([700 + i] * 40, 1 + i, ROOT)
        engine.generate(SamplingOptions(40, ignore_eos=True), 20, ROOT, outcomes.callbacks(20))
    outcomes.wait(1)
    engine.close()
    assert len(outcomes.generation(20).sampled_ids) == 40


def test_the_trace_tells_of_fills_generates_and_steps(outcomes: Outcomes) -> None:
    engine = reference_engine(trace=True)
    with engine.hold():
        engine.fill(PROMPT, 1, ROOT, label="prompt")
        engine.fill(PROMPT[:3], 2, ROOT)
        engine.generate(FIXED, 3, 1, outcomes.callbacks(3), label="answer")
    outcomes.wait(1)
    engine.close()
    events = engine.drain_events()
    assert engine.drain_events() == []
    by_name = {event.name: event for event in events}
    assert by_name["prompt"].arguments == {
        "context": 1, "parent": 0, "tokens": len(PROMPT), "shared_tokens": 0, "computed": True,
    }
    assert by_name["fill 2"].arguments["shared_tokens"] == 3
    assert by_name["answer"].arguments["prompt_tokens"] == len(PROMPT)
    assert by_name["answer"].arguments["finish_reason"] == "length"
    assert sum(event.kind == "step" for event in events) == 6
    assert all(event.start <= event.end for event in events)


def test_a_record_without_fields_needs_no_model(engine: StepEngine, outcomes: Outcomes) -> None:
    engine.generate(SamplingOptions(type=Record(None, ())), 1, ROOT, outcomes.callbacks(1))
    engine.generate(SamplingOptions(0), 2, ROOT, outcomes.callbacks(2))
    engine.generate(SamplingOptions(choices=("no\n",)), 3, 2, outcomes.callbacks(3))
    outcomes.wait(3)
    assert outcomes.generation(1).text == "{}"
    assert outcomes.generation(2).text == "" and outcomes.generation(2).finish_reason == "length"
    assert outcomes.generation(3).text == "no\n"
