"""Laws of the step engine: its answers are a function of tokens and options, and of nothing else.

Every engine below runs random forests of fills and generates on the reference runner. What it answers must equal
what a loop answers that computes one context at a time, alone in its pool.
"""

from collections.abc import Sequence

import pytest
from engine_scenarios import TOKENIZER, Answers, Op, expected, largest_context, scenarios, submit, submit_one, watch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nightly import examples
from semlang.backend.engine import ROOT, EngineError, Generation, Priority, SamplingOptions
from semlang.backend.reference import reference_engine


def run(ops: Sequence[Op], *, poison: int | None = None, **engine_options: object) -> Answers:
    engine = watch(reference_engine(**{"kv_slots": 4096, **engine_options}), poison)  # type: ignore[arg-type]
    answers = Answers()
    try:
        with engine.hold():
            submit(engine, ops, answers)
        answers.wait(sum(op.options is not None for op in ops))
        for i in range(len(ops)):
            engine.free_context(i + 1)
    finally:
        engine.close()
    engine.check_integrity()
    assert engine._tree.live_tokens == 0
    if not engine_options.get("prefix_cache", True):
        assert engine._tree.allocator.free_pages >= engine._tree.allocator.pages - 1, "pages leaked"  # BOS keeps one
    return answers


ENGINES: dict[str, dict[str, object]] = {
    "default": {},
    "no-cache": {"prefix_cache": False},
    "one-row": {"max_batch": 1},
    "small-steps": {"max_step_tokens": 3},
    "one-token-steps": {"max_step_tokens": 1, "page_size": 1},
    "speculative": {"speculative_fills": True, "max_step_tokens": 7, "page_size": 4},
    "small-pages": {"page_size": 3, "prefix_cache": False},
}
# Pools that hold the largest context of the scenario and no page more.
TIGHT_ENGINES: dict[str, dict[str, object]] = {
    "tight": {"page_size": 4},
    "tight-no-cache": {"page_size": 8, "prefix_cache": False, "max_step_tokens": 16},
    "tight-one-slot-pages": {"page_size": 1, "max_batch": 3},
    "tight-speculative": {"page_size": 3, "speculative_fills": True, "max_step_tokens": 11},
}
LAW = settings(max_examples=examples(60, 1_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", ENGINES)
@LAW
@given(ops=scenarios(), poison=st.integers(0, 99))
def test_answers_depend_on_tokens_and_options_only(name: str, ops: list[Op], poison: int) -> None:
    wanted = expected(ops)
    answers = run(ops, poison=poison, **ENGINES[name])
    assert answers.outcomes == wanted
    assert answers.streamed == {i: g.text for i, g in wanted.items() if g.text}


@pytest.mark.parametrize("name", TIGHT_ENGINES)
@LAW
@given(ops=scenarios(), poison=st.integers(0, 99))
def test_answers_are_the_same_without_a_spare_page(name: str, ops: list[Op], poison: int) -> None:
    wanted = expected(ops)
    page_size = TIGHT_ENGINES[name]["page_size"]
    assert isinstance(page_size, int)
    slots = -(-largest_context(ops, wanted) // page_size) * page_size
    assert run(ops, poison=poison, kv_slots=slots, **TIGHT_ENGINES[name]).outcomes == wanted


@LAW
@given(ops=scenarios(), data=st.data())
def test_aborted_and_freed_calls_leave_nothing_behind(ops: list[Op], data: st.DataObject) -> None:
    engine = watch(reference_engine(kv_slots=256, page_size=4, max_step_tokens=9, prefix_cache=False))
    answers = Answers()
    wanted = expected(ops)
    abort = {i for i in wanted if data.draw(st.booleans())}
    try:
        for i in range(len(ops)):  # not held: freed, aborted and used while running
            submit_one(engine, ops, i, answers)
            if i in abort:
                engine.abort(i + 1)
        for i in range(len(ops)):
            engine.free_context(i + 1)
        answers.wait(len(wanted))
    finally:
        engine.close()
    engine.check_integrity()
    assert engine._tree.live_tokens == 0
    assert engine._tree.allocator.free_pages >= engine._tree.allocator.pages - 1
    for i, outcome in answers.outcomes.items():
        assert isinstance(outcome, EngineError) or outcome == wanted[i]
        assert i in abort or isinstance(outcome, Generation) or "abort" in str(outcome) or "slots" in str(outcome)


@pytest.mark.parametrize("prefix_cache", [True, False])
def test_a_pool_a_tenth_of_the_batch_finishes_every_call(prefix_cache: bool) -> None:
    prompt = tuple(TOKENIZER.encode_piece("Answer with one word. " * 5, first=True))
    ops = [Op(ROOT, prompt)]
    for i in range(40):
        ops.append(Op(1 if i % 2 else ROOT, tuple(TOKENIZER.encode_piece(f"case {i} " * 8, first=False))))
        ops.append(Op(len(ops), (), SamplingOptions(16, ignore_eos=True), Priority(None, i % 3)))
    wanted = expected(ops)
    total = sum(len(op.tokens) + 16 for op in ops)
    answers = run(ops, poison=1, kv_slots=max(total // 10, 150), page_size=4, prefix_cache=prefix_cache)
    assert answers.outcomes == wanted


def test_ten_thousand_contexts_deep() -> None:
    engine = reference_engine(kv_slots=1 << 15)
    answers = Answers()
    try:
        with engine.hold():
            for i in range(4000):  # a chain of fills with an output now and then, and a fork beside each link
                engine.fill([500 + i % 7], i + 1, i)
                engine.fill([900 + i % 3, 40], 10_000 + i, i)
            engine.generate(SamplingOptions(4), 50_000, 4000, answers.callbacks(0))
            engine.generate(SamplingOptions(4), 50_001, 12_000, answers.callbacks(1))
        answers.wait(2)
        assert not [str(o) for o in answers.outcomes.values() if isinstance(o, EngineError)]
        engine.check_integrity()
        for i in range(4000):
            engine.free_context(i + 1)
            engine.free_context(10_000 + i)
        engine.generate(SamplingOptions(4), 60_000, 50_000, answers.callbacks(2))
        answers.wait(3)
        engine.check_integrity()
    finally:
        engine.close()


def test_ten_thousand_calls_wait_for_one_output() -> None:
    engine = reference_engine()
    answers = Answers()
    try:
        with engine.hold():
            engine.fill([500], 1, ROOT)
            engine.generate(SamplingOptions(8), 2, 1, answers.callbacks(0))
            for i in range(3, 10_000):
                engine.fill([500 + i % 7] if i < 5000 else [], i, i - 1)
            engine.generate(SamplingOptions(4), 10_000, 9_999, answers.callbacks(1))
        answers.wait(2)
        assert not [str(o) for o in answers.outcomes.values() if isinstance(o, EngineError)]
    finally:
        engine.close()


def test_a_failure_reaches_a_long_chain_of_outputs() -> None:
    engine = reference_engine()
    answers = Answers()
    try:
        with engine.hold():
            engine.generate(SamplingOptions(choices=()), 1, ROOT, answers.callbacks(0))
            for i in range(1, 10_000):
                engine.generate(SamplingOptions(), i + 1, i, answers.callbacks(i))
        answers.wait(10_000)
        assert {str(o) for o in answers.outcomes.values()} == {"`choices` is empty, so no value is possible"}
    finally:
        engine.close()
