"""Effects: hosts that are not pure run exactly once, in source order, and their failures are always reported."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

Host = Callable[[Callable[..., Any]], Callable[..., Any]]

NOTE = 'sem.host(@note) {target = "executor_test_hosts:note", parameters = {x = !text}, result = !text}\n'


@pytest.fixture
def log(host: Host) -> list[str]:
    """What `note` was called with; texts with a `!` fail after they were noted."""
    calls: list[str] = []

    @host
    def note(x: str) -> str:
        time.sleep(random.random() * 0.003)
        calls.append(x)
        if "!" in x:
            raise RuntimeError(f"cannot note {x}")
        return f"noted {x}"

    return calls


def test_a_chain_runs_in_order_and_once(execute: Any, log: list[str]) -> None:
    result = execute(NOTE + '''
    sem.program(@Main) |%a: text, %b: text, %e: effect| {
      %x, %e1 = flow.host(@note, %a, %e) : text, effect
      %y, %e2 = flow.host(@note, %b, %e1) : text, effect
      %z, %e3 = flow.host(@note, %a, %e2) : text, effect
      sem.return(%z, %y, %e3) {names = ["z", "y"]}
    }''', {"a": "one", "b": "two"})
    assert log == ["one", "two", "one"]
    assert result.outputs == {"z": "noted one", "y": "noted two"}
    assert result.stats.host_calls == 3


def test_a_failure_does_not_break_the_chain_and_is_reported(execute: Any, log: list[str]) -> None:
    result = execute(NOTE + '''
    sem.program(@Main) |%a: text, %b: text, %e: effect| {
      %x, %e1 = flow.host(@note, %a, %e) : text, effect loc("x.sem":4:3)
      %y, %e2 = flow.host(@note, %b, %e1) : text, effect
      sem.return(%y, %e2) {names = ["y"]}
    }''', {"a": "one!", "b": "two"})
    assert log == ["one!", "two"]
    assert result.outputs == {"y": "noted two"}
    error = result.errors["note"]
    assert error.message == "the host function `note` raised RuntimeError: cannot note one!"
    assert error.location == "x.sem:4:3"


def test_a_failure_that_an_output_reports_is_not_repeated(execute: Any, log: list[str]) -> None:
    result = execute(NOTE + '''
    sem.program(@Main) |%a: text, %e: effect| {
      %x, %e1 = flow.host(@note, %a, %e) : text, effect
      sem.return(%x, %e1) {names = ["x"]}
    }''', {"a": "one!"})
    assert set(result.errors) == {"x"}


def test_a_failed_argument_keeps_the_host_from_running_and_is_reported(execute: Any, log: list[str]) -> None:
    result = execute(NOTE + '''
    sem.program(@Main) |%n: int, %b: text, %e: effect| {
      %zero = flow.const(0) : int
      %bad = flow.pure(@floordiv, %n, %zero) : int
      %text = flow.pure(@render, %bad) : text
      %x, %e1 = flow.host(@note, %text, %e) : text, effect
      %y, %e2 = flow.host(@note, %b, %e1) : text, effect
      sem.return(%y, %e2) {names = ["y"]}
    }''', {"n": 1, "b": "two"})
    assert log == ["two"]
    assert result.errors["note"].message == "division by zero"


NESTED = NOTE + '''
sem.program(@Main) |%xs: list<text>, %e: effect| {
  %ys, %e1 = flow.for(%xs, %e) |%i: int, %x: text, %f: effect| {
    %zs, %f1 = flow.for(%xs, %f) |%j: int, %y: text, %g: effect| {
      %xy = flow.pure(@concat, %x, %y) : text
      %z, %g1 = flow.host(@note, %xy, %g) : text, effect
      flow.yield(%z, %g1)
    } : list<text>, effect
    %w, %f2 = flow.host(@note, %x, %f1) : text, effect
    flow.yield(%zs, %f2)
  } : list<list<text>>, effect
  %end = flow.const("end") : text
  %last, %e2 = flow.host(@note, %end, %e1) : text, effect
  sem.return(%last, %e2) {names = ["last"]}
}'''


def test_nested_loops_run_hosts_in_order_of_indices(execute: Any, log: list[str]) -> None:
    execute(NESTED, {"xs": ["a", "b", "c!"]})
    expected = [line for x in ("a", "b", "c!") for line in [*(x + y for y in ("a", "b", "c!")), x]]
    assert log == [*expected, "end"]


def test_every_failed_effect_is_reported_in_order(execute: Any, log: list[str]) -> None:
    result = execute(NESTED, {"xs": ["a", "b!"]})
    assert list(result.errors) == ["note", "note#2", "note#3", "note#4"]
    assert [e.message.split()[-1] for e in result.errors.values()] == ["ab!", "b!a", "b!b!", "b!"]


def test_unordered_loops_run_each_host_once_and_later_ones_wait_for_all(execute: Any, log: list[str]) -> None:
    execute(NOTE + '''
    sem.program(@Main) |%xs: list<text>, %e: effect| {
      %ys, %e1 = flow.for(%xs, %e) {unordered = true} |%i: int, %x: text, %f: effect| {
        %z, %f1 = flow.host(@note, %x, %f) : text, effect
        flow.yield(%z, %f1)
      } : list<text>, effect
      %end = flow.const("end") : text
      %last, %e2 = flow.host(@note, %end, %e1) : text, effect
      sem.return(%ys, %last, %e2) {names = ["ys", "last"]}
    }''', {"xs": [str(i) for i in range(20)]})
    assert log[-1] == "end" and sorted(log[:-1], key=int) == [str(i) for i in range(20)]


def test_effects_go_through_folds_loops_branches_and_try(execute: Any, log: list[str]) -> None:
    execute(NOTE + '''
    sem.program(@Main) |%xs: list<text>, %c: bool, %e: effect| {
      %s = flow.const("s") : text
      %n = flow.const(2) : int
      %zero = flow.const(0) : int
      %r, %e1 = flow.fold(%xs, %s, %e) |%i: int, %x: text, %acc: text, %f: effect| {
        %y, %f1 = flow.host(@note, %x, %f) : text, effect
        flow.yield(%y, %f1)
      } : text, effect
      %k, %e2 = flow.loop(%n, %s, %e1) |%a: text, %g: effect| {
        flow.yield(%c)
      } do |%turn: int, %b: text, %h: effect| {
        %z, %h1 = flow.host(@note, %b, %h) : text, effect
        %next = flow.pure(@concat, %b, %b) : text
        flow.yield(%next, %h1)
      } : text, effect
      %bad = flow.pure(@floordiv, %n, %zero) : int
      %shown = flow.pure(@render, %bad) : text
      %t, %e3 = flow.try(%shown, %e2) {
        %caught = flow.const("caught") : text
        %q, %m1 = flow.host(@note, %caught, %e2) : text, effect
        flow.yield(%q, %m1)
      } : text, effect
      %u, %e4 = flow.if(%c, %e3) {
        %then = flow.const("then") : text
        %v, %o1 = flow.host(@note, %then, %e3) : text, effect
        flow.yield(%v, %o1)
      } else {
        flow.yield(%s, %e3)
      } : text, effect
      %w, %e5 = flow.host(@note, %s, %e4) : text, effect
      sem.return(%r, %k, %t, %u, %w, %e5) {names = ["r", "k", "t", "u", "w"]}
    }''', {"xs": ["a", "b"], "c": True})
    assert log == ["a", "b", "s", "ss", "caught", "then", "s"]


def test_effects_pass_loops_that_cannot_run(execute: Any, log: list[str]) -> None:
    execute(NOTE + '''
    sem.program(@Main) |%n: int, %e: effect| {
      %zero = flow.const(0) : int
      %s = flow.const("s") : text
      %bad = flow.pure(@floordiv, %n, %zero) : int
      %xs = flow.pure(@range, %bad) : list<int>
      %c = flow.pure(@eq, %bad, %zero) : bool
      %ys, %e1 = flow.for(%xs, %e) |%i: int, %x: int, %f: effect| {
        %z, %f1 = flow.host(@note, %s, %f) : text, effect
        flow.yield(%z, %f1)
      } : list<text>, effect
      %r, %e2 = flow.fold(%xs, %s, %e1) |%j: int, %y: int, %acc: text, %g: effect| {
        %w, %g1 = flow.host(@note, %acc, %g) : text, effect
        flow.yield(%w, %g1)
      } : text, effect
      %k, %e3 = flow.loop(%n, %s, %e2) |%a: text, %h: effect| {
        flow.yield(%c)
      } do |%turn: int, %b: text, %m: effect| {
        %v, %m1 = flow.host(@note, %b, %m) : text, effect
        flow.yield(%v, %m1)
      } : text, effect
      %l, %e4 = flow.loop(%bad, %s, %e3) |%a2: text, %h2: effect| {
        flow.yield(%c)
      } do |%turn2: int, %b2: text, %m2: effect| {
        %v2, %m3 = flow.host(@note, %b2, %m2) : text, effect
        flow.yield(%v2, %m3)
      } : text, effect
      %last, %e5 = flow.host(@note, %s, %e4) : text, effect
      sem.return(%last, %e5) {names = ["last"]}
    }''', {"n": 1})
    assert log == ["s"]


def test_only_hosts_wait_for_effects(execute: Any, host: Host) -> None:
    """The second element's pure work does not wait for the first element's host."""
    import threading

    done = threading.Event()

    @host
    def note(x: str) -> str:
        assert done.wait(20)
        return x

    @host
    def quick(x: str) -> str:
        if x == "b":
            done.set()
        return x

    result = execute(NOTE + '''
    sem.host(@quick) {target = "executor_test_hosts:quick", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%xs: list<text>, %e: effect| {
      %ys, %zs, %e1 = flow.for(%xs, %e) |%i: int, %x: text, %f: effect| {
        %z, %f1 = flow.host(@note, %x, %f) : text, effect
        %q = flow.host(@quick, %x) : text
        flow.yield(%z, %q, %f1)
      } : list<text>, list<text>, effect
      sem.return(%ys, %zs, %e1) {names = ["ys", "zs"]}
    }''', {"xs": ["a", "b"]})
    assert result.outputs == {"ys": ["a", "b"], "zs": ["a", "b"]}
