"""How often each operation of a program is executed: expected numbers, bounds, and words for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..ir.core import Op, Region, Value
from ..passes.intervals import Interval
from ..passes.lengths import Lengths
from ..passes.planner import Knowledge
from ..passes.regions import iterated

LOOPS = frozenset({"flow.for", "flow.fold", "flow.loop"})


@dataclass(frozen=True)
class Enclosing:
    """A loop or branch around an operation. `turns`: bounds of how often its region runs, each time it is reached.

    `expected`: on average; `over`: the name of what it goes over, empty where it has none.
    """

    op: Op
    region: int
    turns: Interval
    expected: float
    over: str

    @property
    def words(self) -> str:
        """`len(docs)`, `each part`, `≤ 4`, `if …`; a number where it is known."""
        if self.op.name not in LOOPS:
            return "0–1"
        if self.turns.low == self.turns.high:
            return str(self.turns.low)
        if self.op.name == "flow.loop" or not self.over:
            return "n" if self.turns.high is None else f"≤{self.turns.high}"
        return self.over


class Executions:
    """The loops and branches around every operation of `program`."""

    def __init__(self, program: Op, knowledge: Knowledge, lengths: Lengths) -> None:
        self._knowledge = knowledge
        self._lengths = lengths
        self._around: dict[Region, tuple[Enclosing, ...]] = {}
        self._region: dict[Op, Region] = {}
        self._expected: dict[Region, float] = {}
        stack: list[tuple[Region, tuple[Enclosing, ...]]] = [(region, ()) for region in program.regions]
        while stack:
            region, around = stack.pop()
            self._around[region] = around
            expected = 1.0
            for enclosing in around:
                expected *= enclosing.expected
            self._expected[region] = expected
            for op in region.ops:
                self._region[op] = region
                for number, inner in enumerate(op.regions):
                    stack.append((inner, (*around, *self._enter(op, number))))

    def _enter(self, op: Op, number: int) -> Iterator[Enclosing]:
        if op.name in LOOPS:
            yield Enclosing(op, number, self._lengths.turns(op), self._knowledge.trips(op) or 0.0, _over(op))
        elif op.name in ("flow.if", "flow.try"):
            share = self._knowledge.share(op, number)
            share = 0.5 if share is None else share
            bounds = Interval.exactly(int(share)) if share in (0.0, 1.0) and op.name == "flow.if" else Interval(0, 1)
            yield Enclosing(op, number, bounds, share, "")

    def around(self, op: Op) -> tuple[Enclosing, ...]:
        """The loops and branches around `op`, outermost first."""
        return self._around[self._region[op]]

    def expected(self, op: Op) -> float:
        """How often `op` is executed in a run, on average."""
        return self._expected[self._region[op]]

    def bounds(self, op: Op) -> Interval:
        """The least and the most executions of `op` in a run."""
        total = Interval.exactly(1)
        for enclosing in self.around(op):
            total = total * enclosing.turns
        return total


def _over(op: Op) -> str:
    """`len(name)` of the list that a loop goes over; the name of its element where the list has none."""
    if op.name == "flow.loop":
        return ""
    lists = iterated(op)
    for list_ in lists:
        if isinstance(list_, Value) and list_.name:
            return f"len({list_.name})"
    for parameter in op.regions[0].parameters[1 : 1 + len(lists)]:
        if parameter.name:
            return f"each {parameter.name}"
    return ""
