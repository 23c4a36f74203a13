"""What the planner says of each generate of a program: objective, depth, slack, share of a deadline.

At compile time with what is known of a program by itself, at run time again with what a run has shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.core import Module, Op, Word
from ..ir.target import Target
from .chains import Chains, Itinerary
from .cost_model import CostModel, cost_model_of
from .durations import durations
from .effects import GENERATES
from .expected_lengths import ExpectedLengths
from .objectives import latest_ends, objectives
from .planner import Knowledge, Order
from .shared_analyses import known, shared
from .static_knowledge import StaticKnowledge, static_knowledge


class Plan:
    """See the module's docstring. `costs`: of the engine that runs a fill or generate."""

    def __init__(self, program: Op, knowledge: Knowledge, costs: Callable[[Op], CostModel]) -> None:
        self.program = program
        self.order = Order(program, knowledge)
        self.home = {op: region for region in self.order.regions() for op in region.ops if op.name in GENERATES}
        """The region of each generate, inner regions first."""
        way = Itinerary(program, self.order)
        self.lengths = ExpectedLengths(self.order, knowledge)
        """How long contexts and outputs are taken to be."""
        self.lengths.measure(program)
        self.calls = Chains(way, dict.fromkeys(self.home, 1.0), knowledge.trips)
        self.seconds = Chains(way, durations(program, self.lengths, costs), knowledge.trips)

    def objectives(self) -> dict[Op, Word]:
        """The objective of each generate, in textual order."""
        return objectives(self.program, self.seconds)

    def latest_ends(self) -> dict[Op, float]:
        """When calls of the first turns must have ended for the deadlines of outputs, in seconds of the run."""
        return latest_ends(self.program, self.seconds)

    def depth(self, op: Op) -> int:
        """The generates that follow `op` one after another, in the last turn of every loop around it."""
        return round(self.calls.last_turn(op, self.home[op]))

    def slack(self, op: Op) -> float:
        """Seconds by which `op` may end late without delaying the end of the run."""
        return self.seconds.slack(op)

    def turn(self, loop: Op) -> tuple[float, float]:
        """What each further turn of a fold or loop adds to the chains through it: generates, and seconds."""
        return self.calls.carried.get(loop, 0.0), self.seconds.carried.get(loop, 0.0)


@dataclass(frozen=True)
class StaticPlans:
    """The plan of each program of a module, and what it was made with: all that is known before any run."""

    knowledge: StaticKnowledge
    costs: Callable[[Op], CostModel]
    plans: tuple[Plan, ...]


def plans_of(module: Module, target: Target) -> StaticPlans:
    """The plans of a module. Passes that only annotate have them in common (`shared_analyses`)."""
    return shared(module, target, "plans", _plans_of)


def known_plans(module: Module, target: Target) -> StaticPlans | None:
    """The plans of a module, if a pass before has made them."""
    found = known(module, target, "plans")
    assert found is None or isinstance(found, StaticPlans)
    return found


def _plans_of(module: Module, target: Target) -> StaticPlans:
    knowledge = static_knowledge(module, target)
    costs = static_costs(knowledge, target)
    return StaticPlans(knowledge, costs, tuple(
        Plan(program, knowledge, costs) for program in module.ops if program.name == "sem.program"))


def static_costs(knowledge: StaticKnowledge, target: Target) -> Callable[[Op], CostModel]:
    """The costs of the engine that a fill or generate runs on; the default engine's where only a run decides."""
    known: dict[str, CostModel] = {}

    def costs(op: Op) -> CostModel:
        context = op.operands[0] if op.name in GENERATES else op.result
        alias = knowledge.lengths.model(context) or ""
        if alias not in known:
            known[alias] = cost_model_of(target, alias)
        return known[alias]

    return costs
