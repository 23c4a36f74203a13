"""The planner at compile time: stages, depths and spans of regions, and the forecast with little knowledge."""

from typing import Any

import pytest
from semlang.ir.core import Module, Op, walk
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.passes.cost_model import CostModel
from semlang.passes.forecast import Forecast, forecast
from semlang.passes.planner import Knowledge, Order

PROGRAM = '''
sem.program(@Main) |%xs: list<text>, %c: bool| {
  %0 = engine.fill(engine.root, tokens<3 : "abc" : [1, 2, 3]>) : ctx
  %a, %1 = engine.generate(%0) {output = "a", osl = [1, 10]} : text, ctx
  %b, %2 = engine.generate(%0) {output = "b", osl = [1, 4]} : text, ctx
  %3 = engine.fill(%1, %b) : ctx
  %d, %4 = engine.generate(%3) {output = "d", osl = [1, 5]} : text, ctx
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %5 = engine.fill(engine.root, %d, %x) : ctx
    %e, %6 = engine.generate(%5) {output = "e", osl = [1, 8]} : text, ctx
    engine.free(%5, %6)
    flow.yield(%e)
  } : list<text>
  %r = flow.fold(%ys, %a) |%j: int, %y: text, %acc: text| {
    %7 = engine.fill(engine.root, %acc, %y) : ctx
    %f, %8 = engine.generate(%7) {output = "f", osl = [1, 6]} : text, ctx
    engine.free(%7, %8)
    flow.yield(%f)
  } : text
  %s = flow.if(%c) {
    %9 = engine.fill(engine.root, %r) : ctx
    %g, %10 = engine.generate(%9) {output = "g", osl = [1, 2]} : text, ctx
    engine.free(%9, %10)
    flow.yield(%g)
  } else {
    flow.yield(%r)
  } : text
  engine.free(%0, %1, %2, %3, %4)
  sem.return(%s) {names = ["s"]}
}'''


class Known(Knowledge):
    """Four elements, the condition holds, every unknown text has two tokens."""

    def trips(self, op: Op) -> float:
        return 4.0

    def share(self, op: Op, region: int) -> float:
        return 1.0 if region == 0 else 0.0

    def piece_tokens(self, op: Op, piece: int) -> float:
        return 2.0


def parsed() -> tuple[Module, dict[str, Op]]:
    module = parse_module(SourceFile("test.sir", PROGRAM))
    outputs = {str(op.attributes["output"]): op for op in walk(module.ops) if op.name == "engine.generate"}
    return module, outputs


def predicted(knowledge: Knowledge, **model: Any) -> Forecast:
    (program,) = parsed()[0].ops
    return forecast(program, Order(program, knowledge), knowledge, CostModel(**model))


def test_stages_and_depths_of_the_program() -> None:
    module, outputs = parsed()
    (program,) = module.ops
    region = program.regions[0]
    order = Order(program, Known()).of(region)
    loop = {op.name: op for op in region.ops}
    assert [order.stage[outputs[name]] for name in "abd"] == [0, 0, 1]
    # Below `a`: the fold's four turns and the branch. `d` needs `a` too, and the map stands between them.
    assert order.depth[outputs["d"]] == 1 + 4 + 1 and order.depth[outputs["a"]] == 7
    assert (order.stage[loop["flow.for"]], order.depth[loop["flow.for"]]) == (2, 5)
    assert (order.stage[loop["flow.fold"]], order.depth[loop["flow.fold"]]) == (3, 1)
    assert order.span == 2 + 1 + 4 + 1


def test_unknown_loops_count_as_one_turn() -> None:
    (program,) = parsed()[0].ops
    assert Order(program, Knowledge()).of(program.regions[0]).span == 2 + 1 + 1 + 1


def test_the_forecast_counts_calls_tokens_and_peak() -> None:
    seen = predicted(Known())
    assert seen.unknown == 0
    assert seen.calls == 3 + 4 + 4 + 1
    assert seen.generated_tokens == 10 + 4 + 5 + 4 * 8 + 4 * 6 + 2
    # Prompts: 3, 3, 3 + 10 + 4 (the text of `b`), four of 5 (`d`) + 2, four of 2 + 2, and 2.
    assert seen.prompt_tokens == 3 + 3 + 17 + 4 * 7 + 4 * 4 + 2
    assert seen.filled_tokens == 3 + 4 + 4 * 7 + 4 * 4 + 2, "the first fill serves two calls, and `d` goes on from `a`"
    # At the peak the four calls of the map hold prompt and output; of `d`'s context nothing is needed any more.
    assert seen.peak_kv_tokens == 4 * (7 + 8 - 1)


@pytest.mark.parametrize(("field", "value", "expected"), [
    ("step", 1.0, 10 + 5 + 8 + 4 * 6 + 2), ("decode_row", 1.0, 10 + 4 + 5 + 32 + 24 + 2),
    ("prefill_token", 1.0, 3 + 4 + 4 * 7 + 4 * 4 + 2),
    # Each token reads its prompt and half of its output.
    ("kv_token", 1.0, 10 * 8 + 4 * 5 + 5 * 19.5 + 4 * 8 * 11 + 4 * 6 * 7 + 2 * 3),
])
def test_seconds_are_those_of_the_cost_model(field: str, value: float, expected: float) -> None:
    model = {"step": 0.0, "batch": 0.0, "prefill_token": 0.0, "decode_row": 0.0, "kv_token": 0.0, field: value}
    assert predicted(Known(), **model).makespan_s == expected


def test_small_batches_take_turns() -> None:
    free = {"batch": 0.0, "prefill_token": 0.0, "decode_row": 0.0, "kv_token": 0.0, "step": 1.0}
    assert predicted(Known(), max_batch=2, **free).makespan_s == 10 + 5 + 2 * 8 + 4 * 6 + 2


def test_what_is_not_known_is_counted() -> None:
    seen = predicted(Knowledge())
    assert seen.unknown > 0 and seen.calls == 3


def test_the_planner_is_linear() -> None:
    """A chain of 5,000 calls is planned without recursion."""
    lines = "\n".join(
        f"%c{i} = engine.fill(engine.root, %y{i}) : ctx\n%y{i + 1}, %d{i} = engine.generate(%c{i}) "
        '{output = "y", osl = [1, 3]} : text, ctx' for i in range(5_000))
    text = f'sem.program(@Main) |%y0: text| {{\n{lines}\nsem.return(%y5000) {{names = ["y"]}}\n}}'
    (program,) = parse_module(SourceFile("test.sir", text)).ops
    order = Order(program, Known())
    assert order.of(program.regions[0]).span == 5_000
    assert forecast(program, order, Known(), CostModel()).generated_tokens == 15_000
