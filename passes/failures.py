"""Which values may fail at run time: a failure is a value, and no pass may change which one an output receives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.core import Arg, Module, Op, Value, walk
from ..ir.functions import FUNCTIONS, Strictness
from ..ir.types import EFFECT
from .dataflow import ForwardAnalysis
from .effects import GENERATES
from .regions import Flow, control

NEVER, ITSELF, COMPONENT = 0, 1, 2
"""Bits of a fact: the value itself may be a failure; a component of a list, record or map may be one."""

ONCE, TWICE, NOT_AT_ALL = [ITSELF], [ITSELF | COMPONENT] * 2, [NEVER]
_DETACHED = frozenset({"len", "keys", "is_some", "positions"})
"""Functions whose result holds no component of their operand."""
_PICKING = frozenset({"field", "index"})
_LIFTING = frozenset({"select", "flatten", "positions"})
"""Functions that fail with a failed component of a list."""


class Failures(ForwardAnalysis[int]):
    """The bits of every value of a module. Conservative: an unknown value may fail in both ways."""

    def __init__(self, module: Module | Iterable[Op]) -> None:
        super().__init__()
        ops = module.ops if isinstance(module, Module) else list(module)
        called = {op.symbol for op in walk(ops) if op.name == "sem.call"}
        self._passed = {
            p for op in ops if op.name == "sem.func" or (op.regions and op.symbol in called)
            for region in op.regions for p in region.parameters}
        self.solve(ops)

    def never(self, value: Arg) -> bool:
        """Whether neither the value nor a component of it can fail."""
        return not isinstance(value, Value) or value.type == EFFECT or self.facts.get(value, ITSELF) == NEVER

    def never_itself(self, value: Arg) -> bool:
        """Whether the value is never a failure; components may be."""
        return not isinstance(value, Value) or value.type == EFFECT or not self.facts.get(value, ITSELF) & ITSELF

    def entry(self, value: Value) -> int:
        """Arguments of a run are checked before it, and indices are numbers; a call may pass what failed."""
        return ITSELF | COMPONENT if value in self._passed and value.type != EFFECT else NEVER

    def join(self, first: int, second: int) -> int:
        """Either may happen."""
        return first | second

    def element(self, fact: int) -> int:
        """An element may be the failed component, or have one."""
        return ITSELF | COMPONENT if fact & COMPONENT else NEVER

    def collected(self, fact: int) -> int:
        """A failed element does not fail its list."""
        return COMPONENT if fact else NEVER

    def cross(self, op: Op, flow: Flow, fact: int) -> int | None:
        """The operand of a `flow.try` gets through only when it has not failed."""
        if op.name == "flow.try" and flow.source is op.args[0]:
            return fact & COMPONENT
        return super().cross(op, flow, fact)

    def literal(self, literal: Arg) -> int:
        """Literals do not fail."""
        return NEVER

    def controlled(self, op: Op, result: Value) -> int | None:
        """A failed condition, list or limit fails the results; a failed operand of `try` does not."""
        if result.type == EFFECT:
            return NEVER
        if op.name == "flow.try":
            return None
        whole = any(not self.never_itself(a) for a in control(op))
        return ITSELF if whole else NEVER

    def transfer(self, op: Op) -> Sequence[int]:
        """Bits of the results of an operation without regions."""
        name = op.name
        if name == "prompt.append":
            return ONCE
        if name in GENERATES:
            return TWICE if len(op.results) == 2 else [ITSELF | COMPONENT] * len(op.results)
        if name in ("flow.const", "prompt.start"):
            return NOT_AT_ALL
        if name == "flow.pure":
            return [self._pure(op)]
        several = ITSELF | COMPONENT if name == "sem.call" else ITSELF
        return [NEVER if r.type == EFFECT else several for r in op.results]

    def _pure(self, op: Op) -> int:
        function = FUNCTIONS.get(op.symbol)
        if function is None:
            return ITSELF | COMPONENT
        bits = 0
        for operand in op.args:
            if isinstance(operand, Value):
                bits |= self.facts[operand]
        itself = ITSELF if function.fallible else NEVER
        match function.strictness:
            case Strictness.DEEP:
                return ITSELF if bits else itself
            case Strictness.COMPONENTS:
                # Only a map looks at operands, its keys.
                return itself | (COMPONENT if bits else NEVER) | (ITSELF if bits and op.symbol == "map" else NEVER)
            case Strictness.NONE:
                return itself | (bits & COMPONENT)
        if op.symbol in _PICKING and bits & COMPONENT:
            return ITSELF | COMPONENT
        itself |= ITSELF if bits & ITSELF or (bits and op.symbol in _LIFTING) else NEVER
        return itself if op.symbol in _DETACHED else itself | (bits & COMPONENT)
