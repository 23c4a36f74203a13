"""Batches of groups: the makespan against a simulator that goes step by step, the choice against all others."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.passes.batch_size import (
    FEW,
    GroupShape,
    Limits,
    budgets,
    candidates,
    choose_batch,
    makespan,
    most_rows,
    most_step_tokens,
    shared_costs,
)
from semlang.passes.cost_model import CostModel
from semlang.passes.step_latency import spare_seconds

UNITS = CostModel(step=8.0, batch=4.0, prefill_token=0.25, decode_row=0.5, kv_token=1 / 64, attention=1 / 256, call=1.0,
                  max_batch=8, max_step_tokens=32)


@dataclass
class Call:
    """A call in the tests' own simulator."""

    left: int
    held: int = 0
    tokens: int = 0


def stepwise(shape: GroupShape, batch: int, budget: int, costs: CostModel) -> float:
    """The makespan, one step after another, and one call after another in each."""
    prompt = max(1, shape.prompt)
    waiting = [Call(prompt) for _ in range(shape.calls)]
    active: list[Call] = []
    seconds = costs.call * shape.calls
    while waiting or active:
        while waiting and len(active) < batch:
            active.append(waiting.pop())
        rows = [call for call in active if not call.left]
        computed, read, attended = 0, 0, 0.0
        room = max(1, budget - len(rows))
        for call in active:
            if call in rows:
                call.held += 1
                read += call.held
                call.tokens += 1
        for call in [call for call in active if call.left and call not in rows]:
            chunk = min(call.left, room)
            attended += sum(shape.shared + prompt - call.left + i + 1 for i in range(chunk))
            room, computed, call.left, call.held = room - chunk, computed + chunk, call.left - chunk, call.held + chunk
            call.tokens += not call.left
        seconds += costs.step_seconds(computed, len(rows), read + shape.shared * bool(rows), attended)
        active = [call for call in active if call.tokens < shape.output]
    return seconds


shapes = st.builds(GroupShape, st.integers(1, 9), st.integers(0, 40), st.integers(0, 50), st.integers(1, 12))
costs_ = st.builds(CostModel, *[st.sampled_from([0.0, 0.01, 0.5, 4.0])] * 7, st.integers(1, 9), st.integers(16, 40))


@given(shapes, costs_, st.data())
def test_the_makespan_is_that_of_single_steps(shape: GroupShape, costs: CostModel, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, shape.calls))
    budget = data.draw(st.integers(1, costs.max_step_tokens))
    expected = stepwise(shape, batch, budget, shared_costs(costs))
    assert makespan(shape, batch, budget, shared_costs(costs)) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(shapes, costs_, st.sampled_from([None, 64, 128, 400]), st.integers(0, 2))
def test_no_batch_and_no_budget_is_better(shape: GroupShape, costs: CostModel, slots: int | None, urgent: int) -> None:
    limits = Limits(costs, slots, urgent, 10 * urgent)
    chosen = choose_batch(shape, limits)
    every, offered = [], []
    for batch in range(1, most_rows(shape, limits) + 1):
        most = most_step_tokens(shape, limits, batch)
        powers = set(budgets(costs, most))
        for budget in range(1, most + 1):
            every.append(stepwise(shape, batch, budget, shared_costs(costs)))
            if budget in powers:
                offered.append(every[-1])
    assert chosen.seconds == pytest.approx(min(offered))
    assert chosen.seconds <= 1.01 * min(every), "budgets between the powers of two gain next to nothing"


@settings(max_examples=20, deadline=None)
@given(st.builds(GroupShape, st.integers(FEW + 1, 120), st.integers(0, 40), st.integers(0, 50), st.integers(1, 12)),
       costs_, st.integers(64, 600))
def test_large_groups_lose_next_to_nothing(shape: GroupShape, costs: CostModel, slots: int) -> None:
    limits = Limits(costs, slots)
    every = [makespan(shape, batch, costs.max_step_tokens, shared_costs(costs))
             for batch in range(1, most_rows(shape, limits) + 1)]
    assert choose_batch(shape, limits).seconds <= 1.03 * min(every)


def test_as_many_as_fit_run_together() -> None:
    shape = GroupShape(100, 20, 0, 10)
    assert choose_batch(shape, Limits(UNITS)).batch == UNITS.max_batch
    assert choose_batch(GroupShape(5, 20, 0, 10), Limits(UNITS)).batch == 5
    assert most_rows(shape, Limits(UNITS, kv_slots=3 * (32 + 16))) == 3
    assert choose_batch(shape, Limits(UNITS, kv_slots=10)).batch == 1, "one call always runs"


def test_shared_tokens_are_held_once() -> None:
    alone, shared = GroupShape(100, 120, 0, 10), GroupShape(100, 20, 100, 10)
    assert most_rows(shared, Limits(UNITS, 500)) > 2 * most_rows(alone, Limits(UNITS, 500))


def test_calls_beside_leave_room_in_each_step() -> None:
    costs = CostModel(step=0.01, batch=0.0, prefill_token=1e-3, decode_row=5e-3, kv_token=0.0, attention=0.0)
    shape = GroupShape(100, 20, 0, 10)
    free, bound = choose_batch(shape, Limits(costs)), choose_batch(shape, Limits(costs, None, 1))
    assert free.batch == 100 and free.step_tokens == costs.max_step_tokens
    longest = costs.step_seconds(0, 1, 0) + spare_seconds(costs, 1, 0)
    assert 1 < bound.batch <= most_rows(shape, Limits(costs, None, 1)) < 100
    assert costs.step_seconds(0, 1 + bound.batch, 0) <= longest
    assert costs.step_seconds(bound.step_tokens, bound.batch, 0) <= longest, "the urgent row and all but one"


def test_huge_groups_cost_nothing_to_size() -> None:
    shape = GroupShape(1_000_000, 20, 30, 50)
    chosen = choose_batch(shape, Limits(CostModel(), 1 << 20))
    wave = makespan(GroupShape(256, 20, 30, 50), 256, 512, shared_costs(CostModel()))
    assert chosen.batch == 256 and chosen.seconds == pytest.approx(1_000_000 / 256 * wave, rel=0.1)


def test_candidates_hold_the_largest_and_even_waves() -> None:
    assert candidates(GroupShape(5, 1, 1, 1), 3) == [3, 2, 1]
    assert candidates(GroupShape(100, 1, 1, 1), 40)[:3] == [40, 34, 25]
