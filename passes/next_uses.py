"""When each context is used by generates: in steps of its region, and by how many calls those wait."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.core import Module, Op, Region, Value, walk
from ..ir.types import Ctx
from .effects import GENERATES, REGION_OPS
from .planner import Knowledge, Order
from .regions import flows
from .waits import Waits

MOST_USES = 8
"""Uses of one context that are told apart; later ones follow soon enough."""
NO_ORDERS: Mapping[Op, Order] = {}


class NextUses:
    """The generates that continue each context: directly, through fills, or across the borders of regions.

    A use inside a region counts as one by the operation around it, in the region of the fill. What a loop carries
    into its next turn does not count. `order`: the stages of the program's regions. `known`: orders made before.
    """

    def __init__(self, module: Module, waits: Waits, known: Mapping[Op, Order] = NO_ORDERS) -> None:
        self._waits = waits
        self._home: dict[Op, Region] = {}
        self._around: dict[Region, Op] = {}
        self._users: dict[Value, list[Op]] = {}
        self._steps: dict[Op, tuple[int, ...]] = {}
        self._first: dict[Value, int | None] = {}
        self._sure: set[Op] = set()
        operations = list(walk(module.ops))
        for op in operations:
            for region in op.regions:
                self._around[region] = op
                self._home.update(dict.fromkeys(region.ops, region))
            for value in op.args:
                if isinstance(value, Value) and isinstance(value.type, Ctx):
                    self._users.setdefault(value, []).append(op)
            if op.name == "sem.program":
                self.order = known.get(op) or Order(op, Knowledge())
        for op in reversed(operations):  # a context is used after the operation that makes it
            if op.name == "engine.fill":
                self._first_wait(op.result)
                self._steps[op] = self._uses(op.result, self._home[op])
                if self._is_sure(op):
                    self._sure.add(op)

    def steps(self, fill: Op) -> tuple[int, ...]:
        """Generates one after another from the beginning of the region to each use, in order, without repeats."""
        return self._steps[fill]

    def waits(self, fill: Op) -> int | None:
        """Calls that the first use waits for; None where there is none."""
        return self._first[fill.result]

    def is_sure(self, fill: Op) -> bool:
        """Whether the context is used whatever branches run; loops are taken to turn."""
        return fill in self._sure

    def region(self, fill: Op) -> Region:
        """The region of a fill."""
        return self._home[fill]

    def around(self, region: Region) -> Op:
        """The operation that a region belongs to."""
        return self._around[region]

    def _first_wait(self, value: Value) -> int | None:
        if value not in self._first:
            found = [wait for user in self._users.get(value, ()) if (wait := self._wait_of(user, value)) is not None]
            self._first[value] = min(found, default=None)
        return self._first[value]

    def _wait_of(self, user: Op, value: Value) -> int | None:
        if user.name in GENERATES:
            return self._waits.of(user)
        if user.name == "engine.fill":
            return self._first_wait(user.result)
        leaves = user.name == "flow.yield"
        op = self._around[self._home[user]] if leaves else user
        if op.name not in REGION_OPS:
            return None
        targets = {f.target for f in flows(op) if f.source is value and (not leaves or f.target in op.results)}
        found = [wait for target in targets if (wait := self._first_wait(target)) is not None]
        return min(found, default=None)

    def _is_sure(self, fill: Op) -> bool:
        """Outwards from every use, out of a `flow.if` only when both of its branches have one."""
        home = self._home[fill]
        work = [self._home[user] for user in self._users.get(fill.result, ())
                if user.name != "engine.free" and (user.name != "engine.fill" or user in self._sure)]
        reached: set[Region] = set()
        while work:
            region = work.pop()
            if region is home:
                return True
            if region in reached:
                continue
            reached.add(region)
            op = self._around[region]
            if op.name != "flow.try" and (op.name != "flow.if" or reached.issuperset(op.regions)):
                work.append(self._home[op])
        return False

    def _uses(self, value: Value, region: Region) -> tuple[int, ...]:
        """Steps of `region`, which defines `value`, that use it or what it becomes."""
        stages = self.order.of(region).stage
        steps: set[int] = set()
        for user in self._users.get(value, ()):
            if user.name == "engine.fill" and self._home[user] is region:
                steps.update(self._steps[user])
                continue
            holder = user
            while self._home[holder] is not region:
                holder = self._around[self._home[holder]]
            if holder in stages:
                steps.add(round(stages[holder]))
            elif holder is user and user.name in REGION_OPS:  # it only adds to the context
                for target in {f.target for f in flows(user) if f.source is value and f.target in user.results}:
                    steps.update(self._uses(target, region))
        return tuple(sorted(steps)[:MOST_USES])
