"""The law: no pass, at no level and in no order, changes what a user can observe of any program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from observing import Observation, apply, compile_source, observe
from random_programs import programs
from semlang.backend import handover
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.ir.core import Module, walk
from semlang.passes.manager import Pass, parse_pipeline
from semlang.passes.pipelines import pipeline

NIGHTLY = "SEMC_LAW_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("SEMC_LAW_EXAMPLES", "120"))
# Shrinking a whole program takes minutes: only the nightly run, which also draws new programs each time, does it.
LAW = settings(max_examples=EXAMPLES, deadline=None, derandomize=not NIGHTLY, suppress_health_check=list(HealthCheck),
               print_blob=True, phases=[Phase.reuse, Phase.generate, *([Phase.shrink] if NIGHTLY else [])])

OPTIONAL = ["fold", "cse", "dce", "licm", "prune-barriers", "hoist-prefixes{min-tokens=1}",
            "hoist-prefixes{speculate=true}", "propagate-objectives"]
"""Passes that take a module between `inline` and `lower-engine`; `tokenize` and `bound-lengths` go there as well."""
LATE = ["propagate-objectives", "fuse-task-groups", "fuse-task-groups{min-prefix=1}", "size-batches", "plan-prefill",
        "place", "cse", "dce", "licm", "prune-barriers", "bound-lengths"]
"""Passes that take a module of level engine."""


def lowered(*between: str, late: Sequence[str] = ()) -> list[Pass]:
    """A pipeline with `between` after inlining, `late` after lowering, and what must run before and after them."""
    tokenize = () if "tokenize" in between else ("tokenize",)
    names = ["inline", *between, *tokenize, "dce", "lower-engine", *late, "free-contexts"]
    return parse_pipeline(",".join(names))


def agree(module: Module, plain: Observation, passes: list[Pass], *, monotone: bool = True) -> None:
    """Check one pipeline against the run at -O0."""
    changed = apply(module, passes)
    seen = observe(changed)
    where = ", ".join(one.name for one in passes)
    assert seen.outputs == plain.outputs, where
    assert seen.errors == plain.errors, where
    assert seen.effects == plain.effects, where
    assert seen.calls <= plain.calls, where
    if monotone:
        assert seen.filled_tokens <= plain.filled_tokens, where


@LAW
@given(programs())
def test_levels_agree(source: str) -> None:
    note(source)
    module = compile_source(source)
    plain = observe(apply(module, pipeline(0)))
    for level in (1, 2):
        agree(module, plain, pipeline(level))


@LAW
@given(programs(), st.sampled_from(LATE))
def test_each_pass_alone_agrees(source: str, late: str) -> None:
    note(source)
    module = compile_source(source)
    plain = observe(apply(module, pipeline(0)))
    for name in [*OPTIONAL, "bound-lengths"]:
        agree(module, plain, lowered(name))
    agree(module, plain, lowered(late=["propagate-objectives", late]))


@LAW
@given(programs(), st.lists(st.sampled_from([*OPTIONAL, "tokenize", "bound-lengths"]), min_size=2, max_size=7),
       st.lists(st.sampled_from(LATE), max_size=5))
def test_any_order_agrees(source: str, order: list[str], late: list[str]) -> None:
    note(source)
    if "tokenize" in order:
        first = order.index("tokenize")
        order = [name for at, name in enumerate(order) if name != "tokenize" or at == first]
    module = compile_source(source)
    plain = observe(apply(module, pipeline(0)))
    agree(module, plain, lowered(*order, late=late))


CONDITIONS: dict[str, Callable[[], StepEngine]] = {
    "prefix cache": lambda: reference_engine(prefix_cache=True),
    "one call at a time": lambda: reference_engine(prefix_cache=False, max_batch=1),
    "short chunks": lambda: reference_engine(prefix_cache=False, max_step_tokens=3),
    "pages of one token": lambda: reference_engine(prefix_cache=True, page_size=1),
    "little KV": lambda: reference_engine(prefix_cache=True, kv_slots=512, page_size=4),
}


@LAW
@given(programs())
def test_engine_conditions_do_not_matter(source: str) -> None:
    """A prefix cache, a small batch, short chunks and a KV limit that forces eviction change no token."""
    note(source)
    module = apply(compile_source(source), pipeline(2))
    plain = observe(module)
    for name, make_engine in CONDITIONS.items():
        seen = observe(module, make_engine)
        assert seen.outputs == plain.outputs, name
        assert seen.errors == plain.errors, name
        assert seen.effects == plain.effects, name
        assert seen.calls == plain.calls, name


EARLY: dict[str, Callable[[], StepEngine]] = {
    "idle time": lambda: reference_engine(prefix_cache=True, speculative_fills=True),
    "no prefix cache": lambda: reference_engine(prefix_cache=False, speculative_fills=True, max_step_tokens=7),
    "little KV": lambda: reference_engine(prefix_cache=True, speculative_fills=True, kv_slots=512, page_size=4),
    "little KV, no cache": lambda: reference_engine(prefix_cache=False, speculative_fills=True, kv_slots=512),
    "not early": lambda: reference_engine(prefix_cache=False),
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
            assert seen.outputs == plain.outputs, name
            assert seen.errors == plain.errors, name
            assert seen.effects == plain.effects, name
            assert seen.calls == plain.calls, name
            if name == "not early":
                assert seen.filled_tokens == plain.filled_tokens, name


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
        seen = observe(grouped, CONDITIONS[name])
        assert (seen.outputs, seen.errors, seen.effects, seen.calls) == (
            plain.outputs, plain.errors, plain.effects, plain.calls), name
