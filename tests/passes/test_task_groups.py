"""Task groups by example: which calls are wanted together, and which are not."""

from __future__ import annotations

import pytest
from semlang.backend.embedded import embedded_tokenizer
from semlang.ir.core import Op, Symbol, Word, walk
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.ir.verifier import verify
from semlang.passes.manager import parse_pipeline, run_pipeline
from semlang.passes.planner import Knowledge, Order
from semlang.passes.turns import serial
from unrolled import waiting_together

TARGET = Target({"": ModelTarget(embedded_tokenizer(), 100_000), "big": ModelTarget(embedded_tokenizer(), 100_000)})
HOST = 'sem.host(@ask) {target = "m:ask", parameters = {x = !text}, result = !text}\n'
LONG = f'tokens<100 : "{"a" * 100}" : {list(range(100))}>'


def call(name: str, *pieces: str, on: str = "engine.root", **attributes: str) -> str:
    """A call whose output is `%name`, of a prompt of `pieces`."""
    options = "".join(f", {key} = {value}" for key, value in attributes.items())
    return (f"%f_{name} = engine.fill({', '.join([on, *pieces])}) : ctx\n"
            f'%{name}, %c_{name} = engine.generate(%f_{name}) {{output = "{name}"{options}}} : text, ctx\n')


def program(body: str, returned: str, objectives: str = "") -> str:
    names = ", ".join(f'"y{number}"' for number in range(returned.count("%") - returned.count("%e")))
    given = f", objective = [{objectives}]" if objectives else ""
    return (f"{HOST}sem.program(@Main) |%task: text, %flag: bool, %xs: list<text>, %e: effect| {{\n{body}"
            f"sem.return({returned}) {{names = [{names}]{given}}}\n}}")


def grouped(text: str, passes: str = "propagate-objectives,fuse-task-groups") -> tuple[dict[str, str], dict[str, Op]]:
    """The group of each output, and the declarations. No call may wait for one of its group."""
    module = parse_module(SourceFile("groups.sir", text))
    verify(module)
    run_pipeline(module, parse_pipeline(passes), TARGET)
    verify(module)
    main = module.ops[-1]
    assert not waiting_together(main, serial(Order(main, Knowledge())), turns=4)
    groups: dict[str, str] = {}
    for op in walk(module.ops):
        group = op.attributes.get("group")
        if isinstance(group, Symbol):
            groups[str(op.attributes["output"])] = group.name
    return groups, {op.symbol: op for op in walk(module.ops) if op.name == "engine.group"}


def sets(groups: dict[str, str]) -> set[str]:
    """Each group as the letters of its outputs."""
    found: dict[str, str] = {}
    for output, group in groups.items():
        found[group] = found.get(group, "") + output
    return set(found.values())


def test_calls_that_feed_one_call_are_a_group() -> None:
    text = program(call("a1", "%task") + call("b1", '"b"') + call("c1", "%a1", "%b1"), "%c1, %e")
    groups, declared = grouped(text)
    assert groups == {"a1": "g0", "b1": "g0", "c1": "g1"}
    assert [declared[g].attributes["size"] for g in ("g0", "g1")] == [2, 1]


def test_equal_stages_of_parallel_branches_are_groups() -> None:
    left = call("a", '"l"') + call("b", "%a")
    right = call("c", '"r"') + call("d", "%c")
    groups, _ = grouped(program(left + right + call("z", "%b", "%d"), "%z, %e"))
    assert sets(groups) == {"ac", "bd", "z"}


def test_what_meets_late_is_counted_from_the_end() -> None:
    """`c` has nothing to wait for, but it is wanted only with `b`."""
    text = program(call("a", '"l"') + call("b", "%a") + call("c", '"r"') + call("z", "%b", "%c"), "%z, %e")
    assert sets(grouped(text)[0]) == {"a", "bc", "z"}


def test_outputs_of_their_own_are_apart() -> None:
    text = program(call("a", '"l"') + call("b", '"r"'), "%a, %b, %e", "latency, latency")
    assert sets(grouped(text)[0]) == {"a", "b"}


@pytest.mark.parametrize(("pieces", "together"), [(LONG, {"cd"}), ('tokens<2 : "ab" : [1, 2]>', {"c", "d"}),
                                                 ("%task", {"cd"})])
def test_a_shared_prefix_makes_a_group(pieces: str, together: set[str]) -> None:
    head = f"%h = engine.fill(engine.root, {pieces}) : ctx\n"
    text = program(head + call("c", '"c"', on="%h") + call("d", '"d"', on="%h"), "%c, %d, %e", "latency, latency")
    assert sets(grouped(text)[0]) == together


def test_calls_on_different_models_are_apart() -> None:
    text = program(call("c", "%task") + call("d", "%task").replace("%task) :", '%task) {model = "big"} :')
                   + call("z", "%c", "%d"), "%z, %e")
    assert sets(grouped(text)[0]) == {"c", "d", "z"}


def test_kinds_of_objectives_are_apart() -> None:
    text = program(call("c", "%task") + call("d", "%task") + "%l = flow.pure(@concat, %c, %d) : text\n", "%l, %c, %e",
                   "throughput, latency")
    assert sets(grouped(text)[0]) == {"c", "d"}


def test_a_group_has_the_strictest_deadline() -> None:
    body = call("c", "%task") + call("d", "%task") + call("z", "%c", "%d") + call("u", "%c", max_tokens="1")
    groups, declared = grouped(program(body, "%z, %u, %e", "deadline(20), deadline(1)"))
    assert groups["c"] == groups["d"] != groups["z"]
    objective = declared[groups["c"]].attributes["objective"]
    assert isinstance(objective, Word) and objective.name == "deadline"
    (seconds,) = objective.arguments
    assert isinstance(seconds, float) and seconds < 1, "that of %c, for which %u waits"


MAP = "%{r} = flow.for({xs}) |%i_{r}: int, %x_{r}: text| {{\n{body}flow.yield({y})\n}} : list<{t}>\n"


def mapped(result: str, lists: str, body: str, yielded: str, type: str = "text") -> str:
    return MAP.format(r=result, xs=lists, body=body, y=yielded, t=type)


def test_a_map_and_a_map_in_a_map() -> None:
    inner = mapped("ys", "%xs", call("a", "%x_ys", "%x_zs"), "%a")
    body = mapped("zs", "%xs", inner + "%l = flow.pure(@join, %ys) : text\n" + call("b", "%l"), "%b")
    groups, declared = grouped(program(body, "%zs, %e"))
    assert sets(groups) == {"a", "b"}
    assert all("size" not in op.attributes for op in declared.values())


def test_the_size_of_a_map_over_a_constant_list() -> None:
    body = '%k = flow.const(["p", "q", "r"]) : list<text>\n' + mapped(
        "ys", "%k", call("a", "%x_ys") + call("b", "%x_ys", n="2", temperature="1.0").replace(
            ": text, ctx", ": list<text>, ctx") + "%l = flow.pure(@join, %b) : text\n"
        "%y = flow.pure(@concat, %a, %l) : text\n", "%y")
    groups, declared = grouped(program(body, "%ys, %e"))
    assert sets(groups) == {"ab"}
    assert declared[groups["a"]].attributes["size"] == 3 * (1 + 2)


def test_both_branches_are_one_group_of_which_one_runs() -> None:
    def branch(then: str, other: str) -> str:
        return (f"%v = flow.if(%flag) {{\n{then}flow.yield(%c)\n}} else {{\n{other}flow.yield(%d)\n}} : text\n")
    groups, declared = grouped(program(branch(call("c", "%task"), call("d", '"d"')), "%v, %e"))
    assert groups["c"] == groups["d"] and declared[groups["c"]].attributes["size"] == 1
    groups, declared = grouped(program(branch(call("c", "%task"), "%d = flow.pure(@upper, %task) : text\n"), "%v, %e"))
    assert "size" not in declared[groups["c"]].attributes


def test_a_condition_is_waited_for() -> None:
    body = (call("c", "%task") + "%w = flow.pure(@eq, %c, %task) : bool\n"
            f"%v = flow.if(%w) {{\n{call('d', '%task')}flow.yield(%d)\n}} else {{\nflow.yield(%task)\n}} : text\n")
    groups, declared = grouped(program(body, "%v, %e"))
    assert groups["c"] != groups["d"]
    assert declared[groups["c"]].attributes["depth"] == 1


def test_turns_have_groups_of_their_own() -> None:
    body = ("%v = flow.fold(%xs, %task) |%i: int, %x: text, %s: text| {\n"
            + mapped("ys", "%xs", call("c", "%x_ys", "%s"), "%c") + "%l = flow.pure(@join, %ys) : text\n"
            + call("d", "%l") + "flow.yield(%d)\n} : text\n" + call("z", "%v"))
    groups, declared = grouped(program(body, "%v, %z, %e"))
    assert sets(groups) == {"c", "d", "z"}
    assert [declared[groups[name]].attributes["depth"] for name in "cdz"] == [2, 1, 0]


def test_a_fold_whose_turns_need_not_wait_is_a_map() -> None:
    body = ("%v = flow.fold(%xs, %task) |%i: int, %x: text, %s: text| {\n" + call("c", "%x")
            + "%t = flow.pure(@concat, %s, %c) : text\nflow.yield(%t)\n} : text\n" + call("d", "%task")
            + call("z", "%v", "%d"))
    assert sets(grouped(program(body, "%z, %e"))[0]) == {"cd", "z"}


def effect_map(first: str, second: str, attributes: str = "") -> str:
    return (f"%ys, %e1 = flow.for(%xs, %e) {attributes}|%i: int, %x: text, %h: effect| {{\n{first}{second}"
            "flow.yield(%y, %h2)\n} : list<text>, effect\n")


ASKED_FIRST = ("%q, %h1 = flow.host(@ask, %x, %h) : text, effect\n" + call("c", "%q"),
               call("d", "%x") + "%y, %h2 = flow.host(@ask, %d, %h1) : text, effect\n"
               "%y2 = flow.pure(@concat, %y, %c) : text\n")


@pytest.mark.parametrize(("attributes", "together"), [("", {"cd", "z"}), ("{unordered = true} ", {"cdz"})])
def test_elements_that_wait_through_effects_are_turns(attributes: str, together: set[str]) -> None:
    """`c` of an element waits for `d` of the one before, through the host; so it does not where order is dropped."""
    body = effect_map(*ASKED_FIRST, attributes).replace("flow.yield(%y,", "flow.yield(%y2,") + call("z", "%task")
    text = program(body + "%l = flow.pure(@join, %ys) : text\n%v = flow.pure(@concat, %l, %z) : text\n", "%v, %e1")
    assert sets(grouped(text)[0]) == together


def test_what_an_effect_of_the_next_element_waits_for_comes_first() -> None:
    """`z` feeds the effect that the next element's call waits for, so it must not be in a group with what follows."""
    first = "%q, %h1 = flow.host(@ask, %x, %h) : text, effect\n"
    second = "%y, %h2 = flow.host(@ask, %z, %h1) : text, effect\n%y2 = flow.pure(@concat, %q, %x) : text\n"
    body = call("z", "%task") + effect_map(first, second).replace("flow.yield(%y,", "flow.yield(%y2,")
    body += "%l = flow.pure(@join, %ys) : text\n" + call("w", "%l")
    groups, _ = grouped(program(body + "%v, %e2 = flow.host(@ask, %w, %e1) : text, effect\n", "%v, %e2"))
    assert groups["z"] != groups["w"]


def test_values_that_turns_hand_to_one_another_are_followed() -> None:
    """`c` reaches the first result only after two turns: by way of the second."""
    body = call("c", "%task") + (
        "%v, %w, %u = flow.fold(%xs, %task, %task, %c) |%i: int, %x: text, %p: text, %q: text, %r: text| {\n"
        "flow.yield(%q, %r, %x)\n} : text, text, text\n") + call("d", "%v")
    groups, declared = grouped(program(body + "%l = flow.pure(@concat, %u, %d) : text\n", "%l, %c, %e"))
    assert groups["c"] != groups["d"]
    assert declared[groups["c"]].attributes["depth"] == 1


def test_carried_values_that_stay_apart_do_not_wait() -> None:
    """Two chats in one fold: nothing of the first is in the second."""
    body = ("%v, %w = flow.fold(%xs, %task, %task) |%i: int, %x: text, %p: text, %q: text| {\n" + call("c", "%p")
            + call("d", "%q") + "flow.yield(%c, %d)\n} : text, text\n" + call("z", "%v"))
    _, declared = grouped(program(body, "%z, %w, %e"))
    assert sorted(str(op.attributes["depth"]) for op in declared.values()) == ["0", "0", "1"]


def test_a_loop_waits_for_its_condition() -> None:
    body = ("%n = flow.const(3) : int\n%v = flow.loop(%n, %task) |%s: text| {\n" + call("c", "%s")
            + "%w = flow.pure(@eq, %c, %s) : bool\nflow.yield(%w)\n} do |%t: int, %s2: text| {\n" + call("d", '"go"')
            + "%r = flow.pure(@concat, %s2, %d) : text\nflow.yield(%r)\n} : text\n")
    groups, declared = grouped(program(body, "%v, %e"))
    assert [declared[groups[name]].attributes["depth"] for name in "cd"] == [1, 0]


def test_groups_that_lost_their_calls_are_dropped_and_what_others_said_stays() -> None:
    text = program(call("c", "%task"), "%c, %e", "latency").replace(
        "%f_c =", "engine.group(@old) {batch = 4}\nengine.group(@gone) {batch = 9}\n%f_c =").replace(
        'output = "c"', 'output = "c", group = @old')
    groups, declared = grouped(text)
    assert groups == {"c": "g0"} and list(declared) == ["g0"]
    assert declared["g0"].attributes["batch"] == 4
