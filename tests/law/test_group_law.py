"""The law for engines: over how many of them a program runs changes nothing that a user can observe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from observing import KV_SLOTS, Observation, apply, compile_source, observe, simulated_engines, target
from random_programs import programs
from semlang.backend.engine_group import EngineGroup
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.ir.core import Module
from semlang.passes.cost_model import REFERENCE
from semlang.passes.manager import parse_pipeline, run_pipeline
from semlang.passes.pipelines import pipeline

EXAMPLES = int(os.environ.get("SEMC_LAW_EXAMPLES", "25"))
LAW = settings(max_examples=EXAMPLES, deadline=None, derandomize="SEMC_LAW_EXAMPLES" not in os.environ,
               suppress_health_check=list(HealthCheck), print_blob=True)


def observe_group(module: Module, engines: Sequence[StepEngine], *, prefix_cache: bool) -> Observation:
    """What a run on a group of fresh engines shows; nothing may be left on any engine."""
    group = EngineGroup(engines, costs=REFERENCE, prefix_cache=prefix_cache)
    seen = observe(module, lambda: cast(StepEngine, group))
    assert group.live_contexts == 0
    for member in group._members:
        assert member.running == 0
        if member.alive:
            assert isinstance(member.engine, StepEngine) and member.engine._tree.live_tokens == 0
    return seen


def fresh(count: int, *, prefix_cache: bool, early: bool = False) -> list[StepEngine]:
    """So many reference engines."""
    return [reference_engine(name=f"reference {number}", prefix_cache=prefix_cache, speculative_fills=early,
                             kv_slots=KV_SLOTS) for number in range(count)]


def _fail_after(engine: StepEngine, steps: int) -> None:
    runner, left = engine._runner, iter(range(steps))

    def run(batch: object) -> object:
        if next(left, None) is None:
            raise RuntimeError("the device is lost")
        return type(runner).run(runner, batch)  # type: ignore[arg-type]

    runner.run = run  # type: ignore[method-assign, assignment]


def placed(module: Module, count: int) -> Module:
    """A copy of an engine-level module with groups that were placed on so many engines."""
    copy = apply(module, parse_pipeline(f"place{{engines={count}}}"))
    again = apply(copy, parse_pipeline(f"place{{engines={count}}}"))
    for one in (copy, again):
        run_pipeline(one, parse_pipeline("cse,dce,licm,prune-barriers"), target())
    return copy


@pytest.mark.parametrize("count", [2, 3])
@LAW
@given(source=programs(), level=st.sampled_from([0, 2]), prefix_cache=st.booleans(), early=st.booleans())
def test_several_engines_agree_with_one(count: int, source: str, level: int, prefix_cache: bool, early: bool) -> None:
    note(source)
    module = apply(compile_source(source), pipeline(level))
    plain = observe(module)
    agree(plain, observe_group(module, fresh(count, prefix_cache=prefix_cache), prefix_cache=prefix_cache))
    if level:
        module = placed(module, count)
        engines = fresh(count, prefix_cache=prefix_cache, early=early)
        agree(plain, observe_group(module, engines, prefix_cache=prefix_cache))
        simulated = simulated_engines(count, prefix_cache=prefix_cache, early=early)
        agree(plain, observe_group(module, simulated, prefix_cache=prefix_cache))


@LAW
@given(source=programs(), fails_after=st.integers(0, 9))
def test_a_failing_engine_is_not_noticed(source: str, fails_after: int) -> None:
    note(source)
    module = apply(compile_source(source), pipeline(2))
    engines = fresh(2, prefix_cache=True)
    _fail_after(engines[0], fails_after)
    agree(observe(module), observe_group(module, engines, prefix_cache=True))


def agree(plain: Observation, seen: Observation) -> None:
    """Everything but the computed tokens is equal: engines may each have computed what they share."""
    assert seen.outputs == plain.outputs
    assert seen.errors == plain.errors
    assert seen.effects == plain.effects
    assert seen.calls == plain.calls
