"""Passes in any order change nothing that can be observed of random modules at level `prompt`."""

from __future__ import annotations

import os
import random
import sys
import types

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from random_modules import Maker
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.executor import run_module
from semlang.backend.reference import reference_engine
from semlang.backend.results import RunResult
from semlang.ir.core import Module, clone_module, walk
from semlang.ir.printer import print_module
from semlang.ir.target import ModelTarget, Target
from semlang.ir.verifier import verify
from semlang.passes.intervals import Interval
from semlang.passes.lengths import Lengths
from semlang.passes.manager import PipelineOptions, run_pipeline
from semlang.passes.pipelines import pipeline
from semlang.passes.registry import pass_class

EXAMPLES = int(os.environ.get("SEMC_LAW_EXAMPLES", "60"))
LAW = settings(max_examples=EXAMPLES, deadline=None, derandomize="SEMC_LAW_EXAMPLES" not in os.environ,
               suppress_health_check=list(HealthCheck))
HOSTS = '''
log = []


def refuse(x):
    if len(x) % 3 == 1:
        raise ValueError(f"refused {len(x)} characters")
    return x[::-1]


def note(x):
    log.append(x)
    if len(x) % 4 == 3:
        raise ValueError("no more notes")
    return x[:5] + "."
'''
OPTIONAL = ["fold", "cse", "dce", "licm", "prune-barriers", "hoist-prefixes", "bound-lengths", "propagate-objectives"]
LATE = ["cse", "dce", "licm", "prune-barriers", "bound-lengths", "propagate-objectives", "fuse-task-groups",
        "size-batches"]


def target() -> Target:
    return Target({"": ModelTarget(embedded_tokenizer(), 100_000)}, "reference")


def run(module: Module) -> RunResult:
    """Run a module at level `engine` on the reference engine."""
    hosts = sys.modules.setdefault("module_hosts", types.ModuleType("module_hosts"))
    exec(HOSTS, hosts.__dict__)
    engine = reference_engine(prefix_cache=False)
    try:
        result = run_module(module, {"": engine}, {"a": "pong", "b": "some é text", "xs": ["one", "two 2"], "n": 2},
                            seed=5, record_calls=True, timeout=60)
        engine.check_integrity()
    finally:
        engine.close()
    return result


def observe(module: Module) -> tuple[object, object, tuple[str, ...], frozenset[object]]:
    """Outputs, error messages, effects in order, and the calls with their tokens."""
    result = run(module)
    calls = frozenset((call.prompt_ids, call.output_ids) for call in result.calls)
    effects = tuple(sys.modules["module_hosts"].log)
    return result.outputs, {n: e.message for n, e in result.errors.items()}, effects, calls


def lowered(names: list[str]) -> list[str]:
    """A whole pipeline with `names` between inlining and lowering."""
    return ["inline", *names, *([] if "tokenize" in names else ["tokenize"]), "dce", "lower-engine", "free-contexts"]


def apply(module: Module, names: list[str]) -> Module:
    copy = clone_module(module)
    run_pipeline(copy, [pass_class(n)() for n in names], target(), PipelineOptions(verify_each=True))
    return copy


@LAW
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from([*OPTIONAL, "tokenize"]), max_size=6, unique=True),
       st.lists(st.sampled_from(LATE), max_size=3))
def test_any_order_agrees(source: random.Random, order: list[str], late: list[str]) -> None:
    module = Maker(source).module()
    note(print_module(module))
    verify(module)
    plain = observe(apply(module, lowered([])))
    for names in ([p.name for p in pipeline(2)], [*lowered(order), *late]):
        outputs, errors, effects, calls = observe(apply(module, names))
        assert (outputs, errors, effects) == plain[:3], names
        assert calls <= plain[3], names


@LAW
@given(st.randoms(use_true_random=False),
       st.sampled_from(["inline", "tokenize", "dce", "cse", "hoist-prefixes", "bound-lengths"]))
def test_a_second_time_changes_nothing(source: random.Random, name: str) -> None:
    once = apply(Maker(source).module(), ["inline", name])
    assert print_module(apply(once, [name])) == print_module(once)


@LAW
@given(st.randoms(use_true_random=False))
def test_bounds_hold_of_calls(source: random.Random) -> None:
    """Every prompt and output of a run is within the bounds that are known before it."""
    module = apply(Maker(source).module(), ["inline", "tokenize", "dce"])
    lengths = Lengths(module, target())
    bounds = {str(op.location): (lengths.context(op.operands[0]).tokens, lengths.output(op))
              for op in walk(module.ops) if op.name == "prompt.generate"}
    bos = int(embedded_tokenizer().bos_id is not None)
    for call in run(apply(module, ["lower-engine", "free-contexts"])).calls:
        prompt, output = bounds[call.site]
        assert prompt.contains(Interval.exactly(len(call.prompt_ids) + bos)), call.site
        assert output.kept.contains(Interval.exactly(len(call.context_ids))), call.site
        assert output.decoded.high is None or len(call.output_ids) <= output.decoded.high, call.site
