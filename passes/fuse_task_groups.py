"""`fuse-task-groups`: calls that are wanted together become a group, of which the last call counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from ..ir.core import Literal, Module, Op, Symbol, Value, walk
from ..ir.definition import Level
from ..ir.target import Target
from .base import Finding, Pass, Report
from .effects import GENERATES
from .plan import known_plans
from .planner import Knowledge
from .prompt_facts import PromptFacts
from .static_knowledge import static_knowledge
from .task_groups import Stages, TaskGroup, task_groups


@dataclass(frozen=True)
class FuseTaskGroups(Pass):
    """Calls that stand side by side and are wanted together become a task group, with one objective for all of them.

    For whoever waits for a group only its last call counts, so it may run in large batches as long as the whole is
    done early: its makespan is what its objective speaks of. This is the task group of Parrot (OSDI'24, section 5.2),
    which takes parallel calls of one stage from the end together. Here a group holds calls

    - of one stage: the same number of calls follows each of them, so none waits for another;
    - of the same kind of objective (the group has the strictest deadline), on the same model;
    - that lead, on the longest chain that follows, to the same output or to calls of one group: the calls of a map
      over all elements and of maps inside maps, the calls that feed one call, calls of equal stages of parallel
      branches that meet later, and both branches of a `flow.if`; and calls with less in common whose prompts begin
      with the same context of `min-prefix` tokens or more, which is kept once and read once for all.

    Calls of different turns of a loop wait for one another, so each turn has groups of its own, which the run tells
    apart; so it is with maps whose elements wait for one another through effects. Every call is in a group, be it
    alone. `size` is the number of calls where it is known before the run. Nothing but `engine.group` operations and
    the attribute `group` changes; what was there of these before goes. It belongs after `propagate-objectives`: calls
    without an objective count as `throughput`.

    ```before
    sem.program(@Main) |%xs: list<text>, %a: text| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %0 = engine.fill(engine.root, %x) : ctx
        %y, %1 = engine.generate(%0) {output = "y", objective = latency} : text, ctx
        flow.yield(%y)
      } : list<text>
      %2 = engine.fill(engine.root, %a) : ctx
      %z, %3 = engine.generate(%2) {output = "z", objective = latency} : text, ctx
      %all = flow.pure(@join, %ys) : text
      %4 = engine.fill(engine.root, %all, %z) : ctx
      %sum, %5 = engine.generate(%4) {output = "sum", objective = latency} : text, ctx
      sem.return(%sum) {names = ["sum"], objective = [latency]}
    }
    ```

    ```after
    sem.program(@Main) |%xs: list<text>, %a: text| {
      engine.group(@g0) {objective = latency, depth = 1}
      engine.group(@g1) {objective = latency, size = 1, depth = 0}
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %0 = engine.fill(engine.root, %x) : ctx
        %y, %1 = engine.generate(%0) {output = "y", objective = latency, group = @g0} : text, ctx
        flow.yield(%y)
      } : list<text>
      %2 = engine.fill(engine.root, %a) : ctx
      %z, %3 = engine.generate(%2) {output = "z", objective = latency, group = @g0} : text, ctx
      %all = flow.pure(@join, %ys) : text
      %4 = engine.fill(engine.root, %all, %z) : ctx
      %sum, %5 = engine.generate(%4) {output = "sum", objective = latency, group = @g1} : text, ctx
      sem.return(%sum) {names = ["sum"], objective = [latency]}
    }
    ```
    """

    name: ClassVar[str] = "fuse-task-groups"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.ENGINE})
    keeps: ClassVar[frozenset[Finding]] = frozenset({"lengths", "plans"})

    min_prefix: int = 64
    """Tokens that the prompts of calls must have in common for that alone to make them a group."""

    def run(self, module: Module, target: Target) -> Report:
        """Group every generate of every program."""
        planned = known_plans(module, target)
        knowledge = _Asked(module, target) if planned is None else planned.knowledge
        model_of = _models(module) if planned is None else planned.knowledge.lengths.model
        plans = {} if planned is None else {plan.program: plan for plan in planned.plans}
        made = calls = together = 0
        for program in module.ops:
            if program.name != "sem.program":
                continue
            earlier = _take_groups(program)
            generates = [op for op in walk([program]) if op.name in GENERATES]
            model = {op: model_of(op.operands[0]) for op in generates}
            plan = plans.get(program)
            stages = (Stages.of(program, knowledge) if plan is None
                      else Stages(program, knowledge, plan.order, plan.calls))
            groups = task_groups(stages, model, self.min_prefix)
            program.regions[0].ops[:0] = [
                _declare(f"g{made + number}", group, earlier, program) for number, group in enumerate(groups)]
            made += len(groups)
            calls += len(generates)
            together += sum(len(group.calls) for group in groups if len(group.calls) > 1 or group.size != 1)
        return Report(f"{calls} calls in {made} groups, {together} of them wanted together with others",
                      {"groups": made, "together": together})


def _models(module: Module) -> Callable[[Value], str | None]:
    facts = PromptFacts(module.ops)
    return lambda prompt: facts[prompt].model


class _Asked(Knowledge):
    """Static knowledge that is worked out when the first loop asks for it."""

    def __init__(self, module: Module, target: Target) -> None:
        self._known = cache(lambda: static_knowledge(module, target))

    def trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._known().trips(op)

    def most_trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._known().most_trips(op)


def _take_groups(program: Op) -> dict[frozenset[Op], Op]:
    """Remove the groups of a program; each by its calls."""
    members: dict[str, list[Op]] = {}
    for op in walk([program]):
        group = op.attributes.pop("group", None) if op.name in GENERATES else None
        if isinstance(group, Symbol):
            members.setdefault(group.name, []).append(op)
    found: dict[frozenset[Op], Op] = {}
    for region in [region for op in walk([program]) for region in op.regions]:
        for op in region.ops:
            if op.name == "engine.group":
                found[frozenset(members.get(op.symbol, ()))] = op
        region.ops = [op for op in region.ops if op.name != "engine.group"]
    return found


def _declare(name: str, group: TaskGroup, earlier: dict[frozenset[Op], Op], program: Op) -> Op:
    """The declaration of a group; what other passes said of the same calls stays."""
    before = earlier.get(frozenset(group.calls))
    attributes: dict[str, Literal] = {} if before is None else dict(before.attributes)
    attributes["objective"] = group.objective
    attributes["size"] = group.size
    attributes["depth"] = group.depth
    for call in group.calls:
        call.attributes["group"] = Symbol(name)
    return Op("engine.group", [Symbol(name)], [], {k: v for k, v in attributes.items() if v is not None},
              location=program.location)
