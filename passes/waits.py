"""How many calls each value waits for, one after another: what tells a prefix that is known early from its use."""

from __future__ import annotations

from functools import cached_property

from ..ir.core import Module, Op, Value
from .early_values import EarlyValues
from .effects import CALLS, REGION_OPS, Contents
from .regions import control, flows


class Waits:
    """`waits[value]`: calls of models and hosts on the longest chain that it waits for, with one turn of each loop.

    What a loop carries from turn to turn waits for one call more than where it begins. Regions that nobody waits for
    count as entered at once, as the executor does it. One walk.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._calling = Contents.of(module.ops).calling
        self._waits: dict[Value, int] = {}
        for op in module.ops:
            for region in op.regions:
                self._visit(region.ops)

    @cached_property
    def _early(self) -> EarlyValues:
        """Asked for at loops that take turns."""
        return EarlyValues(self._module)

    def __getitem__(self, value: Value) -> int:
        return self._waits.get(value, 0)

    def of(self, op: Op) -> int:
        """Calls that an operation without regions waits for."""
        most, waits = 0, self._waits
        for arg in op.args:
            if isinstance(arg, Value) and arg in waits and waits[arg] > most:
                most = waits[arg]
        return most

    def _visit(self, ops: list[Op]) -> None:
        for op in ops:
            if op.name in REGION_OPS:
                self._region_op(op)
                continue
            waits = self.of(op) + (op.name in CALLS)
            if waits:
                for result in op.results:
                    self._waits[result] = waits

    def _region_op(self, op: Op) -> None:
        start = max((self[arg] for arg in control(op) if isinstance(arg, Value)), default=0)
        parameters = {p for region in op.regions for p in region.parameters}
        for flow in flows(op):
            if flow.target in parameters and isinstance(flow.source, Value):
                self._raise(flow.target, self[flow.source])
        for parameter in parameters:
            turn = op in self._calling and op.name in ("flow.fold", "flow.loop") and parameter not in self._early
            self._waits[parameter] = max(start, self[parameter]) + turn
        for region in op.regions:
            self._visit(region.ops)
        for flow in flows(op):
            if flow.target not in parameters and isinstance(flow.source, Value):
                self._raise(flow.target, max(start, self[flow.source]))

    def _raise(self, value: Value, waits: int) -> None:
        self._waits[value] = max(self[value], waits)
