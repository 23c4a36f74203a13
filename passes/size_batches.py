"""`size-batches`: how many calls of each group run together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Module, Op
from ..ir.definition import Level
from ..ir.target import Target
from .base import Finding, Pass, Report
from .group_batches import group_batches
from .plan import plans_of

ATTRIBUTES = ("batch", "alone", "step_tokens")


@dataclass(frozen=True)
class SizeBatches(Pass):
    """Each group of calls is told how many of them run together, so that the whole group ends soonest.

    The batch is the one with the shortest makespan under the cost model of the engine, among those that its rows and
    its KV memory can take: prompts and outputs of the whole batch, what they share once, and the fair part of the
    groups that may run at the same time. Where calls whose own latency counts may run at the same time as a group
    that serves throughput, its rows and prompt tokens (`step_tokens`) are few enough for steps to keep their pace: 50
    ms, or twice what the others' steps take by themselves. `alone` is the batch for as long as none of them decodes.
    Where the number of calls is not known before the run, the run sizes the batch by the same function once it is.
    Nothing else changes.

    ```before
    sem.program(@Main) |%xs: list<text>| {
      engine.group(@g0) {objective = throughput, size = 3, depth = 0}
      engine.group(@g1) {objective = throughput, depth = 0}
      %three = flow.const(["a", "b", "c"]) : list<text>
      %ys = flow.for(%three) |%i: int, %x: text| {
        %0 = engine.fill(engine.root, %x) : ctx
        %y, %1 = engine.generate(%0) {output = "y", max_tokens = 9, group = @g0} : text, ctx
        flow.yield(%y)
      } : list<text>
      %zs = flow.for(%xs) |%j: int, %x2: text| {
        %2 = engine.fill(engine.root, %x2) : ctx
        %z, %3 = engine.generate(%2) {output = "z", max_tokens = 9, group = @g1} : text, ctx
        flow.yield(%z)
      } : list<text>
      sem.return(%ys, %zs) {names = ["ys", "zs"]}
    }
    ```

    ```after
    sem.program(@Main) |%xs: list<text>| {
      engine.group(@g0) {objective = throughput, size = 3, depth = 0, batch = 3}
      engine.group(@g1) {objective = throughput, depth = 0}
      %three = flow.const(["a", "b", "c"]) : list<text>
      %ys = flow.for(%three) |%i: int, %x: text| {
        %0 = engine.fill(engine.root, %x) : ctx
        %y, %1 = engine.generate(%0) {output = "y", max_tokens = 9, group = @g0} : text, ctx
        flow.yield(%y)
      } : list<text>
      %zs = flow.for(%xs) |%j: int, %x2: text| {
        %2 = engine.fill(engine.root, %x2) : ctx
        %z, %3 = engine.generate(%2) {output = "z", max_tokens = 9, group = @g1} : text, ctx
        flow.yield(%z)
      } : list<text>
      sem.return(%ys, %zs) {names = ["ys", "zs"]}
    }
    ```
    """

    name: ClassVar[str] = "size-batches"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.ENGINE})
    keeps: ClassVar[frozenset[Finding]] = frozenset({"lengths", "plans"})

    def run(self, module: Module, target: Target) -> Report:
        """Size the groups of every program."""
        planned = plans_of(module, target)
        knowledge, costs = planned.knowledge, planned.costs
        slots = {alias: model.kv_slots for alias, model in target.models.items()}

        def memory(op: Op) -> int | None:
            alias = knowledge.lengths.model(op.operands[0]) or ""
            return slots.get(alias, slots.get(""))

        sized = limited = unknown = 0
        for plan in planned.plans:
            found = group_batches(plan, knowledge, costs, memory)
            for group in plan.program.regions[0].ops:
                if group.name != "engine.group":
                    continue
                for name in ATTRIBUTES:
                    group.attributes.pop(name, None)
                chosen = found.get(group.symbol)
                if chosen is None:
                    unknown += 1
                    continue
                group.attributes["batch"] = chosen.batch
                if chosen.alone != chosen.batch:
                    group.attributes["alone"] = chosen.alone
                if chosen.step_tokens is not None:
                    group.attributes["step_tokens"] = chosen.step_tokens
                sized += 1
                limited += chosen.batch < chosen.calls
        return Report(f"{sized} groups sized, {limited} of them run in parts; {unknown} are sized in the run",
                      {"sized": sized, "limited": limited})
