"""What a run of a module is expected to take, whatever stage of compilation it has reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.core import Module, Op, walk
from ..ir.definition import Level
from ..ir.levels import levels_of
from ..ir.target import Target
from ..ir.values import RuntimeValue
from ..passes.cost_model import cost_model_of
from ..passes.forecast import forecast
from ..passes.manager import parse_pipeline, run_pipeline
from ..passes.planner import Order
from ..passes.static_knowledge import static_knowledge
from .assumptions import Assumed, Assumption
from .executions import Executions
from .prefix_tree import PrefixTree

LOWERING = {
    Level.PROMPT: "tokenize,dce,bound-lengths,lower-engine,free-contexts",
    Level.ENGINE: "bound-lengths",
}


@dataclass(frozen=True)
class Prediction:
    """Expectations of one run: tokens and calls are counted, times are seconds by the cost model."""

    calls: float
    prompt_tokens: float
    filled_tokens: float
    generated_tokens: float
    makespan_s: float
    peak_kv_tokens: int

    def to_json(self) -> dict[str, float]:
        """The numbers by name, rounded to what is meant."""
        return {"calls": tidy(self.calls), "prompt_tokens": tidy(self.prompt_tokens),
                "filled_tokens": tidy(self.filled_tokens), "generated_tokens": tidy(self.generated_tokens),
                "makespan_s": self.makespan_s, "peak_kv_tokens": self.peak_kv_tokens}


class Analysis:
    """What is known of a module at engine level, with `arguments` where they are given."""

    def __init__(self, module: Module, target: Target, arguments: Mapping[str, RuntimeValue]) -> None:
        self.module = module
        self.target = target
        self.arguments = arguments
        self.program = next(op for op in module.ops if op.name == "sem.program")
        self._static = static_knowledge(module, target, arguments)
        self.lengths = self._static.lengths
        self.knowledge = Assumed(self._static, target)
        self.executions = Executions(self.program, self.knowledge, self.lengths)
        self.tree = PrefixTree(self.program, self.knowledge, self.lengths, self.executions)
        self.costs = cost_model_of(target)
        self.prediction = self._predict()

    @property
    def assumptions(self) -> list[Assumption]:
        """What had to be assumed, in textual order."""
        order = {op: number for number, op in enumerate(walk([self.program]))}
        return sorted(self.knowledge.assumptions.values(), key=lambda a: order.get(a.op, 0))

    def _predict(self) -> Prediction:
        found = forecast(self.program, Order(self.program, self.knowledge), self.knowledge, self.costs)
        filled = sum(self._filled(op) for op in walk([self.program]) if op.name == "engine.fill")
        return Prediction(found.calls, found.prompt_tokens, filled, found.generated_tokens, found.makespan_s,
                          found.peak_kv_tokens)

    def _filled(self, op: Op) -> float:
        node = self.tree.node(op)
        return node.tokens * node.count if node.uses else 0.0


def lowered(module: Module, target: Target) -> Module:
    """`module` at engine level: what is missing is done, in place. InputError where that is not possible."""
    level = Level.ENGINE if Level.ENGINE in levels_of(module) else Level.PROMPT
    run_pipeline(module, parse_pipeline(LOWERING[level]), target)
    return module


def tidy(number: float) -> float:
    """A whole number as an int, any other one with one digit."""
    return int(number) if number == int(number) else round(number, 1)
