"""A group of engines answers what one engine answers, leaks nothing, and outlives its engines."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, Priority, SamplingOptions
from semlang.backend.engine_group import EngineGroup
from semlang.backend.model_runner import StepBatch
from semlang.backend.random_stream import stream_key
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.passes.cost_model import REFERENCE

TOKENIZER = embedded_tokenizer()
TIMEOUT = 30
LAW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
PIECES = [tuple(TOKENIZER.encode_piece(text, first=False)) for text in (
    "the cache ", "the cache keeps ", "x", "é€", "", "Answer with one word.\n" * 3, " the")]


@dataclass(frozen=True)
class Step:
    """A fill (`options` None) or a generate after the context of step `parent` - 1, or the root."""

    parent: int
    tokens: tuple[int, ...] = ()
    options: SamplingOptions | None = None
    priority: Priority = Priority()
    frees: tuple[int, ...] = ()
    aborts: bool = False


@st.composite
def sampling(draw: st.DrawFn) -> SamplingOptions:
    temperature = draw(st.sampled_from([0.0, 0.8]))
    key = stream_key(1, "p", [draw(st.integers(0, 2))], "o", 0) if temperature else None
    choices = draw(st.sampled_from([None, None, ("the", "then", "a cat"), ()]))
    return SamplingOptions(draw(st.integers(1, 20)), temperature=temperature, stream_key=key, choices=choices,
                           stop=draw(st.sampled_from([(), ("e",)])), strip_leading_space=draw(st.booleans()))


@st.composite
def workloads(draw: st.DrawFn, *, aborts: bool = False) -> list[Step]:
    """Steps after living contexts; each context is freed at some time after it was made, some at the very end."""
    steps: list[Step] = []
    alive = [0]
    for number in range(draw(st.integers(3, 16))):
        parent = draw(st.sampled_from(alive))
        alive.append(number + 1)
        frees = tuple(draw(st.lists(st.sampled_from(alive[1:]), unique=True, max_size=2)))
        alive = [context for context in alive if context not in frees]
        if draw(st.booleans()):
            steps.append(Step(parent, draw(st.sampled_from(PIECES)), frees=frees))
            continue
        group = draw(st.sampled_from([None, "a", "b"]))
        priority = Priority(group, draw(st.integers(0, 2)), draw(st.sampled_from(["latency", "throughput"])),
                            engines=draw(st.sampled_from([None, 1, 2])))
        steps.append(Step(parent, (), draw(sampling()), priority, frees, aborts and draw(st.booleans())))
    return steps


class Answers:
    """What calls answered, and the text that was released before."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Generation | str] = {}
        self.texts: dict[int, str] = {}
        self._changed = threading.Condition()

    def callbacks(self, number: int) -> Callbacks:
        def settle(outcome: Generation | str) -> None:
            with self._changed:
                assert number not in self.outcomes, "a call ended twice"
                self.outcomes[number] = outcome
                self._changed.notify_all()

        def on_text(text: str) -> None:
            assert text and number not in self.outcomes
            self.texts[number] = self.texts.get(number, "") + text

        return Callbacks(settle, lambda error: settle(str(error)), on_text)

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, TIMEOUT), "a call was lost"


def run(engine: StepEngine | EngineGroup, steps: Sequence[Step], *, held: bool = True) -> Answers:
    """Do all steps, then free what is left."""
    answers = Answers()

    def submit() -> None:
        for number, step in enumerate(steps):
            if step.options is None:
                engine.fill(step.tokens, number + 1, step.parent)
            else:
                engine.generate(step.options, number + 1, step.parent, answers.callbacks(number),
                                priority=step.priority)
            if step.aborts:
                engine.abort(number + 1)
            for context in step.frees:
                engine.free_context(context)

    if held:
        with engine.hold():
            submit()
    else:
        submit()
    answers.wait(sum(step.options is not None for step in steps))
    freed = {context for step in steps for context in step.frees}
    for number in range(len(steps)):
        if number + 1 not in freed:
            engine.free_context(number + 1)
    return answers


def group_of(count: int, **options: object) -> EngineGroup:
    prefix_cache = bool(options.get("prefix_cache", True))
    engines = [reference_engine(name=f"reference {number}", **options) for number in range(count)]  # type: ignore[arg-type]
    return EngineGroup(engines, costs=REFERENCE, prefix_cache=prefix_cache)


def check_empty(group: EngineGroup) -> None:
    """Nothing is left behind: no context in the group or on an engine, no call, no page without a cache."""
    group.close()
    group.check_integrity()
    assert group.live_contexts == 0
    for member in group._members:
        assert member.running == 0 and member.load.calls == 0 and member.load.held_tokens == 0
        assert not member._held and not member._readers
        assert isinstance(member.engine, StepEngine)
        if not member.alive:
            continue
        assert member.engine._tree.live_tokens == 0
        if not member._keeps_freed:
            assert member.load.runs == {}
            assert member.engine._tree.allocator.free_pages >= member.engine._tree.allocator.pages - 1  # one for BOS


def plain(steps: Sequence[Step]) -> Answers:
    """What one engine answers."""
    engine = reference_engine()
    try:
        return run(engine, steps)
    finally:
        engine.close()


@pytest.mark.parametrize(("count", "prefix_cache"), [(1, True), (2, True), (2, False), (3, True)])
@LAW
@given(steps=workloads(), held=st.booleans())
def test_a_group_answers_what_one_engine_answers(count: int, prefix_cache: bool, steps: list[Step],
                                                 held: bool) -> None:
    wanted = plain(steps)
    group = group_of(count, prefix_cache=prefix_cache)
    try:
        answers = run(group, steps, held=held)
        assert answers.outcomes == wanted.outcomes
        assert answers.texts == wanted.texts
    finally:
        check_empty(group)


@pytest.mark.parametrize("prefix_cache", [True, False])
@LAW
@given(steps=workloads(aborts=True), held=st.booleans())
def test_aborted_calls_leave_nothing_behind(prefix_cache: bool, steps: list[Step], held: bool) -> None:
    wanted = plain([replace(step, aborts=False) for step in steps])
    group = group_of(2, prefix_cache=prefix_cache)
    try:
        answers = run(group, steps, held=held)
    finally:
        check_empty(group)
    for number, outcome in answers.outcomes.items():
        assert outcome in (wanted.outcomes[number], "the call was aborted")


# ---- engines that fail ----


def failing_after(engine: StepEngine, steps: int) -> StepEngine:
    """Make the runner of an engine raise in every step after so many."""
    runner = engine._runner
    done = 0

    def run(batch: StepBatch) -> NDArray[np.float32]:
        nonlocal done
        done += 1
        if done > steps:
            raise RuntimeError("the device is lost")
        return type(runner).run(runner, batch)

    runner.run = run  # type: ignore[method-assign]
    return engine


@pytest.mark.parametrize("prefix_cache", [True, False])
@LAW
@given(steps=workloads(), fails=st.lists(st.integers(0, 12), min_size=1, max_size=2), held=st.booleans())
def test_calls_of_engines_that_fail_are_done_elsewhere(prefix_cache: bool, steps: list[Step], fails: list[int],
                                                       held: bool) -> None:
    wanted = plain(steps)
    group = group_of(3, prefix_cache=prefix_cache)
    for member, after in zip(group.members, fails, strict=False):
        assert isinstance(member, StepEngine)
        failing_after(member, after)
    try:
        answers = run(group, steps, held=held)
        assert answers.outcomes == wanted.outcomes
        assert answers.texts == wanted.texts, "released text is final"
        assert all(member.alive for member in group._members[len(fails):])
    finally:
        check_empty(group)


def streaming_prompts(count: int) -> list[Step]:
    """Prompts, each with a long output after it."""
    steps = []
    for number in range(count):
        steps.append(Step(ROOT, tuple(TOKENIZER.encode_piece(f"Case {number}: ", first=True))))
        steps.append(Step(len(steps), (), SamplingOptions(40, ignore_eos=True)))
    return steps


@pytest.mark.parametrize("after", [0, 1, 7, 30])
def test_an_engine_fails_in_the_middle_of_streams(after: int) -> None:
    steps = streaming_prompts(8)
    wanted = plain(steps)
    group = group_of(2)
    failing_after(_engine(group, 0), after)
    try:
        answers = run(group, steps)
        assert answers.outcomes == wanted.outcomes and answers.texts == wanted.texts
        assert [member.alive for member in group._members] == [False, True]
        assert group.stats().generates == 8 + 4  # four calls began again
    finally:
        check_empty(group)


def test_contexts_of_a_lost_engine_are_made_again() -> None:
    chat = [Step(ROOT, PIECES[0]), Step(1, (), SamplingOptions(9)), Step(2, PIECES[1]), Step(3, (), SamplingOptions(9))]
    wanted = plain(chat)
    group = group_of(2)
    answers = Answers()
    try:
        group.fill(chat[0].tokens, 1, ROOT)
        assert chat[1].options is not None and chat[3].options is not None
        group.generate(chat[1].options, 2, 1, answers.callbacks(1))
        answers.wait(1)
        (where,) = [member.number for member in group._members if _engine(group, member.number).stats().generates]
        group.free_context(1)
        _engine(group, where).close()
        group.fill(chat[2].tokens, 3, 2)
        group.free_context(2)
        group.generate(chat[3].options, 4, 3, answers.callbacks(3))
        answers.wait(2)
        assert answers.outcomes == wanted.outcomes
        assert _engine(group, 1 - where).stats().generates == 1
        group.free_context(3)
        group.free_context(4)
    finally:
        check_empty(group)


def test_when_every_engine_has_failed_calls_say_so() -> None:
    group = group_of(2)
    for number in range(2):
        failing_after(_engine(group, number), 3)
    try:
        outcomes = run(group, streaming_prompts(4)).outcomes
        assert len(outcomes) == 4
        assert all("the device is lost" in str(outcome) for outcome in outcomes.values())
        answers = Answers()
        group.generate(SamplingOptions(4), 100, ROOT, answers.callbacks(0))
        assert "every engine of reference 0 has failed" in str(answers.outcomes[0])
        group.free_context(100)
    finally:
        check_empty(group)


def test_text_that_differs_after_a_failure_fails_the_call() -> None:
    group = group_of(2)
    failing_after(_engine(group, 0), 9)
    runner = _engine(group, 1)._runner
    other = type(runner).run

    def differs(batch: StepBatch) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = np.roll(other(runner, batch), 7, axis=1)
        return logits

    runner.run = differs  # type: ignore[method-assign]
    try:
        outcomes = run(group, streaming_prompts(1)).outcomes
        assert outcomes == {1: "an engine failed after text had been released, and the text differs on another engine"}
    finally:
        check_empty(group)


# ---- where calls go ----


def _engine(group: EngineGroup, number: int) -> StepEngine:
    engine = group.members[number]
    assert isinstance(engine, StepEngine)
    return engine


def shares(steps: Sequence[Step], count: int) -> list[int]:
    """Calls of each engine of a group that does `steps` together."""
    group = group_of(count)
    try:
        run(group, steps)
        return [_engine(group, number).stats().generates for number in range(count)]
    finally:
        check_empty(group)


def test_independent_calls_are_spread() -> None:
    assert shares(streaming_prompts(64), 4) == [16, 16, 16, 16]


def test_a_group_that_is_to_stay_on_few_engines_does() -> None:
    for limit in (1, 2, 3):
        narrow = Priority("g", engines=limit)
        steps = [replace(step, priority=narrow) for step in streaming_prompts(24)]
        assert Counter(bool(share) for share in shares(steps, 4))[True] == limit


def test_chats_stay_where_their_context_is() -> None:
    group = group_of(3)
    answers = Answers()
    long = tuple(TOKENIZER.encode_piece("A long system prompt that nobody wants to compute twice. " * 40, first=True))
    try:
        with group.hold():
            for chat in range(6):
                group.fill((*long, 500 + chat), 10 * chat + 1, ROOT)
                group.generate(SamplingOptions(8), 10 * chat + 2, 10 * chat + 1, answers.callbacks(10 * chat))
        answers.wait(6)
        homes = {chat: _places(group, 10 * chat + 2) for chat in range(6)}
        assert len(set(homes.values())) == 3, "the chats begin on all engines"
        before = group.stats().filled_tokens
        for turn in range(1, 4):
            for chat in range(6):
                group.fill([600 + turn], 10 * chat + 2 * turn + 1, 10 * chat + 2 * turn)
                group.generate(SamplingOptions(8), 10 * chat + 2 * turn + 2, 10 * chat + 2 * turn + 1,
                               answers.callbacks(10 * chat + turn))
            answers.wait(6 * (turn + 1))
            assert {chat: _places(group, 10 * chat + 2 * turn + 2) for chat in range(6)} == homes
        assert group.stats().filled_tokens - before < len(long), "no prompt was computed again"
        for context in [10 * chat + number for chat in range(6) for number in range(1, 9)]:
            group.free_context(context)
    finally:
        check_empty(group)


def _places(group: EngineGroup, context: int) -> tuple[int, ...]:
    found = group._contexts.find(context)
    assert found is not None
    return tuple(sorted(member.number for member in found.places))


def test_what_one_engine_wrote_is_continued_on_another() -> None:
    steps = [Step(ROOT, PIECES[5]), Step(1, (), SamplingOptions(12))]
    steps += [Step(2, (), SamplingOptions(40, ignore_eos=True, temperature=0.7, stream_key=bytes([number]) * 16))
              for number in range(12)]
    wanted = plain(steps)
    group = group_of(3)
    answers = Answers()
    try:
        group.fill(steps[0].tokens, 1, ROOT)
        for number, step in enumerate(steps[1:3], 1):
            assert step.options is not None
            group.generate(step.options, number + 1, step.parent, answers.callbacks(number))
        answers.wait(1)
        with group.hold():
            for number, step in enumerate(steps[3:], 3):
                assert step.options is not None
                group.generate(step.options, number + 1, 2, answers.callbacks(number))
        answers.wait(13)
        assert answers.outcomes == wanted.outcomes
        assert len(_places(group, 2)) == 3
        for context in range(1, 15):
            group.free_context(context)
    finally:
        check_empty(group)


# ---- the rest of the interface ----


def test_identifiers_are_checked() -> None:
    group = group_of(2)
    answers = Answers()
    try:
        group.fill([500], 1, ROOT)
        wrong: list[Callable[[], object]] = [
            lambda: group.fill([500], 1, ROOT), lambda: group.fill([500], 2, 7),
            lambda: group.generate(SamplingOptions(), 1, ROOT, answers.callbacks(0)),
            lambda: group.free_context(9), lambda: group.free_context(ROOT)]
        for call in wrong:
            with pytest.raises(ValueError, match=r"in use|unknown|never freed"):
                call()
        group.abort(77)
        group.free_context(1)
    finally:
        check_empty(group)


def test_counters_and_events_of_all_engines() -> None:
    group = group_of(2, trace=True)
    steps = streaming_prompts(6)
    try:
        run(group, steps)
        stats = group.stats()
        singles = [engine.stats() for engine in group.members]
        assert stats.generates == 6 == sum(one.generates for one in singles)
        assert stats.engine_steps == sum(one.engine_steps for one in singles) == len(stats.batch_sizes)
        assert stats.peak_kv_tokens == sum(one.peak_kv_tokens for one in singles)
        assert stats.kv_bytes_per_token == 8, "of the model, not of all engines together"
        events = group.drain_events()
        assert {event.arguments["engine"] for event in events if event.kind == "generate"} == {0, 1}
        assert group.drain_events() == []
    finally:
        check_empty(group)


def test_closing_fails_what_runs_and_what_waits() -> None:
    group = group_of(2)
    answers = Answers()
    with group.hold():
        group.generate(SamplingOptions(400, ignore_eos=True), 1, ROOT, answers.callbacks(0))
        group.generate(SamplingOptions(4), 2, 1, answers.callbacks(1))
        group.generate(SamplingOptions(4), 3, 2, answers.callbacks(2))
    group.close()
    group.generate(SamplingOptions(4), 4, ROOT, answers.callbacks(3))
    answers.wait(4)
    assert all("closed" in str(outcome) for outcome in answers.outcomes.values())
    for context in (1, 2, 3, 4):
        group.free_context(context)
    check_empty(group)


def test_engines_of_one_group_run_one_model() -> None:
    first, second = reference_engine(), reference_engine()
    second.context_length += 1
    try:
        with pytest.raises(ValueError, match="same model"):
            EngineGroup([first, second])
        with pytest.raises(ValueError, match="at least one"):
            EngineGroup([])
    finally:
        first.close()
        second.close()


def test_a_failure_reaches_a_long_chain_of_outputs() -> None:
    group = group_of(2)
    answers = Answers()
    try:
        with group.hold():
            group.generate(SamplingOptions(choices=()), 1, ROOT, answers.callbacks(0))
            for number in range(1, 10_000):
                group.generate(SamplingOptions(), number + 1, number, answers.callbacks(number))
        answers.wait(10_000)
        assert {str(outcome) for outcome in answers.outcomes.values()} == {
            "`choices` is empty, so no value is possible"}
        for number in range(10_000):
            group.free_context(number + 1)
    finally:
        check_empty(group)


def test_errors_of_calls_are_no_failures_of_engines() -> None:
    group = group_of(2)
    try:
        outcomes = run(group, [Step(ROOT, (500,) * 9000), Step(1, (), SamplingOptions(4))]).outcomes
        assert "context overflow" in str(outcomes[1])
        assert all(member.alive for member in group._members)
        assert isinstance(EngineError("x"), Exception)
    finally:
        check_empty(group)
