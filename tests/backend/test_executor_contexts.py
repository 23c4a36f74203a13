"""Contexts at run time: freed exactly once on every path, shared, carried; and calls that share steps."""

from typing import Any

import pytest

MAP = '''
sem.program(@Main) |%xs: list<text>| {
  %0 = engine.fill(engine.root, "You are an expert. ") : ctx
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %1 = engine.fill(%0, %x) : ctx
    %y, %2 = engine.generate(%1) {output = "y", max_tokens = 8} : text, ctx
    engine.free(%1, %2)
    flow.yield(%y)
  } : list<text>
  engine.free(%0)
  sem.return(%ys) {names = ["ys"]}
}'''


def test_independent_calls_share_steps(execute: Any) -> None:
    alone = execute(MAP, {"xs": ["topic 0"]}).stats
    longest = max(execute(MAP, {"xs": [f"topic {i}"]}).stats.engine_steps for i in range(16))
    together = execute(MAP, {"xs": [f"topic {i}" for i in range(16)]}).stats
    assert together.calls == 16
    assert alone.engine_steps <= together.engine_steps <= longest + 2


def test_calls_that_become_ready_together_share_steps_too(execute: Any) -> None:
    """Every second call waits for its first, which all end in the same step."""
    text = '''
    sem.program(@Main) |%xs: list<text>| {
      %zs = flow.for(%xs) |%i: int, %x: text| {
        %1 = engine.fill(engine.root, %x) : ctx
        %y, %2 = engine.generate(%1) {output = "y", max_tokens = 1} : text, ctx
        %3 = engine.fill(engine.root, %x, %y) : ctx
        %z, %4 = engine.generate(%3) {output = "z", max_tokens = 1} : text, ctx
        engine.free(%1, %2, %3, %4)
        flow.yield(%z)
      } : list<text>
      sem.return(%zs) {names = ["zs"]}
    }'''
    engine = execute.engine()
    execute(text, {"xs": ["first"]}, engine=engine)  # computes the token that opens every context
    assert execute(text, {"xs": [str(i) for i in range(16)]}, engine=engine).stats.engine_steps == 2


def test_runs_are_reproducible_step_by_step(execute: Any) -> None:
    xs = [f"topic {i}" for i in range(8)]
    first, second = execute(MAP, {"xs": xs}), execute(MAP, {"xs": xs})
    assert first.outputs == second.outputs
    for name in ("engine_steps", "peak_kv_tokens", "filled_tokens"):
        assert getattr(first.stats, name) == getattr(second.stats, name)


CHAT = '''
sem.program(@Main) |%xs: list<text>| {
  %0 = engine.fill(engine.root, "Begin. ") : ctx
  %none = flow.pure(@list) : list<text>
  %all, %last = flow.fold(%xs, %none, %0) |%i: int, %x: text, %acc: list<text>, %c: ctx| {
    %1 = engine.fill(%c, %x) : ctx
    %y, %2 = engine.generate(%1) {output = "y", max_tokens = 6} : text, ctx
    %one = flow.pure(@list, %y) : list<text>
    %more = flow.pure(@add, %acc, %one) : list<text>
    engine.free(%c, %1)
    flow.yield(%more, %2)
  } : list<text>, ctx
  engine.free(%0, %last)
  sem.return(%all) {names = ["all"]}
}'''


@pytest.mark.parametrize("turns", [0, 1, 12])
def test_a_chat_carried_through_a_loop_computes_nothing_twice(execute: Any, turns: int) -> None:
    result = execute(CHAT, {"xs": [f"turn {i}. " for i in range(turns)]}, record_calls=True)
    assert len(result.outputs["all"]) == turns
    own = sum(len(c.prompt_ids) - len(before) for c, before in
              zip(result.calls, [(), *(c.prompt_ids + c.context_ids for c in result.calls)], strict=False))
    # The last token of each output has no KV until the next turn needs it.
    assert own <= result.stats.filled_tokens <= own + turns
    assert result.stats.preemptions == 0


@pytest.mark.parametrize("taken", [True, False])
def test_contexts_move_out_of_branches(execute: Any, taken: bool) -> None:
    result = execute('''
    sem.program(@Main) |%a: text, %c: bool| {
      %0 = engine.fill(engine.root, %a) : ctx
      %p = flow.if(%c) {
        %1 = engine.fill(%0, "then") : ctx
        flow.yield(%1)
      } else {
        flow.yield(%0)
      } : ctx
      %y, %2 = engine.generate(%p) {output = "y", max_tokens = 4} : text, ctx
      %z, %3 = engine.generate(%0) {output = "z", max_tokens = 4} : text, ctx
      engine.free(%0, %p, %2, %3)
      sem.return(%y, %z) {names = ["y", "z"]}
    }''', {"a": "x", "c": taken})
    assert (result.outputs["y"] == result.outputs["z"]) is not taken


def test_contexts_in_lists_and_records(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<text>| {
      %cs = flow.for(%xs) |%i: int, %x: text| {
        %1 = engine.fill(engine.root, %x) : ctx
        %y, %2 = engine.generate(%1) {output = "y", max_tokens = 4} : text, ctx
        %r = flow.pure(@record, %y, %2) : record<text: text, chat: ctx>
        engine.free(%1, %2)
        flow.yield(%r)
      } : list<record<text: text, chat: ctx>>
      %zs = flow.for(%cs) |%j: int, %c: record<text: text, chat: ctx>| {
        %chat = flow.pure(@field, %c) {name = "chat"} : ctx
        %3 = engine.fill(%chat, " and ") : ctx
        %z, %4 = engine.generate(%3) {output = "z", max_tokens = 4} : text, ctx
        engine.free(%c, %chat, %3, %4)
        flow.yield(%z)
      } : list<text>
      engine.free(%cs)
      sem.return(%zs) {names = ["zs"]}
    }''', {"xs": ["a", "b", "c"]})
    assert len(result.outputs["zs"]) == 3


def test_a_context_lives_no_longer_than_its_last_use(execute: Any, scripted: Any) -> None:
    live: list[int] = []

    def answer(prompt: str, sampling: Any) -> str:
        live.append(len(engine.contexts))
        return "x"

    engine = scripted(answer)
    execute(CHAT, {"xs": ["t"] * 40}, engine=engine)
    # The root, the first context (the program still holds it), the turn's fill and the carried context.
    assert max(live) <= 4


def test_failed_paths_free_what_they_hold(execute: Any, scripted: Any) -> None:
    from semlang.backend.engine import EngineError

    engine = scripted(lambda p, s: EngineError("no") if p.count("t") == 3 else "x")
    result = execute(CHAT.replace("sem.return(%all)", "sem.return(%all)"), {"xs": ["t"] * 6}, engine=engine)
    assert result.errors["all"].message == "no"


def test_a_loop_whose_condition_fails_frees_its_context(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%n: int| {
      %0 = engine.fill(engine.root, "Begin. ") : ctx
      %ten = flow.const(10) : int
      %one = flow.const(1) : int
      %k, %last = flow.loop(%ten, %n, %0) |%a: int, %c: ctx| {
        %q = flow.pure(@floordiv, %ten, %a) : int
        %more = flow.pure(@gt, %q, %one) : bool
        engine.free(%c)
        flow.yield(%more)
      } do |%turn: int, %b: int, %d: ctx| {
        %1 = engine.fill(%d, "more") : ctx
        %y, %2 = engine.generate(%1) {output = "y", max_tokens = 2} : text, ctx
        %less = flow.pure(@sub, %b, %one) : int
        engine.free(%d, %1)
        flow.yield(%less, %2)
      } : int, ctx
      engine.free(%0, %last)
      sem.return(%k) {names = ["k"]}
    }''', {"n": 3}, check=False)
    assert result.errors["k"].message == "division by zero" and result.stats.calls == 3
