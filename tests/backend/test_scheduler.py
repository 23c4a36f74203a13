"""What a step takes in: batches of groups, what urgent calls leave for others, and that it is never empty in vain."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from semlang.backend.engine import ROOT, Callbacks, EngineEvent, Priority, SamplingOptions
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.passes.cost_model import CostModel
from semlang.passes.step_latency import LEAST_PROMPT_TOKENS, STEP_SECONDS, prompt_tokens_in, rows_within, spare_seconds

TOKENS = 6
SLOW = CostModel(step=0.0, batch=0.0, prefill_token=0.001, decode_row=0.01, kv_token=0.0, attention=0.0)
"""Beside one urgent row, a step has 0.11 s to spare: 110 prompt tokens, or eleven rows."""


@pytest.fixture
def engines() -> Iterator[list[StepEngine]]:
    made: list[StepEngine] = []
    yield made
    for engine in made:
        engine.check_integrity()
        engine.close()


def steps(engine: StepEngine, calls: list[tuple[int, Priority]], tokens: int = TOKENS) -> list[EngineEvent]:
    """Run calls that come together, each given by the tokens of its prompt; the events of the engine."""
    ended = threading.Semaphore(0)
    failures: list[Any] = []

    def fail(error: Exception) -> None:
        failures.append(error)
        ended.release()

    with engine.hold():
        for number, (prompt, priority) in enumerate(calls, 1):
            engine.fill([300 + number] + [7] * (prompt - 1), 100 + number, ROOT)
            engine.generate(SamplingOptions(tokens, ignore_eos=True), number, 100 + number,
                            Callbacks(lambda _: ended.release(), fail), priority=priority, label=str(number))
    for _ in calls:
        assert ended.acquire(timeout=30)
    assert not failures
    return engine.drain_events()


def sizes(events: list[EngineEvent], name: str) -> list[int]:
    found = [event.arguments[name] for event in events if event.kind == "step"]
    return [size for size in found if isinstance(size, int)]


def waited(events: list[EngineEvent]) -> dict[str, Any]:
    return {event.name: event.arguments["waited_steps"] for event in events if event.kind == "generate"}


def made(engines: list[StepEngine], **options: Any) -> StepEngine:
    """An engine that has computed the token with which all contexts begin."""
    engine = reference_engine(trace=True, prefix_cache=False, **options)
    engines.append(engine)
    done = threading.Event()
    engine.generate(SamplingOptions(1), 99, ROOT, Callbacks(lambda _: done.set(), lambda _: done.set()))
    assert done.wait(30)
    engine.drain_events()
    return engine


def test_no_more_calls_of_a_group_run_than_its_batch(engines: list[StepEngine]) -> None:
    engine = made(engines)
    events = steps(engine, [(4, Priority("a", batch=2))] * 5 + [(4, Priority("b"))] * 2)
    assert max(sizes(events, "rows")) == 4
    assert sizes(events, "rows")[:TOKENS] == [4] * TOKENS, "the other group does not wait"
    reasons = waited(events)
    assert reasons["1"] == reasons["6"] == {} and set(reasons["3"]) == {"its group has its batch"}
    assert sizes(events, "rows")[-1] == 1 and all(sizes(events, "rows"))


def test_a_batch_of_one_runs_calls_one_by_one(engines: list[StepEngine]) -> None:
    events = steps(made(engines), [(4, Priority("a", batch=1))] * 4)
    assert sizes(events, "rows") == [1] * (4 * TOKENS)


def test_calls_behind_a_full_group_are_reached(engines: list[StepEngine]) -> None:
    """However many calls of the group wait before them."""
    engine = made(engines, max_batch=2)
    events = steps(engine, [(2, Priority("a", batch=1))] * 12 + [(2, Priority("b"))])
    assert sizes(events, "rows")[:TOKENS] == [2] * TOKENS


def test_prompts_of_others_are_cut_while_urgent_calls_decode(engines: list[StepEngine]) -> None:
    engine = made(engines)
    engine.costs = SLOW
    events = steps(engine, [(4, Priority(objective="latency")), (600, Priority())], tokens=8)
    prompt_tokens = sizes(events, "prefill_tokens")
    assert prompt_tokens[0] == 604, "nothing is decoding yet"
    engine = made(engines, max_step_tokens=200)
    engine.costs = SLOW
    events = steps(engine, [(4, Priority(objective="latency")), (1600, Priority())], tokens=8)
    assert sizes(events, "prefill_tokens")[:8] == [200, *[110] * 7]
    assert sizes(events, "decode_rows")[:8] == [0, *[1] * 7]
    assert max(sizes(events, "prefill_tokens")[8:]) == 200, "as soon as the urgent call has ended"
    engine = made(engines, max_step_tokens=200)
    engine.costs = SLOW
    events = steps(engine, [(4, Priority(objective="latency"))] * 6 + [(600, Priority())], tokens=8)
    assert sizes(events, "prefill_tokens")[1] == 60, "the more calls a step delays, the less is added to it"


def test_slack_and_equal_urgency_leave_prompts_alone(engines: list[StepEngine]) -> None:
    for first, second in [(Priority(objective="latency", slack=9.0), Priority()), (Priority(), Priority()),
                          (Priority(objective="latency"), Priority(objective="ttft"))]:
        engine = made(engines, max_step_tokens=100)
        engine.costs = SLOW
        assert max(sizes(steps(engine, [(4, first), (400, second)])[2:], "prefill_tokens")) >= 99


def test_rows_of_others_are_limited_too_but_go_on(engines: list[StepEngine]) -> None:
    engine = made(engines)
    engine.costs = SLOW
    events = steps(engine, [(4, Priority(objective="latency"))] + [(4, Priority())] * 19)
    assert sizes(events, "rows")[1:TOKENS] == [1 + rows_within(SLOW, 4)] * (TOKENS - 1)
    assert "urgent calls are decoding" in waited(events)["20"]
    slower = CostModel(step=9.0)
    engine = made(engines)
    engine.costs = slower
    assert min(sizes(steps(engine, [(4, Priority(objective="latency")), (4, Priority())]), "rows")[:TOKENS]) == 2


def test_a_step_says_why_calls_wait(engines: list[StepEngine]) -> None:
    events = steps(made(engines, max_batch=2), [(4, Priority())] * 5)
    first = next(event for event in events if event.kind == "step")
    assert first.arguments["waiting"] == {"the step is full": 3}
    events = steps(made(engines, max_step_tokens=6), [(4, Priority())] * 3)
    first = next(event for event in events if event.kind == "step")
    assert first.arguments["waiting"] == {"the step is full": 1}


def test_what_others_may_add() -> None:
    alone = SLOW.step_seconds(0, 1, 0)
    assert spare_seconds(SLOW, 1, 0) == pytest.approx(11 * alone)
    assert spare_seconds(SLOW, 4, 0) == pytest.approx(2 * SLOW.step_seconds(0, 4, 0))
    assert spare_seconds(SLOW, 40, 0) == pytest.approx(SLOW.step_seconds(0, 40, 0))
    fast = CostModel(step=1e-3, decode_row=0.0)
    assert spare_seconds(fast, 1, 0) == pytest.approx(STEP_SECONDS - fast.step_seconds(0, 1, 0))
    assert prompt_tokens_in(SLOW, 0.04, 0) == 40 and prompt_tokens_in(SLOW, 0.001, 0) == LEAST_PROMPT_TOKENS
    assert rows_within(SLOW, 0) == 11 and rows_within(CostModel(step=0, decode_row=1.0), 0, urgent_rows=12) == 12
    free = CostModel(0, 0, 0, 0, 0, 0, 0)
    assert rows_within(free, 5) > 10**6 < prompt_tokens_in(free, 0.01, 0)
