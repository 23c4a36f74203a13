"""The engine of lengths against the step engine: the same steps, batches, completions and counters."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, EngineStats, Generation, Priority, SamplingOptions
from semlang.backend.reference import reference_runner
from semlang.backend.simulate.engine import SimulatedEngine
from semlang.backend.simulate.length_engine import LengthEngine, LengthRequest
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.passes.cost_model import CostModel

COSTS = CostModel(step=0.01, batch=0.002, prefill_token=1e-4, decode_row=3e-4, kv_token=2e-6, attention=1e-8,
                  call=1e-3, max_batch=6, max_step_tokens=64)
COUNTERS = ("prompt_tokens", "filled_tokens", "refilled_tokens", "generated_tokens", "engine_steps", "peak_kv_tokens",
            "preemptions", "evicted_tokens")


@dataclass(frozen=True)
class Job:
    """A call that comes at `arrival`, or as long after the end of the call `after`."""

    arrival: float
    segments: tuple[tuple[int, int], ...]
    tokens: int
    priority: Priority
    after: int | None = None


@dataclass
class Outcome:
    """Calls in the order in which they ended, with the times; the calls of each step."""

    ended: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    stats: EngineStats = field(default_factory=EngineStats)


def dependents(jobs: list[Job], number: int | None) -> list[int]:
    """The jobs that come after a given one, or after none."""
    return [n for n, job in enumerate(jobs) if job.after == number]


def tokens_of(key: int, length: int) -> list[int]:
    """Tokens of a segment: the first tells it from others."""
    chance = random.Random(key)
    return [300 + key, *(chance.randrange(300, 1700) for _ in range(length - 1))]


def on_step_engine(jobs: list[Job], costs: CostModel, kv_slots: int, share: bool) -> Outcome:
    """Run with real tokens and the step engine."""
    tokenizer, clock, outcome = embedded_tokenizer(), VirtualClock(), Outcome()
    engine = SimulatedEngine(reference_runner(tokenizer, 8192), tokenizer, clock, costs, kv_slots=kv_slots,
                             page_size=1, prefix_cache=share)
    identifiers = iter(range(1, 10**6))

    def start(number: int) -> None:
        job, prompt, output = jobs[number], next(identifiers), next(identifiers)
        engine.fill([t for key, length in job.segments for t in tokens_of(key, length)], prompt, ROOT)
        options = SamplingOptions(job.tokens, ignore_eos=True, temperature=1.0, stream_key=number.to_bytes(4, "big"))
        engine.generate(options, output, prompt, Callbacks(partial(end, number), fail), priority=job.priority)
        engine.free_context(prompt)
        engine.free_context(output)

    def end(number: int, generation: Generation) -> None:
        assert len(generation.sampled_ids) == jobs[number].tokens
        outcome.ended.append(number)
        outcome.times.append(clock.now)
        for other in dependents(jobs, number):
            clock.at(clock.now + jobs[other].arrival, partial(start, other))

    def fail(error: Exception) -> None:
        raise error

    for number in dependents(jobs, None):
        clock.at(jobs[number].arrival, partial(start, number))
    while clock.advance():
        pass
    engine.check_integrity()
    outcome.stats = engine.stats()
    outcome.batches = outcome.stats.batch_sizes
    engine.close()
    return outcome


def on_length_engine(jobs: list[Job], costs: CostModel, kv_slots: int, share: bool, *, leaps: bool) -> Outcome:
    """Run with lengths only."""
    engine, outcome = LengthEngine(0, costs, kv_slots, prefix_cache=share, leaps=leaps), Outcome()
    engine.on_step = lambda steps, calls: outcome.batches.extend([calls] * steps)
    events: list[tuple[float, int, Callable[[], None]]] = []
    counter = iter(range(10**6))
    now = 0.0

    def at(time: float, action: Callable[[], None]) -> None:
        heapq.heappush(events, (time, next(counter), action))

    def start(number: int) -> None:
        job = jobs[number]
        engine.add(LengthRequest(job.segments, 10_000 + number, job.tokens, job.priority, number))
        engine.interrupt(now)

    for number in dependents(jobs, None):
        at(jobs[number].arrival, partial(start, number))
    while True:
        while events and events[0][0] <= now:
            heapq.heappop(events)[2]()
        until = engine.begin(now)
        coming = events[0][0] if events else None
        if until is None and coming is None:
            break
        if until is not None and (coming is None or until <= coming):
            now = until
            for call in engine.end(now):
                ended = call.owner
                assert isinstance(ended, int)
                outcome.ended.append(ended)
                outcome.times.append(now)
                for other in dependents(jobs, ended):
                    at(now + jobs[other].arrival, partial(start, other))
        else:
            assert coming is not None
            now = coming
    outcome.stats = engine.stats
    assert engine.tree.live_tokens == 0
    return outcome


def check_equal(one: Outcome, other: Outcome) -> None:
    """The same steps, in which the same calls ended at the same times, and the same counters."""
    assert one.batches == other.batches
    assert one.ended == other.ended
    assert one.times == pytest.approx(other.times, rel=1e-9)
    assert {n: getattr(one.stats, n) for n in COUNTERS} == {n: getattr(other.stats, n) for n in COUNTERS}


@st.composite
def workloads(draw: st.DrawFn) -> list[Job]:
    """Calls that come together and apart, wait for one another, share prompts, and have various priorities."""
    jobs = []
    for number in range(draw(st.integers(1, 12))):
        shared = draw(st.sampled_from([(), ((1, 40),), ((1, 40), (2, 9)), ((3, 90),)]))
        segments = (*shared, (100 + number, draw(st.integers(1, 80))))
        priority = Priority(
            group=draw(st.sampled_from([None, "a", "b"])), depth=draw(st.integers(0, 2)),
            objective=draw(st.sampled_from(["throughput", "latency"])), application=draw(st.integers(0, 2)),
            batch=draw(st.sampled_from([None, 2])))
        after = draw(st.none() | st.integers(0, number - 1)) if number else None
        arrival = draw(st.sampled_from([0.0, 0.0, 0.013, 0.2, 1.7]))
        jobs.append(Job(arrival, segments, draw(st.integers(1, 40)), priority, after))
    return jobs


@settings(max_examples=60, deadline=None)
@given(workloads(), st.booleans())
def test_steps_are_those_of_the_step_engine(jobs: list[Job], share: bool) -> None:
    check_equal(on_length_engine(jobs, COSTS, 10_000, share, leaps=False), on_step_engine(jobs, COSTS, 10_000, share))


@settings(max_examples=80, deadline=None)
@given(workloads(), st.booleans(), st.sampled_from([240, 400, 10_000]))
def test_leaps_change_nothing(jobs: list[Job], share: bool, kv_slots: int) -> None:
    check_equal(on_length_engine(jobs, COSTS, kv_slots, share, leaps=True),
                on_length_engine(jobs, COSTS, kv_slots, share, leaps=False))
