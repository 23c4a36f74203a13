"""The law: no pass, at no level and in no order, changes what a user can observe of any program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from observing import KV_SLOTS, Observation, Program, apply, compile_source, observe, plain_engine, simulated_engines
from random_programs import programs
from semlang.backend import handover
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.ir.core import walk
from semlang.passes.manager import Pass, parse_pipeline, pass_text
from semlang.passes.pipelines import pipeline

NIGHTLY = "SEMC_LAW_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("SEMC_LAW_EXAMPLES", "30"))
# Shrinking a whole program takes minutes: only the nightly run, which also draws new programs each time, does it.
LAW = settings(max_examples=EXAMPLES, deadline=None, derandomize=not NIGHTLY, suppress_health_check=list(HealthCheck),
               print_blob=True, phases=[Phase.reuse, Phase.generate, *([Phase.shrink] if NIGHTLY else [])])

OPTIONAL = ["fold", "cse", "dce", "licm", "prune-barriers", "hoist-prefixes", "hoist-prefixes{min-tokens=1}",
            "hoist-prefixes{speculate=true}", "propagate-objectives", "bound-lengths"]
"""Passes that take a module between `inline` and `lower-engine`; `tokenize` goes there as well."""
LATE = ["propagate-objectives", "fuse-task-groups", "fuse-task-groups{min-prefix=1}", "size-batches", "plan-prefill",
        "plan-prefill{min-tokens=0,stream-tokens=1}", "place", "place{engines=3}", "cse", "dce", "licm",
        "prune-barriers", "bound-lengths"]
"""Passes that take a module of level engine."""
GROUPED = ["propagate-objectives", "fuse-task-groups"]
"""What some of these need in order to do anything."""


def lowered(*between: str, late: Sequence[str] = ()) -> list[Pass]:
    """A pipeline with `between` after inlining, `late` after lowering, and what must run before and after them."""
    tokenize = () if "tokenize" in between else ("tokenize",)
    names = ["inline", *between, *tokenize, "dce", "lower-engine", *late, "free-contexts"]
    return parse_pipeline(",".join(names))


def agree(program: Program, passes: list[Pass]) -> None:
    """Check one pipeline against the run at -O0."""
    seen, plain = program.after(passes), program.plain
    where = ", ".join(map(pass_text, passes))
    assert seen.outputs == plain.outputs, where
    assert seen.errors == plain.errors, where
    assert seen.effects == plain.effects, where
    assert seen.calls <= plain.calls, where
    assert seen.filled_tokens <= plain.filled_tokens, where


def same(seen: Observation, plain: Observation, where: str) -> None:
    """Everything but the computed tokens is equal: an engine with a cache or with others beside it has its own."""
    assert seen.outputs == plain.outputs, where
    assert seen.errors == plain.errors, where
    assert seen.effects == plain.effects, where
    assert seen.calls == plain.calls, where


@LAW
@given(programs())
def test_levels_agree(source: str) -> None:
    note(source)
    program = Program(source)
    for level in (1, 2):
        agree(program, pipeline(level))
        program.at_once(pipeline(level))


@LAW
@given(programs())
def test_each_pass_alone_agrees(source: str) -> None:
    note(source)
    program = Program(source)
    for name in OPTIONAL:
        agree(program, lowered(name))
    for name in LATE:
        agree(program, lowered(late=[name]))
        agree(program, lowered(late=[*GROUPED, name]))


@LAW
@given(programs(), st.lists(st.sampled_from([*OPTIONAL, "tokenize"]), min_size=2, max_size=7),
       st.lists(st.sampled_from(LATE), max_size=5), st.lists(st.sampled_from(LATE), max_size=5))
def test_any_order_agrees(source: str, order: list[str], first: list[str], second: list[str]) -> None:
    note(source)
    if "tokenize" in order:
        at = order.index("tokenize")
        order = [name for number, name in enumerate(order) if name != "tokenize" or number == at]
    program = Program(source)
    for late in (first, second):
        agree(program, lowered(*order, late=late))
        program.at_once(lowered(*order, late=late))


def engine(**options: Any) -> Callable[[], StepEngine]:
    """Makes reference engines with these options and enough memory, unless they say otherwise."""
    return lambda: reference_engine(**{"kv_slots": KV_SLOTS, **options})


CONDITIONS: dict[str, Callable[[], StepEngine]] = {
    "prefix cache": engine(prefix_cache=True),
    "one call at a time": engine(prefix_cache=False, max_batch=1),
    "short chunks": engine(prefix_cache=False, max_step_tokens=3),
    "pages of one token": engine(prefix_cache=True, page_size=1),
    "little KV": engine(prefix_cache=True, kv_slots=512, page_size=4),
}


@LAW
@given(programs())
def test_engine_conditions_do_not_matter(source: str) -> None:
    """A prefix cache, a small batch, short chunks and a KV limit that forces eviction change no token."""
    note(source)
    module = apply(compile_source(source), pipeline(2))
    plain = observe(module)
    for name, make_engine in CONDITIONS.items():
        same(observe(module, make_engine), plain, name)


EARLY: dict[str, Callable[[], StepEngine]] = {
    "idle time": engine(prefix_cache=True, speculative_fills=True),
    "no prefix cache": engine(prefix_cache=False, speculative_fills=True, max_step_tokens=7),
    "little KV": engine(prefix_cache=True, speculative_fills=True, kv_slots=512, page_size=4),
    "little KV, no cache": engine(prefix_cache=False, speculative_fills=True, kv_slots=512),
    "not early": plain_engine,
}


@LAW
@given(programs())
def test_early_prefill_does_not_matter(source: str) -> None:
    """Prompts that are filled early, and token by token while their producers run, are the prompts that they were."""
    note(source)
    module = apply(compile_source(source), pipeline(0))
    plain = observe(module)
    planned = apply(module, parse_pipeline("plan-prefill{min-tokens=0,stream-tokens=1}"))
    with patch.object(handover, "CHUNK_TOKENS", 1), patch.object(handover, "UNSTABLE_TOKENS", 0):
        for name, make_engine in EARLY.items():
            seen = observe(planned, make_engine)
            same(seen, plain, name)
            if name == "not early":
                assert seen.filled_tokens == plain.filled_tokens


@LAW
@given(programs(), st.integers(1, 3))
def test_batches_do_not_matter(source: str, batch: int) -> None:
    """Objectives, groups and batches of any size, in memory that is short, change when calls run and nothing else."""
    note(source)
    module = compile_source(source)
    plain = observe(apply(module, pipeline(0)))
    grouped = apply(module, parse_pipeline("inline,tokenize,dce,lower-engine,propagate-objectives,fuse-task-groups,"
                                           "size-batches,free-contexts"))
    for op in walk(grouped.ops):
        if op.name == "engine.group":
            op.attributes["batch"] = batch
    for name in ("short chunks", "little KV"):
        same(observe(grouped, CONDITIONS[name]), plain, name)


@LAW
@given(programs(), st.sampled_from([0, 2]), st.booleans(), st.booleans())
def test_simulated_time_does_not_matter(source: str, level: int, prefix_cache: bool, early: bool) -> None:
    """An engine whose steps take virtual time gives what the reference engine gives."""
    note(source)
    module = apply(compile_source(source), pipeline(level))
    (simulated,) = simulated_engines(1, prefix_cache=prefix_cache, early=early)
    same(observe(module, lambda: simulated), observe(module), "simulate")
