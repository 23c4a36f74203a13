"""Size: long chains, deep nesting, many iterations, and what is kept in memory meanwhile."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from semlang.backend import run as run_file
from semlang.backend.region_instance import RegionInstance
from semlang.ir.core import Module, Op, Region, Symbol, Value
from semlang.ir.types import INT

Host = Callable[[Callable[..., Any]], Callable[..., Any]]

HOST = 'sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !int}, result = !int, pure = true}\n'


@pytest.fixture
def increment(host: Host) -> None:
    @host
    def f(x: int) -> int:
        return x + 1


def test_a_chain_of_100_000_operations(execute: Any) -> None:
    start = value = Value(INT, "v0")
    ops = []
    for _ in range(100_000):
        op = Op("flow.pure", [Symbol("add"), value, 1], [Value(INT)])
        value = op.result
        ops.append(op)
    ops.append(Op("sem.return", [value], attributes={"names": ("r",)}))
    program = Op("sem.program", [Symbol("Main")], regions=[Region([start], ops)])
    assert execute(Module([program]), {"v0": 0}, check=False).outputs == {"r": 100_000}


def test_a_map_over_many_pure_elements(execute: Any) -> None:
    count = 250_000
    result = execute('''sem.program(@Main) |%n: int| {
      %xs = flow.pure(@range, %n) : list<int>
      %ys = flow.for(%xs) |%i: int, %x: int| {
        %y = flow.pure(@add, %x, %i) : int
        flow.yield(%y)
      } : list<int>
      %s = flow.pure(@sum, %ys) : int
      sem.return(%s) {names = ["s"]}
    }''', {"n": count})
    assert result.outputs == {"s": count * (count - 1)}


LONG_FOLD = HOST + '''
sem.program(@Main) |%n: int| {
  %xs = flow.pure(@range, %n) : list<int>
  %zero = flow.const(0) : int
  %two = flow.const(2) : int
  %r = flow.fold(%xs, %zero) |%i: int, %x: int, %acc: int| {
    %bit = flow.pure(@mod, %acc, %two) : int
    %next = flow.host(@f, %bit) : int
    %sum = flow.pure(@add, %acc, %next) : int
    flow.yield(%sum)
  } : int
  sem.return(%r) {names = ["r"]}
}'''


def test_a_long_fold_with_calls_keeps_few_turns_in_memory(execute: Any, increment: None,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_file, "LIVE_INSTANCES", 64)
    living: weakref.WeakSet[RegionInstance] = weakref.WeakSet()
    most = 0
    original = RegionInstance.__init__

    class Counted(RegionInstance):
        __slots__ = ("__weakref__",)

        def __init__(self, *args: Any) -> None:
            nonlocal most
            original(self, *args)
            living.add(self)
            most = max(most, len(living))

    monkeypatch.setattr(run_file, "RegionInstance", Counted)
    result = execute(LONG_FOLD, {"n": 5_000})
    assert result.ok and most <= 70, "finished turns stay in memory"
    gc.collect()
    assert len(living) == 0


NESTED = HOST + '''
sem.program(@Main) |%n: int, %limit: int| {
  %xs = flow.pure(@range, %n) : list<int>
  %zero = flow.const(0) : int
  %ys = flow.for(%xs) |%i: int, %x: int| {
    %zs = flow.for(%xs) |%j: int, %y: int| {
      %a = flow.pure(@add, %x, %y) : int
      %b = flow.host(@f, %a) : int
      flow.yield(%b)
    } : list<int>
    %s = flow.fold(%zs, %zero) |%k: int, %z: int, %acc: int| {
      %c = flow.pure(@lt, %z, %acc) : bool
      %d = flow.if(%c) {
        %e = flow.host(@f, %acc) : int
        flow.yield(%e)
      } else {
        %g = flow.pure(@add, %acc, %z) : int
        flow.yield(%g)
      } : int
      flow.yield(%d)
    } : int
    %t = flow.loop(%limit, %s) |%h: int| {
      %more = flow.pure(@gt, %h, %zero) : bool
      flow.yield(%more)
    } do |%turn: int, %l: int| {
      %m = flow.host(@f, %l) : int
      flow.yield(%m)
    } : int
    flow.yield(%t)
  } : list<int>
  sem.return(%ys) {names = ["ys"]}
}'''


def expected(n: int, limit: int) -> list[int]:
    results = []
    for x in range(n):
        total = 0
        for z in (x + y + 1 for y in range(n)):
            total = total + 1 if z < total else total + z
        for _ in range(limit):
            total = total + 1 if total > 0 else total
        results.append(total)
    return results


@pytest.mark.parametrize("live", [1, 2, 7, 4096])
def test_a_limit_on_live_instances_never_starves_and_changes_nothing(execute: Any, increment: None, live: int,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_file, "LIVE_INSTANCES", live)
    assert execute(NESTED, {"n": 9, "limit": 3}).outputs == {"ys": expected(9, 3)}


@pytest.mark.parametrize("with_call", [False, True])
def test_deep_nesting(execute: Any, increment: None, with_call: bool) -> None:
    """900 branches inside one another: neither the analysis nor the run recurses."""
    depth = 900
    inner = "%last = flow.host(@f, %x) : int" if with_call else "%last = flow.pure(@add, %x, %x) : int"
    opening = "\n".join(f"%r{i} = flow.if(%c) {{" for i in range(depth))
    closing = "\n".join(f"flow.yield(%r{i})\n}} else {{\nflow.yield(%x)\n}} : int" for i in range(depth - 1, 0, -1))
    text = HOST + f'''sem.program(@Main) |%c: bool, %x: int| {{
    {opening}
    {inner}
    flow.yield(%last)
    }} else {{
    flow.yield(%x)
    }} : int
    {closing}
    sem.return(%r0) {{names = ["r"]}}
    }}'''
    assert execute(text, {"c": True, "x": 4}, check=False).outputs == {"r": 5 if with_call else 8}


def test_many_calls(execute: Any) -> None:
    result = execute('''sem.program(@Main) |%n: int| {
      %xs = flow.pure(@range, %n) : list<int>
      %ys = flow.for(%xs) |%i: int, %x: int| {
        %t = flow.pure(@render, %x) : text
        %0 = engine.fill(engine.root, %t) : ctx
        %y, %1 = engine.generate(%0) {output = "y", max_tokens = 1} : text, ctx
        engine.free(%0, %1)
        flow.yield(%y)
      } : list<text>
      %len = flow.pure(@len, %ys) : int
      sem.return(%len, %ys) {names = ["len", "ys"]}
    }''', {"n": 1_000})
    assert result.outputs["len"] == 1_000 and result.stats.calls == 1_000
    assert result.stats.engine_steps < 20
