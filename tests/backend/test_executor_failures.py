"""Failures are values: what they fail, what they leave alone, and what is reported."""

from collections.abc import Callable
from typing import Any

Host = Callable[[Callable[..., Any]], Callable[..., Any]]

DIVIDE = '''
  %zero = flow.const(0) : int
  %one = flow.const(1) : int
'''


def errors(result: Any) -> dict[str, tuple[str, str]]:
    return {name: (error.message, error.location) for name, error in result.errors.items()}


def test_a_failure_fails_what_depends_on_it_and_nothing_else(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%a: int| {
      %zero = flow.const(0) : int
      %bad = flow.pure(@floordiv, %a, %zero) : int loc("x.sem":3:5)
      %worse = flow.pure(@add, %bad, %a) : int
      %good = flow.pure(@add, %a, %a) : int
      sem.return(%worse, %good) {names = ["worse", "good"]}
    }''', {"a": 4})
    assert result.outputs == {"good": 8}
    assert errors(result) == {"worse": ("division by zero", "x.sem:3:5")}
    assert result.errors["worse"].kind == "pure"
    assert not result.ok


def test_of_several_failed_operands_the_first_in_order_counts_not_the_first_in_time(execute: Any, host: Host) -> None:
    @host
    def late(x: str) -> str:
        raise ValueError("late")

    for swap in (False, True):
        a, b = ("%quick", "%slow") if swap else ("%slow", "%quick")
        result = execute(f'''
        sem.host(@late) {{target = "executor_test_hosts:late", parameters = {{x = !text}}, result = !int, pure = true}}
        sem.program(@Main) |%x: text, %n: int| {{
          %zero = flow.const(0) : int
          %quick = flow.pure(@floordiv, %n, %zero) : int
          %slow = flow.host(@late, %x) : int
          %r = flow.pure(@add, {a}, {b}) : int
          sem.return(%r) {{names = ["r"]}}
        }}''', {"x": "", "n": 1})
        assert result.errors["r"].message == (
            "division by zero" if swap else "the host function `late` raised ValueError: late")


FAILING_MAP = '''
sem.program(@Main) |%xs: list<int>| {
  %six = flow.const(6) : int
  %ys = flow.for(%xs) |%i: int, %x: int| {
    %y = flow.pure(@floordiv, %six, %x) : int loc("x.sem":7:1)
    flow.yield(%y)
  } : list<int>
  REST
}'''


def test_a_failed_element_does_not_fail_its_list(execute: Any) -> None:
    result = execute(FAILING_MAP.replace("REST", '''
      %n = flow.pure(@len, %ys) : int
      %i0 = flow.const(0) : int
      %i1 = flow.const(1) : int
      %a = flow.pure(@index, %ys, %i0) : option<int>
      %b = flow.pure(@index, %ys, %i1) : option<int>
      %s = flow.pure(@sum, %ys) : int
      %none = flow.const(none) : option<int>
      %two = flow.const(2) : int
      %tail = flow.pure(@slice, %ys, %two, %none) : list<int>
      sem.return(%ys, %n, %a, %b, %s, %tail) {names = ["ys", "n", "a", "b", "s", "tail"]}
    '''), {"xs": [1, 0, 3]})
    assert result.outputs == {"n": 3, "a": 6, "tail": [2]}
    assert errors(result) == {name: ("division by zero", "x.sem:7:1") for name in ("ys", "b", "s")}


def test_outputs_are_forced_deeply_and_fail_with_their_first_failed_component(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<int>| {
      %zero = flow.const(0) : int
      %big = flow.const(9223372036854775807) : int
      %a = flow.pure(@add, %big, %big) : int
      %b = flow.pure(@mod, %big, %zero) : int
      %r = flow.pure(@record, %b, %a) : record<b: int, a: int>
      %l = flow.pure(@list, %r) : list<record<b: int, a: int>>
      sem.return(%l) {names = ["l"]}
    }''', {"xs": []})
    assert "zero" in result.errors["l"].message


def test_a_failed_list_fails_for_and_fold(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%n: int| {
      %zero = flow.const(0) : int
      %bad = flow.pure(@floordiv, %n, %zero) : int
      %xs = flow.pure(@range, %bad) : list<int>
      %ys, %is = flow.for(%xs) |%i: int, %x: int| {
        flow.yield(%x, %i)
      } : list<int>, list<int>
      %r = flow.fold(%xs, %n) |%j: int, %y: int, %acc: int| {
        flow.yield(%acc)
      } : int
      sem.return(%ys, %is, %r) {names = ["ys", "is", "r"]}
    }''', {"n": 1})
    assert set(result.errors) == {"ys", "is", "r"}


def test_a_failed_condition_fails_the_if_and_runs_neither_branch(execute: Any, host: Host) -> None:
    calls: list[str] = []

    @host
    def note(x: str) -> str:
        calls.append(x)
        return x

    result = execute('''
    sem.host(@note) {target = "executor_test_hosts:note", parameters = {x = !text}, result = !text}
    sem.program(@Main) |%n: int, %x: text, %e: effect| {
      %zero = flow.const(0) : int
      %bad = flow.pure(@floordiv, %n, %zero) : int
      %c = flow.pure(@eq, %bad, %zero) : bool
      %r, %e1 = flow.if(%c, %e) {
        %a, %ea = flow.host(@note, %x, %e) : text, effect
        flow.yield(%a, %ea)
      } else {
        %b, %eb = flow.host(@note, %x, %e) : text, effect
        flow.yield(%b, %eb)
      } : text, effect
      %after, %e2 = flow.host(@note, %x, %e1) : text, effect
      sem.return(%r, %after, %e2) {names = ["r", "after"]}
    }''', {"n": 1, "x": "after"})
    assert calls == ["after"]
    assert result.outputs == {"after": "after"} and set(result.errors) == {"r"}


def test_fold_fails_only_what_depends_on_a_failed_element(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<int>| {
      %zero = flow.const(0) : int
      %six = flow.const(6) : int
      %one = flow.const(1) : int
      %s, %n, %last = flow.fold(%xs, %zero, %zero, %zero) |%i: int, %x: int, %sum: int, %count: int, %l: int| {
        %y = flow.pure(@floordiv, %six, %x) : int
        %next = flow.pure(@add, %sum, %y) : int
        %more = flow.pure(@add, %count, %one) : int
        flow.yield(%next, %more, %y)
      } : int, int, int
      sem.return(%s, %n, %last) {names = ["s", "n", "last"]}
    }''', {"xs": [1, 0, 3]})
    assert result.outputs == {"n": 3, "last": 2}
    assert set(result.errors) == {"s"}


def test_a_failed_loop_condition_fails_the_results(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%n: int| {
      %zero = flow.const(0) : int
      %one = flow.const(1) : int
      %five = flow.const(5) : int
      %a, %b = flow.loop(%five, %n, %zero) |%x: int, %k: int| {
        %q = flow.pure(@floordiv, %five, %x) : int
        %more = flow.pure(@gt, %q, %zero) : bool
        flow.yield(%more)
      } do |%turn: int, %y: int, %m: int| {
        %less = flow.pure(@sub, %y, %one) : int
        flow.yield(%less, %turn)
      } : int, int
      sem.return(%a, %b) {names = ["a", "b"]}
    }''', {"n": 2})
    assert errors(result).keys() == {"a", "b"}
    assert result.errors["a"].message == "division by zero"


def test_try_gives_its_region_where_the_value_failed(execute: Any) -> None:
    text = '''
    sem.program(@Main) |%n: int| {
      %six = flow.const(6) : int
      %minus = flow.const(-1) : int
      %q = flow.pure(@floordiv, %six, %n) : int
      %r = flow.try(%q) {
        flow.yield(%minus)
      } : int
      sem.return(%r) {names = ["r"]}
    }'''
    assert execute(text, {"n": 3}).outputs == {"r": 2}
    failed = execute(text, {"n": 0})
    assert failed.outputs == {"r": -1} and failed.ok


def test_try_looks_at_the_value_itself_not_at_its_components(execute: Any) -> None:
    result = execute(FAILING_MAP.replace("REST", '''
      %none = flow.pure(@list) : list<int>
      %t = flow.try(%ys) {
        flow.yield(%none)
      } : list<int>
      %n = flow.pure(@len, %t) : int
      %o = flow.pure(@outcome, %ys) : record<ok: bool, value: option<list<int>>, message: text>
      %ok = flow.pure(@field, %o) {name = "ok"} : bool
      sem.return(%n, %ok) {names = ["n", "ok"]}
    '''), {"xs": [1, 0, 3]})
    assert result.outputs == {"n": 3, "ok": True}


def test_outcome_tells_what_became_of_a_value(execute: Any) -> None:
    text = '''
    sem.program(@Main) |%n: int| {
      %six = flow.const(6) : int
      %q = flow.pure(@floordiv, %six, %n) : int
      %o = flow.pure(@outcome, %q) : record<ok: bool, value: option<int>, message: text>
      sem.return(%o) {names = ["o"]}
    }'''
    assert execute(text, {"n": 3}).outputs == {"o": {"ok": True, "value": 2, "message": ""}}
    assert execute(text, {"n": 0}).outputs == {"o": {"ok": False, "value": None, "message": "division by zero"}}


def test_errors_on_which_nothing_depends_are_not_reported(execute: Any, host: Host) -> None:
    @host
    def boom(x: str) -> str:
        raise ValueError(x)

    result = execute('''
    sem.host(@boom) {target = "executor_test_hosts:boom", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%x: text| {
      %bad = flow.host(@boom, %x) : text
      %d = flow.try(%bad) {
        flow.yield(%x)
      } : text
      sem.return(%d) {names = ["d"]}
    }''', {"x": "v"})
    assert result.outputs == {"d": "v"} and result.ok


def test_failed_masks_fail_a_selection(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<int>| {
      %six = flow.const(6) : int
      %one = flow.const(1) : int
      %mask = flow.for(%xs) |%i: int, %x: int| {
        %q = flow.pure(@floordiv, %six, %x) : int
        %c = flow.pure(@gt, %q, %one) : bool
        flow.yield(%c)
      } : list<bool>
      %kept = flow.pure(@select, %xs, %mask) : list<int>
      %at = flow.pure(@positions, %mask) : list<int>
      %n = flow.pure(@len, %kept) : int
      sem.return(%kept, %at, %n) {names = ["kept", "at", "n"]}
    }''', {"xs": [1, 0, 6]})
    assert set(result.errors) == {"kept", "at", "n"}


def test_an_operation_that_stands_for_several_sites_names_them_all(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%n: int| {
      %zero = flow.const(0) : int
      %q = flow.pure(@floordiv, %n, %zero) : int loc("x.sem":3:5 < "x.sem":9:1, "x.sem":4:5)
      sem.return(%q) {names = ["q"]}
    }''', {"n": 1})
    assert result.errors["q"].location == "x.sem:3:5"
    assert result.errors["q"].sites == ("x.sem:3:5 < x.sem:9:1", "x.sem:4:5")


def test_results_print_as_json(execute: Any) -> None:
    result = execute('''
    sem.enum(@Color) {members = ["red", "green"], texts = ["red", "deep green"]}
    sem.program(@Main) |%c: enum<Color>, %n: int| {
      %zero = flow.const(0) : int
      %q = flow.pure(@floordiv, %n, %zero) : int loc("x.sem":3:5)
      sem.return(%c, %q) {names = ["c", "q"]}
    }''', {"c": "deep green", "n": 1})
    data = result.to_json()
    assert data["outputs"] == {"c": "deep green"} and result.outputs == {"c": "green"}
    assert data["errors"] == {"q": {"message": "division by zero", "location": "x.sem:3:5"}}
    assert {"calls", "prompt_tokens", "filled_tokens", "shared_tokens", "generated_tokens", "engine_steps",
            "peak_kv_tokens", "predicted_peak_kv_tokens", "makespan_s", "predicted_makespan_s",
            "compile_s"} <= set(data["stats"])
