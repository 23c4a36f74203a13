"""The planner at run time: its forecast of KV against what the engine measured, groups and depths of calls."""

import dataclasses
import math
from typing import Any

import pytest

OUTPUT = 'output = "y", max_tokens = 7'

ONE = '''
sem.program(@Main) |%xs: list<text>| {
  %0 = engine.fill(engine.root, "A question, and the answer: ") : ctx
  %y, %1 = engine.generate(%0) {OUTPUT} : text, ctx
  engine.free(%0, %1)
  sem.return(%y) {names = ["y"]}
}'''

CHAIN = '''
sem.program(@Main) |%xs: list<text>| {
  %0 = engine.fill(engine.root, "A question, and the answer: ") : ctx
  %y, %1 = engine.generate(%0) {OUTPUT} : text, ctx
  engine.free(%0, %1)
  %2 = engine.fill(engine.root, "Another long question about ", %y, " and what to do: ") : ctx
  %z, %3 = engine.generate(%2) {OUTPUT} : text, ctx
  engine.free(%2, %3)
  sem.return(%z) {names = ["z"]}
}'''

SHARED = '''
sem.program(@Main) |%xs: list<text>| {
  %0 = engine.fill(engine.root, "A head that all of them share, ") : ctx
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %1 = engine.fill(%0, %x) : ctx
    %y, %2 = engine.generate(%1) {OUTPUT} : text, ctx
    engine.free(%1, %2)
    flow.yield(%y)
  } : list<text>
  engine.free(%0)
  sem.return(%ys) {names = ["ys"]}
}'''

CHAT = '''
sem.program(@Main) |%xs: list<text>| {
  %0 = engine.fill(engine.root, "Begin. ") : ctx
  %last = flow.fold(%xs, %0) |%i: int, %x: text, %c: ctx| {
    %1 = engine.fill(%c, %x) : ctx
    %y, %2 = engine.generate(%1) {OUTPUT} : text, ctx
    engine.free(%c, %1)
    flow.yield(%2)
  } : ctx
  engine.free(%0)
  %3 = engine.fill(%last, " And the end: ") : ctx
  %z, %4 = engine.generate(%3) {OUTPUT} : text, ctx
  engine.free(%last, %3, %4)
  sem.return(%z) {names = ["z"]}
}'''

SAMPLES = ONE.replace("{OUTPUT}", '{OUTPUT, n = 5, temperature = 1.0}').replace(": text, ctx", ": list<text>, ctx")

BRANCH = '''
sem.program(@Main) |%xs: list<text>| {
  %n = flow.pure(@len, %xs) : int
  %three = flow.const(3) : int
  %c = flow.pure(@gt, %n, %three) : bool
  %0 = engine.fill(engine.root, "A question, and the answer: ") : ctx
  %y, %1 = engine.generate(%0) {OUTPUT} : text, ctx
  engine.free(%0)
  %r = flow.if(%c) {
    %2 = engine.fill(%1, " tell me more about it ") : ctx
    %z, %3 = engine.generate(%2) {OUTPUT} : text, ctx
    engine.free(%2, %3)
    flow.yield(%z)
  } else {
    flow.yield(%y)
  } : text
  engine.free(%1)
  sem.return(%r) {names = ["r"]}
}'''

TEXTS = {"ONE": ONE, "CHAIN": CHAIN, "SHARED": SHARED, "CHAT": CHAT, "SAMPLES": SAMPLES, "BRANCH": BRANCH}


@pytest.fixture
def full_length(execute: Any) -> Any:
    """A reference engine whose outputs use all of their budget."""
    engine = execute.engine()
    generate = engine.generate
    engine.generate = lambda sampling, *rest, **options: generate(
        dataclasses.replace(sampling, ignore_eos=True), *rest, **options)
    return engine


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("name", list(TEXTS))
def test_the_forecast_of_peak_kv_is_exact_where_lengths_are_known(execute: Any, full_length: Any, name: str,
                                                                  count: int) -> None:
    text = TEXTS[name].replace("OUTPUT", OUTPUT)
    stats = execute(text, {"xs": ["the same words "] * count}, engine=full_length).stats
    assert stats.predicted_peak_kv_tokens == stats.peak_kv_tokens
    assert stats.predicted_filled_tokens == stats.filled_tokens


def test_the_forecast_is_a_bound_where_outputs_end_early(execute: Any) -> None:
    text = CHAT.replace("{OUTPUT}", '{output = "y", max_tokens = 40}')
    stats = execute(text, {"xs": [f"turn {i}" * i for i in range(6)]}).stats
    assert stats.generated_tokens < 7 * 40
    assert stats.peak_kv_tokens <= stats.predicted_peak_kv_tokens
    assert stats.predicted_makespan_s > 0 and math.isfinite(stats.predicted_makespan_s)


NESTED = '''
sem.program(@Main) |%xs: list<text>| {
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %0 = engine.fill(engine.root, "first ", %x) : ctx
    %y, %1 = engine.generate(%0) {output = "y"} : text, ctx
    %2 = engine.fill(engine.root, "second ", %y) : ctx
    %z, %3 = engine.generate(%2) {output = "z"} : text, ctx
    engine.free(%0, %1, %2, %3)
    flow.yield(%z)
  } : list<text>
  %s = flow.const("") : text
  %r = flow.fold(%ys, %s) |%j: int, %y2: text, %acc: text| {
    %4 = engine.fill(engine.root, "fold ", %acc, %y2) : ctx
    %w, %5 = engine.generate(%4) {output = "w"} : text, ctx
    engine.free(%4, %5)
    flow.yield(%w)
  } : text
  %6 = engine.fill(engine.root, "last ", %r) : ctx
  %v, %7 = engine.generate(%6) {output = "v"} : text, ctx
  engine.free(%6, %7)
  sem.return(%v) {names = ["v"]}
}'''


def test_groups_and_depths_reach_the_engine(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    execute(NESTED, {"xs": ["a", "b", "c"]}, engine=engine)
    calls = list(zip(engine.prompts, engine.priorities, strict=True))

    def groups(word: str) -> set[str | None]:
        return {priority.group for prompt, priority in calls if prompt.startswith(word)}

    def depths(word: str) -> list[int]:
        return sorted(priority.depth for prompt, priority in calls if prompt.startswith(word))

    assert len(groups("first")) == len(groups("second")) == 1, "equal stages of a map are one group"
    assert groups("first") != groups("second")
    assert len(groups("fold")) == 3, "turns wait for one another, so each is its own group"
    assert depths("last") == [0] and depths("fold") == [1, 2, 3]
    assert min(depths("second")) > max(depths("last")) and depths("first") == [d + 1 for d in depths("second")]


def test_groups_of_different_runs_differ(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    for _ in range(2):
        execute(NESTED, {"xs": ["a"]}, engine=engine)
    half = len(engine.priorities) // 2
    assert {p.group for p in engine.priorities[:half]}.isdisjoint(p.group for p in engine.priorities[half:])


def test_declared_groups_objectives_and_depths_are_kept(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    execute('''
    sem.program(@Main) |%xs: list<text>| {
      engine.group(@g0) {objective = latency, batch = 1, size = 1, depth = 4}
      %0 = engine.fill(engine.root, "a") : ctx
      %y, %1 = engine.generate(%0) {output = "y", group = @g0, depth = 4, objective = latency} : text, ctx
      engine.free(%0, %1)
      sem.return(%y) {names = ["y"]}
    }''', {"xs": []}, engine=engine)
    (priority,) = engine.priorities
    assert priority.group is not None and priority.group.endswith("/g0")
    assert (priority.depth, priority.objective) == (4, "latency")
