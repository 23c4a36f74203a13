"""Objectives, depths, slack and task groups of random modules against brute force over every turn and element."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from random_modules import Maker
from semlang.backend.embedded import embedded_tokenizer
from semlang.ir.core import Module, Op, Symbol, Word, clone_module, walk
from semlang.ir.printer import print_module
from semlang.ir.target import ModelTarget, Target
from semlang.ir.types import EFFECT
from semlang.passes.chains import Chains, Itinerary
from semlang.passes.manager import PipelineOptions, run_pipeline
from semlang.passes.objectives import latest_ends
from semlang.passes.planner import Knowledge, Order
from semlang.passes.registry import pass_class
from semlang.passes.turns import serial
from unrolled import Instance, Unrolled, waiting_together

NIGHTLY = "SEMC_LAW_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("SEMC_LAW_EXAMPLES", "40"))
LAW = settings(max_examples=EXAMPLES, deadline=None, derandomize=not NIGHTLY, suppress_health_check=list(HealthCheck),
               phases=[Phase.reuse, Phase.generate, *([Phase.shrink] if NIGHTLY else [])])
OBJECTIVES = st.sampled_from([Word("latency"), Word("throughput"), Word("throughput"), Word("ttft"),
                              Word("deadline", (2.0,)), Word("deadline", (0.5,))])
STRICTNESS = ["throughput", "deadline", "latency", "ttft"]
TARGET = Target({"": ModelTarget(embedded_tokenizer(), 100_000)}, "reference")


def annotated(module: Module, *names: str) -> Op:
    """The program of `module` after passes, which change it."""
    run_pipeline(module, [pass_class(name)() for name in names], TARGET, PipelineOptions(verify_each=True))
    return program_of(module)


def program_of(module: Module) -> Op:
    (program,) = (op for op in module.ops if op.name == "sem.program")
    return program


@st.composite
def modules(draw: st.DrawFn) -> Module:
    """A random module with an objective for each output."""
    module = Maker(draw(st.randoms(use_true_random=False))).module()
    terminator = program_of(module).regions[0].terminator
    names = terminator.attributes["names"]
    assert isinstance(names, tuple)
    terminator.attributes["objective"] = tuple(draw(st.lists(OBJECTIVES, min_size=len(names), max_size=len(names))))
    note(print_module(module))
    return module


def generates(program: Op) -> list[Op]:
    return [op for op in walk([program]) if op.name.endswith(".generate")]


def ends(program: Op) -> list[str]:
    """The kinds of objectives of the outputs; an effect has none."""
    objectives = program.regions[0].terminator.attributes["objective"]
    assert isinstance(objectives, tuple)
    return [o.name for o in objectives if isinstance(o, Word)]


@LAW
@given(modules())
def test_the_strictest_output_that_waits_for_a_call_decides(module: Module) -> None:
    program = annotated(module, "propagate-objectives")
    unrolled = Unrolled(program, turns=4)
    wanted = dict.fromkeys(generates(program), 0)
    for kind, waits in zip(ends(program), unrolled.outputs, strict=False):
        for op in {instance.op for instance in waits} & wanted.keys():
            wanted[op] = max(wanted[op], STRICTNESS.index(kind))
    for op, strictest in wanted.items():
        objective = op.attributes["objective"]
        assert isinstance(objective, Word)
        # What a first token waits for serves latency.
        allowed = {"latency", "ttft"} if STRICTNESS[strictest] == "ttft" else {STRICTNESS[strictest]}
        assert objective.name in allowed, op.location


@LAW
@given(modules())
def test_calls_of_a_group_never_wait_for_one_another(module: Module) -> None:
    program = annotated(module, "inline", "lower-engine", "propagate-objectives", "fuse-task-groups")
    assert not waiting_together(program, serial(Order(program, Knowledge())), turns=3)


def single_turns(program: Op) -> bool:
    """Whether no loop mixes several carried values and no effect goes from element to element."""
    for op in walk([program]):
        if op.name in ("flow.fold", "flow.loop") and len(op.results) > 1:
            return False
        if op.name == "flow.for" and op.results[-1].type == EFFECT:
            return False
    return True


def longest(weight: Mapping[Op, float], waits: Mapping[Instance, Iterable[Instance]]
            ) -> tuple[dict[Instance, float], dict[Instance, float]]:
    """The longest chains before and after each instance; instances stand after what they wait for."""
    before: dict[Instance, float] = {}
    after = dict.fromkeys(waits, 0.0)
    for instance, earlier in waits.items():
        before[instance] = max((before[e] + weight.get(e.op, 0.0) for e in earlier), default=0.0)
    for instance in reversed(list(waits)):
        for e in waits[instance]:
            after[e] = max(after[e], after[instance] + weight.get(instance.op, 0.0))
    return before, after


def by_operation(numbers: Mapping[Instance, float]) -> dict[Op, float]:
    found: dict[Op, float] = {}
    for instance, number in numbers.items():
        found[instance.op] = max(number, found.get(instance.op, 0.0))
    return found


@LAW
@given(modules())
def test_depth_is_the_longest_chain_of_calls_that_follow(module: Module) -> None:
    program = program_of(module)
    order = Order(program, Knowledge())
    weight = dict.fromkeys(generates(program), 1.0)
    chains = Chains(Itinerary(program, order), weight, lambda op: None)
    _, once = longest(weight, Unrolled(program, turns=1).waits)
    for op, depth in by_operation(once).items():
        if op in weight:
            if single_turns(program):
                assert chains.following[op][0] == depth, op.location
            assert chains.following[op][0] >= depth, op.location


@LAW
@given(modules(), st.randoms(use_true_random=False))
def test_slack_is_what_the_longest_chain_leaves(module: Module, source: random.Random) -> None:
    program = program_of(module)
    order = Order(program, Knowledge())
    weight = {op: float(source.randint(0, 20)) for op in walk([program])
              if op.name in ("prompt.append", "prompt.generate")}
    chains = Chains(Itinerary(program, order), weight, lambda op: None)
    waits = Unrolled(program, turns=1).waits
    before, after = longest(weight, waits)
    total = max((before[i] + weight[i.op] + after[i] for i in waits), default=0.0)
    through = by_operation({i: before[i] + weight[i.op] + after[i] for i in waits})
    assert all(chains.slack(op) >= 0 for op in through)
    if single_turns(program):
        assert chains.total == total
        assert {op: chains.slack(op) for op in through} == {op: total - length for op, length in through.items()}


@LAW
@given(modules(), st.randoms(use_true_random=False))
def test_shares_of_a_deadline_leave_time_for_what_follows(module: Module, source: random.Random) -> None:
    program = program_of(module)
    weight = {op: float(source.randint(0, 20)) for op in walk([program])
              if op.name in ("prompt.append", "prompt.generate")}
    found = latest_ends(program, Chains(Itinerary(program, Order(program, Knowledge())), weight, lambda op: None))
    if not single_turns(program):
        return
    unrolled = Unrolled(program, turns=1)
    latest: dict[Op, float] = {}
    objectives = program.regions[0].terminator.attributes["objective"]
    assert isinstance(objectives, tuple)
    for objective, output in zip(objectives, unrolled.outputs, strict=False):
        if isinstance(objective, Word) and objective.name == "deadline":
            (seconds,) = objective.arguments
            assert isinstance(seconds, float)
            inside = {i: w for i, w in unrolled.waits.items() if i in output}
            for op, after in by_operation(longest(weight, inside)[1]).items():
                latest[op] = min(latest.get(op, seconds - after), seconds - after)
    assert {op: found[op] for op in weight if op in found} == latest


@LAW
@given(modules(), st.randoms(use_true_random=False))
def test_the_order_of_the_outputs_means_nothing(module: Module, source: random.Random) -> None:
    names = ("inline", "lower-engine", "propagate-objectives", "fuse-task-groups")
    permuted = clone_module(module)
    terminator = program_of(permuted).regions[0].terminator
    columns = [terminator.attributes["names"], terminator.attributes["objective"]]
    order = list(range(len(terminator.args) - 1))
    source.shuffle(order)
    terminator.args = [*(terminator.args[n] for n in order), terminator.args[-1]]
    for key, column in zip(("names", "objective"), columns, strict=True):
        assert isinstance(column, tuple)
        terminator.attributes[key] = tuple(column[n] for n in order)
    first, second = annotated(module, *names), annotated(permuted, *names)
    terminator.args, second_head = [], [print_attributes(op) for op in walk([second])]
    assert [print_attributes(op) for op in walk([first])][:-1] == second_head[:-1]


def print_attributes(op: Op) -> tuple[str, str]:
    kept = {k: v for k, v in op.attributes.items() if k in ("objective", "depth", "slack", "group", "size")}
    return op.name, "" if op.name == "sem.return" else repr(kept)


@LAW
@given(modules(), st.sampled_from(["propagate-objectives", "fuse-task-groups"]))
def test_a_second_time_changes_nothing(module: Module, name: str) -> None:
    annotated(module, "inline", "lower-engine", "propagate-objectives", "fuse-task-groups", "free-contexts")
    once = print_module(module)
    annotated(module, name)
    assert print_module(module) == once


@LAW
@given(modules())
def test_groups_have_one_depth_one_kind_of_objective_and_their_size(module: Module) -> None:
    program = annotated(module, "inline", "lower-engine", "propagate-objectives", "fuse-task-groups")
    declared = {op.symbol: op for op in program.regions[0].ops if op.name == "engine.group"}
    assert [op.name for op in program.regions[0].ops[: len(declared)]] == ["engine.group"] * len(declared)
    members: dict[str, list[Op]] = {}
    for op in generates(program):
        group = op.attributes["group"]
        assert isinstance(group, Symbol)
        members.setdefault(group.name, []).append(op)
    assert list(members) == [f"g{n}" for n in range(len(members))] == list(declared)
    for name, calls in members.items():
        assert {op.attributes["depth"] for op in calls} == {declared[name].attributes["depth"]}
        objectives = [op.attributes["objective"] for op in calls]
        assert len({o.name for o in objectives if isinstance(o, Word)}) == 1
        strictest = min(objectives, key=lambda o: o.arguments if isinstance(o, Word) else ())
        assert declared[name].attributes["objective"] == strictest


@pytest.mark.parametrize("text", ["propagate-objectives", "fuse-task-groups"])
def test_declared_attributes_do_not_keep_calls_apart(text: str) -> None:
    """What these passes write is nothing that merging looks at."""
    from semlang.ir.dialects import DEFINITIONS
    for name in ("objective", "slack", "depth", "group"):
        attribute = DEFINITIONS["engine.generate"].attribute(name)
        assert attribute is not None and not attribute.merge
