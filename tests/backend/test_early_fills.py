"""What is filled early, in which order, and whose KV goes first where memory is short."""

import threading
from collections.abc import Callable, Iterator

import pytest
from semlang.backend.context_tree import Mark, Node
from semlang.backend.early_fills import REORDER_STEPS, EarlyFills, EarlyTokens
from semlang.backend.engine import ROOT, Callbacks, EngineError, EngineEvent, FillHint, Generation, SamplingOptions
from semlang.backend.progress import Progress
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine

FIXED = SamplingOptions(6, ignore_eos=True)


def used_in(steps: int) -> Callable[[], int]:
    return lambda: steps


def candidates(fills: EarlyFills, step: int) -> list[int]:
    return [context for context, _ in fills.candidates(step)]


def a_mark() -> Mark:
    return Mark(Node(0, None, 0, []), 0)  # type: ignore[arg-type]


def test_the_soonest_used_comes_first_and_what_is_too_early_does_not_come() -> None:
    fills = EarlyFills()
    for context, (early, steps) in {1: (9, 5), 2: (9, 1), 3: (2, 3), 4: (0, 1), 5: (9, 1)}.items():
        fills.add(context, a_mark(), FillHint(early, used_in(steps)))
    assert candidates(fills, 1) == [2, 5, 1]
    fills.discard(2)
    assert candidates(fills, 2) == [5, 1]


def test_without_a_plan_the_newest_comes_first_after_what_is_planned() -> None:
    fills = EarlyFills()
    for context in (1, 2):
        fills.add(context, a_mark(), FillHint())
    fills.add(3, a_mark(), FillHint(4, used_in(4)))
    assert candidates(fills, 1) == [3, 2, 1]


def test_the_order_follows_the_run() -> None:
    fills, left = EarlyFills(), {1: 4, 2: 3}
    for context in left:
        fills.add(context, a_mark(), FillHint(2, lambda context=context: left[context]))  # type: ignore[misc]
    assert candidates(fills, 1) == []
    left.update({1: 2, 2: 1})
    assert candidates(fills, 1 + REORDER_STEPS) == [2, 1]


def test_nothing_is_tried_for_a_while_where_there_was_no_room() -> None:
    fills = EarlyFills()
    fills.add(1, a_mark(), FillHint())
    fills.no_room(1)
    assert candidates(fills, 2) == []
    assert candidates(fills, 20) == [1]


def test_steps_are_filled_up_but_not_made_longer() -> None:
    tokens = EarlyTokens(free=16, alone=128)
    assert [tokens.beside(count) for count in (0, 1, 15, 16, 300)] == [128, 15, 1, 0, 0]


def test_how_far_a_use_is_away() -> None:
    run = Progress(None, 0)
    assert [run.before((use,)) for use in (0, 1, 4)] == [1, 2, 5]
    run.step = 2
    assert [run.before(uses) for uses in ((0,), (2,), (0, 5), (4, 9))] == [0, 0, 3, 2]
    element = Progress(run, 6)
    assert [element.before((use,)) for use in (0, 2)] == [4, 6]
    run.step = 6
    assert element.before((2,)) == 3
    element.step = 1
    assert element.before((2,)) == 1


@pytest.fixture
def make() -> Iterator[Callable[..., StepEngine]]:
    engines: list[StepEngine] = []

    def make_engine(**options: object) -> StepEngine:
        engine = reference_engine(**{"trace": True, **options})  # type: ignore[arg-type]
        engines.append(engine)
        return engine

    yield make_engine
    for engine in engines:
        engine.close()
        engine.check_integrity()


def generate(engine: StepEngine, context: int, parent: int, options: SamplingOptions = FIXED) -> Callable[[], None]:
    """Starts a generate; the result waits for it."""
    ended, errors = threading.Event(), []

    def finish(_: Generation) -> None:
        ended.set()

    def fail(error: EngineError) -> None:
        errors.append(error)
        ended.set()

    engine.generate(options, context, parent, Callbacks(finish, fail))

    def wait() -> None:
        assert ended.wait(30) and not errors

    return wait


def fills_of(events: list[EngineEvent]) -> dict[object, EngineEvent]:
    return {event.arguments["context"]: event for event in events if event.kind == "fill"}


def test_the_sooner_used_of_two_heads_is_resident_first(make: Callable[..., StepEngine]) -> None:
    engine = make(speculative_fills=True, prefix_cache=False)
    with engine.hold():
        engine.fill([700] * 60, 1, ROOT, hint=FillHint(9, used_in(4)))
        engine.fill([701] * 60, 2, ROOT, hint=FillHint(9, used_in(1)))
        wait = generate(engine, 3, ROOT, SamplingOptions(40, ignore_eos=True))
    wait()
    for context, head in ((4, 2), (5, 1)):
        generate(engine, context, head)()
    made = fills_of(engine.drain_events())
    assert made[2].end < made[1].end
    assert engine.stats().early_tokens == 2 * 59
    assert engine.stats().filled_tokens == 2 * 60


def test_early_tokens_fill_a_step_up(make: Callable[..., StepEngine]) -> None:
    engine = make(speculative_fills=True, prefix_cache=False)
    with engine.hold():
        engine.fill([700] * 100, 1, ROOT, hint=FillHint(9, used_in(1)))
        wait = generate(engine, 3, ROOT, SamplingOptions(4, ignore_eos=True))
    wait()
    steps = [event for event in engine.drain_events() if event.kind == "step" and event.arguments["decode_rows"]]
    assert [step.arguments["tokens"] for step in steps[:4]] == [1, 16, 16, 16]  # BOS comes first


def test_a_fill_that_is_not_to_be_early_waits_for_its_call(make: Callable[..., StepEngine]) -> None:
    engine = make(speculative_fills=True, prefix_cache=False)
    engine.fill([700] * 50, 1, ROOT, hint=FillHint(0, used_in(1)))
    generate(engine, 2, ROOT)()
    assert engine.stats().early_tokens == 0


@pytest.mark.parametrize("latest", [1, 2])
def test_what_is_used_latest_is_dropped_first(make: Callable[..., StepEngine], latest: int) -> None:
    """Two heads are resident and held; a call needs the room of one: the one that is used latest goes."""
    engine = make(kv_slots=64, page_size=4, prefix_cache=False)
    for head in (1, 2):
        engine.fill([700 + head] * 20, head, ROOT, hint=FillHint(0, used_in(9 if head == latest else 1)))
        generate(engine, 10 + head, head, SamplingOptions(1, ignore_eos=True))()
        engine.free_context(10 + head)
    generate(engine, 20, ROOT, SamplingOptions(32, ignore_eos=True))()
    engine.free_context(20)
    before = engine.stats()
    assert before.preemptions > 0
    generate(engine, 31, 3 - latest, SamplingOptions(1, ignore_eos=True))()
    kept = engine.stats().refilled_tokens - before.refilled_tokens
    generate(engine, 32, latest, SamplingOptions(1, ignore_eos=True))()
    dropped = engine.stats().refilled_tokens - before.refilled_tokens - kept
    assert kept <= 1 < dropped


def test_early_fills_take_the_room_of_cached_tokens_but_not_of_held_ones(make: Callable[..., StepEngine]) -> None:
    engine = make(kv_slots=64, page_size=4, speculative_fills=True, prefix_cache=True)
    engine.fill([700] * 40, 1, ROOT, hint=FillHint(0))
    generate(engine, 2, 1)()
    engine.free_context(2)
    engine.free_context(1)
    engine.fill([701] * 40, 3, ROOT, hint=FillHint(1, used_in(1)))
    wait_for(lambda: engine.stats().early_tokens == 39)
    assert engine.stats().evicted_tokens > 0 and engine.stats().preemptions == 0
    engine.fill([702] * 40, 4, ROOT, hint=FillHint(1, used_in(1)))
    generate(engine, 5, ROOT, SamplingOptions(8, ignore_eos=True))()
    assert engine.stats().preemptions == 0


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")
