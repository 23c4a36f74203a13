"""Values that are known as soon as the run, or the turn of a loop, begins: they wait for no generate and no host."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Arg, Module, Op, Value
from .dataflow import ForwardAnalysis
from .effects import CALLS
from .regions import control


class EarlyValues(ForwardAnalysis[bool]):
    """`value in early`. The facts say "late", so that they grow."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.solve(module.ops)

    def __contains__(self, value: Value) -> bool:
        return not self.facts.get(value, True)

    def entry(self, value: Value) -> bool:
        """Parameters of the program, indices and turns are known."""
        return False

    def join(self, first: bool, second: bool) -> bool:
        """One of the sources may be late."""
        return first or second

    def literal(self, literal: Arg) -> bool:
        """Literals are known."""
        return False

    def controlled(self, op: Op, result: Value) -> bool:
        """A result is as late as what decides whether regions run."""
        return any(isinstance(a, Value) and self.facts.get(a, False) for a in control(op))

    def transfer(self, op: Op) -> Sequence[bool]:
        """Calls are late, and so is what depends on them."""
        late = op.name in CALLS
        if not late:
            facts = self.facts
            for value in op.args:
                if isinstance(value, Value) and facts[value]:
                    late = True
                    break
        return [late] * len(op.results)
