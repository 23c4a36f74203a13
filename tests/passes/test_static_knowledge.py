"""What is known before a run: constants, bounds and arguments, and the forecast that they give."""

from typing import Any

from byte_tokenizer import ByteTokenizer
from semlang.ir.core import Module, Op, walk
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.passes.cost_model import CostModel
from semlang.passes.forecast import Forecast, forecast
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline
from semlang.passes.planner import Order
from semlang.passes.static_knowledge import static_knowledge


class Bytes(ByteTokenizer):
    """Never more tokens than bytes."""

    bytes_bound_tokens = True


PROGRAM = '''
sem.program(@Main) |%xs: list<text>, %n: int, %flag: bool| {
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %0 = prompt.start() : prompt
    %1 = prompt.append(%0, "word: ") : prompt
    %2 = prompt.append(%1, %x) : prompt
    %y, %3 = prompt.generate(%2, %n) {output = "y", options = ["max_tokens"]} : text, prompt
    flow.yield(%y)
  } : list<text>
  %z = flow.if(%flag) {
    %4 = prompt.start() : prompt
    %5 = prompt.append(%4, "once more") : prompt
    %w, %6 = prompt.generate(%5) {output = "w", max_tokens = 3} : text, prompt
    flow.yield(%w)
  } else {
    %none = flow.const("") : text
    flow.yield(%none)
  } : text
  sem.return(%ys, %z) {names = ["ys", "z"]}
}'''


def compiled() -> tuple[Module, Target]:
    module = parse_module(SourceFile("test.sir", PROGRAM))
    target = Target({"": ModelTarget(Bytes(), 4096)})
    run_pipeline(module, pipeline(0), target)
    return module, target


def predicted(arguments: dict[str, Any] | None) -> Forecast:
    module, target = compiled()
    knowledge = static_knowledge(module, target, arguments)
    (program,) = module.ops
    return forecast(program, Order(program, knowledge), knowledge, CostModel())


def test_arguments_decide_turns_lengths_options_and_branches() -> None:
    seen = predicted({"xs": ["abc", "abc"], "n": 4, "flag": True})
    assert seen.unknown == 0
    assert seen.calls == 3 and seen.generated_tokens == 2 * 4 + 3
    assert seen.prompt_tokens == 2 * (6 + 3) + 9
    assert predicted({"xs": ["abc"], "n": 4, "flag": False}).calls == 1


def test_without_arguments_loops_are_unknown() -> None:
    seen = predicted(None)
    assert seen.unknown > 0 and seen.calls == 0.5


def test_what_is_not_known_is_none() -> None:
    module, target = compiled()
    knowledge = static_knowledge(module, target)
    ops = {op.name: op for op in walk(module.ops)}
    loop, branch = ops["flow.for"], ops["flow.if"]
    assert knowledge.trips(loop) is None and knowledge.most_trips(loop) is None
    assert knowledge.share(branch, 0) == knowledge.share(branch, 1) == 0.5
    fills: list[Op] = [op for op in walk(module.ops) if op.name == "engine.fill" and len(op.args) == 3]
    assert [knowledge.longest_piece(op, 1) for op in fills] == [None]
