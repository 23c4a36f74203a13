"""What a run tells the scheduler of its calls: groups, depths, slack and deadlines with what is known by then."""

from __future__ import annotations

import time
from typing import Any

import pytest
from semlang.backend import priorities
from semlang.backend.engine import Priority
from semlang.backend.executor import run_module
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import Target
from semlang.passes.manager import parse_pipeline, run_pipeline
from semlang.passes.plan import Plan

PASSES = "propagate-objectives,fuse-task-groups,free-contexts"
TOKENS = {4: "a", 5: "b", 6: "z"}
"""Outputs by their budgets, which the engine sees."""


def call(name: str, pieces: str) -> str:
    (tokens,) = (count for count, output in TOKENS.items() if output == name)
    return (f"%f{name} = engine.fill(engine.root, {pieces}) : ctx\n"
            f'%{name}, %c{name} = engine.generate(%f{name}) {{output = "{name}", max_tokens = {tokens}}} : text, ctx\n')


def program(body: str, returned: str) -> str:
    return (f"sem.program(@Main) |%xs: list<text>, %flag: bool| {{\n{body}sem.return({returned}) "
            f'{{names = ["y"], objective = [OBJECTIVE]}}\n}}')


SEED = '%s = flow.const("begin") : text\n'
FOLD = program(SEED + "%v = flow.fold(%xs, %s) |%i: int, %x: text, %p: text| {\n" + call("a", "%p, %x")
               + call("b", "%a") + "flow.yield(%b)\n} : text\n" + call("z", "%v"), "%z")
MAPS = program("%ys = flow.for(%xs) |%i: int, %x: text| {\n%us = flow.for(%xs) |%j: int, %u: text| {\n"
               + call("a", "%u, %x") + "flow.yield(%a)\n} : list<text>\n%l = flow.pure(@join, %us) : text\n"
               + call("b", "%l") + "flow.yield(%b)\n} : list<text>\n", "%ys")
ROUNDS = program(SEED + "%v = flow.fold(%xs, %s) |%i: int, %x: text, %p: text| {\n"
                 "%us = flow.for(%xs) |%j: int, %u: text| {\n" + call("a", "%u, %p")
                 + "flow.yield(%a)\n} : list<text>\n%l = flow.pure(@join, %us) : text\nflow.yield(%l)\n} : text\n",
                 "%v")
BRANCH = program("%v = flow.if(%flag) {\n" + call("a", '"short"') + "flow.yield(%a)\n} else {\n" + call("b", '"long"')
                 + "flow.yield(%b)\n} : text\n" + call("z", '"beside"')
                 + "%w = flow.pure(@concat, %v, %z) : text\n", "%w")
ONE = program(call("a", '"one"') + call("b", "%a"), "%b")


@pytest.fixture
def said(execute: Any) -> Any:
    """Runs a program and gives what the engine was told of its calls, with their outputs, in order of the calls."""

    def run(text: str, objective: str = "latency", passes: str = PASSES, count: int = 3, flag: bool = True
            ) -> list[tuple[str, Priority]]:
        engine, calls = execute.engine(), []
        generate = engine.generate

        def told(sampling: Any, *rest: Any, priority: Priority, **options: Any) -> None:
            calls.append((TOKENS[sampling.max_tokens], priority))
            generate(sampling, *rest, priority=priority, **options)

        engine.generate = told
        module = parse_module(SourceFile("test.sir", text.replace("OBJECTIVE", objective)))
        run_pipeline(module, parse_pipeline(passes), Target())
        run_module(module, {"": engine}, {"xs": [f"x{n}" for n in range(count)], "flag": flag}, timeout=60)
        return calls

    return run


def groups(calls: list[tuple[str, Priority]]) -> list[str]:
    """The groups in the order of their first calls, each with the outputs of its calls, in the order of the calls."""
    found: dict[str | None, str] = {}
    for output, priority in calls:
        found[priority.group] = found.get(priority.group, "") + output
    return list(found.values())


def test_turns_of_a_fold_are_groups_of_their_own_and_count_down(said: Any) -> None:
    calls = said(FOLD)
    assert groups(calls) == ["a", "b", "a", "b", "a", "b", "z"]
    assert [priority.depth for _, priority in calls] == [6, 5, 4, 3, 2, 1, 0]
    assert {priority.slack for _, priority in calls} == {0.0}


def test_all_elements_of_nested_maps_are_one_group(said: Any) -> None:
    calls = said(MAPS, count=3)
    assert sorted(groups(calls)) == ["a" * 9, "b" * 3]
    assert {(output, priority.depth) for output, priority in calls} == {("a", 1), ("b", 0)}


def test_a_map_in_a_fold_is_a_group_in_each_turn(said: Any) -> None:
    calls = said(ROUNDS, count=3)
    assert groups(calls) == ["aaa", "aaa", "aaa"]
    assert [priority.depth for _, priority in calls] == [2] * 3 + [1] * 3 + [0] * 3


def test_objectives_and_the_application_are_told(said: Any) -> None:
    calls = said(ONE, "ttft")
    assert [(output, priority.objective) for output, priority in calls] == [("a", "latency"), ("b", "ttft")]
    assert len({priority.application for _, priority in calls}) == 1
    again = said(ONE, "ttft")
    assert again[0][1].application > calls[0][1].application
    assert not {priority.group for _, priority in calls} & {priority.group for _, priority in again}


def test_deadlines_count_from_the_begin_of_the_run(said: Any) -> None:
    before = time.perf_counter()
    (_, first), (_, last) = said(ONE, "deadline(100)")
    assert first.objective.startswith("deadline(") and last.objective == "deadline(100)"
    assert first.deadline < last.deadline
    assert before + 100 <= last.deadline <= time.perf_counter() + 100


def test_each_turn_has_its_share_of_a_deadline(said: Any) -> None:
    """As many turns as there are leave the first ones less time; at compile time one is counted."""
    calls = said(FOLD, "deadline(100)")
    deadlines = [priority.deadline for _, priority in calls]
    assert deadlines == sorted(deadlines) and len(set(deadlines)) == len(deadlines)
    later = [b - a for a, b in zip(deadlines[:-1:2], deadlines[2::2], strict=True)]
    assert later == pytest.approx([later[0]] * len(later), rel=0.2)


@pytest.mark.parametrize(("flag", "taken"), [(True, "a"), (False, "b")])
def test_a_branch_that_is_not_taken_does_not_count(said: Any, flag: bool, taken: str) -> None:
    """The call of the branch has as much slack as the one beside it is longer."""
    calls = dict(said(BRANCH, flag=flag))
    assert set(calls) == {taken, "z"}
    assert calls["z"].slack == 0.0 and calls[taken].slack > 0.0


def test_a_program_without_objectives_has_stages_and_nothing_else(said: Any) -> None:
    calls = said(FOLD, passes="free-contexts")
    assert {priority.objective for _, priority in calls} == {"throughput"}
    assert [priority.depth for _, priority in calls] == [6, 5, 4, 3, 2, 1, 0]
    assert {(priority.slack, priority.deadline, priority.batch) for _, priority in calls} == {(0.0, None, None)}


def test_long_programs_are_planned_seldom(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planner's work grows with the calls, not with the calls times the length of the program."""
    made = []

    class Counted(Plan):
        def __init__(self, *arguments: Any) -> None:
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(priorities, "Plan", Counted)
    body = "".join(BRANCH.split("| {\n", 1)[1].split("sem.return")[0].replace("%v", f"%v{n}").replace("%w", f"%w{n}")
                   .replace("%a", f"%a{n}").replace("%b", f"%b{n}").replace("%z", f"%z{n}").replace("%ca", f"%ca{n}")
                   .replace("%cb", f"%cb{n}").replace("%cz", f"%cz{n}").replace("%fa", f"%fa{n}")
                   .replace("%fb", f"%fb{n}").replace("%fz", f"%fz{n}") for n in range(60))
    calls = said(program(body, "%w59"))
    operations = body.count("\n")
    assert len(calls) == 120
    assert 1 <= len(made) <= 2 + len(calls) * priorities.WORK_OF_CALL / operations
