"""Regions at run time: what each operation gives, and that values travel as soon as they are there."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

Host = Callable[[Callable[..., Any]], Callable[..., Any]]

HOSTS = '''
sem.host(@note) {target = "executor_test_hosts:note", parameters = {x = !text}, result = !text, pure = true}
sem.host(@use) {target = "executor_test_hosts:use", parameters = {x = !text}, result = !text, pure = true}
'''


@pytest.mark.parametrize(("flag", "expected"), [(True, "yes"), (False, "no")])
def test_if_takes_one_branch(execute: Any, flag: bool, expected: str) -> None:
    result = execute('''
    sem.program(@Main) |%c: bool| {
      %r = flow.if(%c) {
        %y = flow.const("yes") : text
        flow.yield(%y)
      } else {
        %n = flow.const("no") : text
        flow.yield(%n)
      } : text
      sem.return(%r) {names = ["r"]}
    }''', {"c": flag})
    assert result.outputs == {"r": expected}


def test_for_keeps_order_and_length_of_the_shortest_list(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<text>, %ys: list<int>| {
      %zs = flow.for(%xs, %ys) |%i: int, %x: text, %y: int| {
        %a = flow.pure(@render, %i) : text
        %b = flow.pure(@render, %y) : text
        %z = flow.pure(@concat, %a, %x, %b) : text
        flow.yield(%z)
      } : list<text>
      sem.return(%zs) {names = ["zs"]}
    }''', {"xs": ["a", "b", "c"], "ys": [7, 8]})
    assert result.outputs == {"zs": ["0a7", "1b8"]}


def test_for_gives_several_lists(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<int>| {
      %ys, %zs = flow.for(%xs) |%i: int, %x: int| {
        %y = flow.pure(@add, %x, %x) : int
        flow.yield(%y, %i)
      } : list<int>, list<int>
      sem.return(%ys, %zs) {names = ["ys", "zs"]}
    }''', {"xs": [5, 6]})
    assert result.outputs == {"ys": [10, 12], "zs": [0, 1]}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_fold_carries_and_gives_the_seed_for_nothing(execute: Any, count: int) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<text>| {
      %s = flow.const("seed") : text
      %r = flow.fold(%xs, %s) |%i: int, %x: text, %acc: text| {
        %n = flow.pure(@concat, %acc, %x) : text
        flow.yield(%n)
      } : text
      sem.return(%r) {names = ["r"]}
    }''', {"xs": list("abcde"[:count])})
    assert result.outputs == {"r": "seed" + "abcde"[:count]}


@pytest.mark.parametrize(("start", "limit", "expected", "turns"),
                         [(0, 10, 5, 5), (0, 3, 3, 3), (7, 10, 7, 0), (0, 0, 0, 0)])
def test_loop_ends_by_condition_or_limit(execute: Any, start: int, limit: int, expected: int, turns: int) -> None:
    result = execute('''
    sem.program(@Main) |%start: int, %limit: int| {
      %zero = flow.const(0) : int
      %one = flow.const(1) : int
      %five = flow.const(5) : int
      %n, %t = flow.loop(%limit, %start, %zero) |%a: int, %b: int| {
        %more = flow.pure(@lt, %a, %five) : bool
        flow.yield(%more)
      } do |%turn: int, %c: int, %d: int| {
        %next = flow.pure(@add, %c, %one) : int
        %taken = flow.pure(@add, %turn, %one) : int
        flow.yield(%next, %taken)
      } : int, int
      sem.return(%n, %t) {names = ["n", "t"]}
    }''', {"start": start, "limit": limit})
    assert result.outputs == {"n": expected, "t": turns}


def test_regions_see_values_from_all_regions_around_them(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%xs: list<int>, %k: int| {
      %ys = flow.for(%xs) |%i: int, %x: int| {
        %zs = flow.for(%xs) |%j: int, %y: int| {
          %a = flow.pure(@mul, %x, %y) : int
          %b = flow.pure(@add, %a, %k) : int
          flow.yield(%b)
        } : list<int>
        %s = flow.pure(@sum, %zs) : int
        flow.yield(%s)
      } : list<int>
      sem.return(%ys) {names = ["ys"]}
    }''', {"xs": [1, 2, 3], "k": 100})
    assert result.outputs == {"ys": [306, 312, 318]}


LAZY_MAP = HOSTS + '''
sem.program(@Main) |%xs: list<text>| {
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %y = flow.host(@note, %x) : text
    flow.yield(%y)
  } : list<text>
  %zs = flow.for(%ys) |%i2: int, %y2: text| {
    %z = flow.host(@use, %y2) : text
    flow.yield(%z)
  } : list<text>
  sem.return(%zs) {names = ["zs"]}
}'''


def test_consumers_of_a_list_start_on_each_element_when_it_is_there(execute: Any, host: Host) -> None:
    used = threading.Event()

    @host
    def note(x: str) -> str:
        if x == "second":
            assert used.wait(20), "the first element was not used before the second was made"
        return x

    @host
    def use(x: str) -> str:
        used.set()
        return x + "!"

    assert execute(LAZY_MAP, {"xs": ["first", "second"]}).outputs == {"zs": ["first!", "second!"]}


def test_fold_starts_on_the_first_element_of_a_map(execute: Any, host: Host) -> None:
    used = threading.Event()

    @host
    def note(x: str) -> str:
        if x == "second":
            assert used.wait(20), "the fold waited for the whole list"
        return x

    @host
    def use(x: str) -> str:
        used.set()
        return x

    result = execute(HOSTS + '''
    sem.program(@Main) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.host(@note, %x) : text
        flow.yield(%y)
      } : list<text>
      %s = flow.const("") : text
      %r = flow.fold(%ys, %s) |%i2: int, %y2: text, %acc: text| {
        %joined = flow.pure(@concat, %acc, %y2) : text
        %z = flow.host(@use, %joined) : text
        flow.yield(%z)
      } : text
      sem.return(%r) {names = ["r"]}
    }''', {"xs": ["first", "second"]})
    assert result.outputs == {"r": "firstsecond"}


def test_a_field_does_not_wait_for_its_siblings(execute: Any, host: Host) -> None:
    used = threading.Event()

    @host
    def note(x: str) -> str:
        assert used.wait(20), "the field waited for the whole record"
        return x

    @host
    def use(x: str) -> str:
        used.set()
        return x

    result = execute(HOSTS + '''
    sem.program(@Main) |%x: text| {
      %slow = flow.host(@note, %x) : text
      %r = flow.pure(@record, %slow, %x) : record<a: text, b: text>
      %b = flow.pure(@field, %r) {name = "b"} : text
      %z = flow.host(@use, %b) : text
      %list = flow.pure(@list, %slow, %z) : list<text>
      %zero = flow.const(1) : int
      %first = flow.pure(@index, %list, %zero) : option<text>
      sem.return(%r, %first) {names = ["r", "first"]}
    }''', {"x": "v"})
    assert result.outputs == {"r": {"a": "v", "b": "v"}, "first": "v"}


def test_structural_functions_move_elements_that_are_not_known_yet(execute: Any, host: Host) -> None:
    used = threading.Event()

    @host
    def note(x: str) -> str:
        if x == "slow":
            assert used.wait(20), "a structural function waited for an element that it only moves"
        return x

    @host
    def use(x: str) -> str:
        used.set()
        return x

    result = execute(HOSTS + '''
    sem.program(@Main) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.host(@note, %x) : text
        flow.yield(%y)
      } : list<text>
      %back = flow.pure(@reverse, %ys) : list<text>
      %pairs = flow.pure(@enumerate, %back) : list<record<index: int, value: text>>
      %both = flow.pure(@zip, %pairs, %ys) : list<record<first: record<index: int, value: text>, second: text>>
      %one = flow.const(1) : int
      %none = flow.const(none) : option<int>
      %tail =
        flow.pure(@slice, %both, %one, %none) : list<record<first: record<index: int, value: text>, second: text>>
      %nested = flow.pure(@list, %tail) : list<list<record<first: record<index: int, value: text>, second: text>>>
      %flat = flow.pure(@flatten, %nested) : list<record<first: record<index: int, value: text>, second: text>>
      %n = flow.pure(@len, %flat) : int
      %zero = flow.const(0) : int
      %item = flow.pure(@index, %flat, %zero) : option<record<first: record<index: int, value: text>, second: text>>
      %sure = flow.pure(@unwrap, %item) : record<first: record<index: int, value: text>, second: text>
      %first = flow.pure(@field, %sure) {name = "first"} : record<index: int, value: text>
      %value = flow.pure(@field, %first) {name = "value"} : text
      %z = flow.host(@use, %value) : text
      sem.return(%flat, %n, %z) {names = ["flat", "n", "z"]}
    }''', {"xs": ["quick", "slow"]})
    flat = [{"first": {"index": 1, "value": "quick"}, "second": "slow"}]
    assert result.outputs == {"flat": flat, "n": 1, "z": "quick"}


def test_a_record_of_a_pure_region_is_there_before_its_slow_field(execute: Any, host: Host) -> None:
    """A pure branch is evaluated on the spot although one of its values is not known yet."""
    used = threading.Event()

    @host
    def note(x: str) -> str:
        assert used.wait(20)
        return x

    @host
    def use(x: str) -> str:
        used.set()
        return x

    result = execute(HOSTS + '''
    sem.program(@Main) |%x: text, %c: bool| {
      %slow = flow.host(@note, %x) : text
      %r = flow.if(%c) {
        %both = flow.pure(@list, %x, %slow) : list<text>
        flow.yield(%both)
      } else {
        %other = flow.pure(@list, %x) : list<text>
        flow.yield(%other)
      } : list<text>
      %zero = flow.const(0) : int
      %first = flow.pure(@index, %r, %zero) : option<text>
      %sure = flow.pure(@unwrap, %first) : text
      %z = flow.host(@use, %sure) : text
      sem.return(%r, %z) {names = ["r", "z"]}
    }''', {"x": "v", "c": True})
    assert result.outputs == {"r": ["v", "v"], "z": "v"}


def test_pure_regions_wait_where_they_need_a_value(execute: Any, host: Host) -> None:
    @host
    def note(x: str) -> str:
        return x + x

    result = execute('''
    sem.host(@note) {target = "executor_test_hosts:note", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.host(@note, %x) : text
        flow.yield(%y)
      } : list<text>
      %ns = flow.for(%ys) |%i2: int, %y2: text| {
        %n = flow.pure(@len, %y2) : int
        flow.yield(%n)
      } : list<int>
      %zero = flow.const(0) : int
      %total = flow.fold(%ns, %zero) |%i3: int, %n3: int, %acc: int| {
        %sum = flow.pure(@add, %acc, %n3) : int
        flow.yield(%sum)
      } : int
      %hundred = flow.const(100) : int
      %grown = flow.loop(%hundred, %total) |%a: int| {
        %more = flow.pure(@lt, %a, %hundred) : bool
        flow.yield(%more)
      } do |%turn: int, %b: int| {
        %twice = flow.pure(@add, %b, %b) : int
        flow.yield(%twice)
      } : int
      sem.return(%ns, %total, %grown) {names = ["ns", "total", "grown"]}
    }''', {"xs": ["a", "bb", "ccc"]})
    assert result.outputs == {"ns": [2, 4, 6], "total": 12, "grown": 192}


def test_loops_may_hold_calls(execute: Any, host: Host) -> None:
    @host
    def note(x: str) -> str:
        return x + "."

    result = execute('''
    sem.host(@note) {target = "executor_test_hosts:note", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%x: text, %limit: int| {
      %four = flow.const(4) : int
      %r = flow.loop(%limit, %x) |%a: text| {
        %n = flow.pure(@len, %a) : int
        %more = flow.pure(@lt, %n, %four) : bool
        flow.yield(%more)
      } do |%turn: int, %b: text| {
        %longer = flow.host(@note, %b) : text
        flow.yield(%longer)
      } : text
      sem.return(%r) {names = ["r"]}
    }''', {"x": "", "limit": 100})
    assert result.outputs == {"r": "...."}
