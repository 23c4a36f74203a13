"""Which values and operations a result or an effect needs: marked backwards from what must stay, through regions."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.core import Arg, Op, Value, walk
from ..ir.types import EFFECT
from .effects import REGION_OPS, Contents, orders_effects
from .regions import body_of, control, first_carried, flows


class Liveness:
    """`values` and `ops` that are needed. Carried values that only need themselves are not."""

    def __init__(self, ops: Iterable[Op], contents: Contents) -> None:
        self.values: set[Value] = set()
        self.ops: set[Op] = set()
        self._contents = contents
        self._work: list[Value] = []
        self._definitions: dict[Value, Op] = {}
        """Where a value comes from: the operation that it is a result of, or a parameter of a region of."""
        self._sources: dict[Value, list[Arg]] = {}
        order = list(walk(ops))
        for op in order:
            self._note(op)
        for op in order:
            if op.name == "sem.return":
                self._need_all(op.args)
            elif orders_effects(op):
                self._need_op(op)
        self._propagate()
        while self._repair(order):
            self._propagate()

    def _note(self, op: Op) -> None:
        for result in op.results:
            self._definitions[result] = op
        if not op.regions:
            return
        for region in op.regions:
            for parameter in region.parameters:
                self._definitions[parameter] = op
        if op.name in REGION_OPS:
            for flow in flows(op):
                self._sources.setdefault(flow.target, []).append(flow.source)

    def _need(self, arg: Arg) -> None:
        if isinstance(arg, Value) and arg not in self.values:
            self.values.add(arg)
            self._work.append(arg)

    def _need_all(self, args: Iterable[Arg]) -> None:
        values = self.values
        for arg in args:
            if isinstance(arg, Value) and arg not in values:
                values.add(arg)
                self._work.append(arg)

    def _need_op(self, op: Op) -> None:
        """An operation is needed together with those around it, and with what decides whether they run."""
        around: Op | None = op
        while around is not None and around not in self.ops:
            self.ops.add(around)
            if around.name in REGION_OPS:
                self._need_all(control(around))
                if around in self._contents.effectful:
                    self._need_all(r for r in around.results if r.type == EFFECT)
            elif not around.regions:
                self._need_all(around.args)
            around = self._contents.parents[around]

    def _propagate(self) -> None:
        while self._work:
            value = self._work.pop()
            op = self._definitions[value]
            if op not in self.ops:
                self._need_op(op)
            if op.name in REGION_OPS:
                self._need_all(self._sources.get(value, ()))

    def _repair(self, order: list[Op]) -> bool:
        """A fold or loop that runs carries a value, whichever."""
        before = len(self.values)
        for op in order:
            is_carrying = op in self.ops and op.name in ("flow.fold", "flow.loop") and op.results
            if is_carrying and not any(self.carries(op, number) for number in range(len(op.results))):
                self._need(op.results[0])
        return len(self.values) > before

    def carries(self, op: Op, number: int) -> bool:
        """Whether carried value `number` of a fold or loop is needed, in a region or after it."""
        yielded = op.regions[body_of(op)].parameters[len(op.regions[body_of(op)].parameters) - len(op.results) + number]
        needed = op.results[number] in self.values or yielded in self.values
        if op.name == "flow.loop":
            needed = needed or op.regions[0].parameters[number] in self.values
        return needed

    def initial(self, op: Op, number: int) -> Arg:
        """The operand that carried value `number` begins with."""
        return op.args[first_carried(op) + number]
