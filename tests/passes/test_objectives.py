"""What `propagate-objectives` says of single programs: deadlines of one value, slack before branches and loops."""

import pytest
from semlang.backend.embedded import embedded_tokenizer
from semlang.ir.core import Word, walk
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.passes.cost_model import CostModel
from semlang.passes.manager import run_pipeline
from semlang.passes.propagate_objectives import PropagateObjectives

A_SECOND = CostModel(step=1.0, batch=0, prefill_token=0, decode_row=0, kv_token=0, attention=0, call=0)
"""A token takes a second and nothing else takes any time."""
TARGET = Target({"": ModelTarget(embedded_tokenizer(), 100_000, costs=A_SECOND)}, "torch")


def call(name: str, *pieces: str, tokens: int = 10) -> str:
    return (f"%f_{name} = engine.fill({', '.join(['engine.root', *pieces])}) : ctx\n"
            f'%{name}, %c_{name} = engine.generate(%f_{name}) {{output = "{name}", osl = [1, {tokens}]}} : text, ctx\n')


def said(body: str, returned: str, objectives: str) -> dict[str, tuple[Word, float]]:
    """Objective and slack of each call by its output."""
    names = ", ".join(f'"y{number}"' for number in range(returned.count("%")))
    module = parse_module(SourceFile("test.sir", f"sem.program(@Main) |%a: text| {{\n{body}sem.return({returned}) "
                                                 f"{{names = [{names}], objective = [{objectives}]}}\n}}"))
    run_pipeline(module, [PropagateObjectives()], TARGET)
    found: dict[str, tuple[Word, float]] = {}
    for op in walk(module.ops):
        if op.name == "engine.generate":
            objective, slack = op.attributes["objective"], op.attributes["slack"]
            assert isinstance(objective, Word) and isinstance(slack, float)
            found[str(op.attributes["output"])] = objective, slack
    return found


@pytest.mark.parametrize("objectives", ["deadline(20), deadline(50)", "deadline(50), deadline(20)"])
def test_of_two_deadlines_of_one_value_the_sooner_counts(objectives: str) -> None:
    found = said(call("c", "%a") + call("d", "%c"), "%d, %d", objectives)
    assert [found[name][0].arguments for name in "cd"] == [(10.0,), (20.0,)]


def test_what_decides_about_a_branch_is_on_its_chain() -> None:
    """The condition takes 10 s and the branch 10 s; beside them is a call of 15 s."""
    body = (call("c", "%a") + "%w = flow.pure(@eq, %c, %a) : bool\n%v = flow.if(%w) {\n" + call("d", "%a")
            + "flow.yield(%d)\n} else {\nflow.yield(%a)\n} : text\n" + call("e", "%a", tokens=15))
    found = said(body, "%v, %e", "latency, latency")
    assert {name: slack for name, (_, slack) in found.items()} == {"c": 0.0, "d": 0.0, "e": 5.0}


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_a_loop_is_as_long_as_its_turns(turns: int) -> None:
    """Beside a loop whose turns take 10 s each stands a call of 10 s."""
    elements = ", ".join(f'"{number}"' for number in range(turns))
    body = (f"%xs = flow.const([{elements}]) : list<text>\n"
            "%v = flow.fold(%xs, %a) |%i: int, %x: text, %s: text| {\n" + call("c", "%s")
            + "flow.yield(%c)\n} : text\n" + call("e", "%a"))
    found = said(body, "%v, %e", "latency, latency")
    assert found["c"][1] == 0.0 and found["e"][1] == 10.0 * (turns - 1)
