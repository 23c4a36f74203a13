"""Forward analyses over values: facts flow along operands and across the borders of regions.

Sparse and optimistic (Wegman and Zadeck, 1991): a value without a fact has not been reached; facts only grow
under `join`, so the work is linear in the number of operands times the height of the facts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain
from typing import Generic, TypeVar

from ..ir.core import Arg, Op, Value
from ..ir.types import Type
from .effects import REGION_OPS
from .regions import Flow, Passing, flows

Fact = TypeVar("Fact")
NOTHING: list[Value] = []


class ForwardAnalysis(ABC, Generic[Fact]):
    """An analysis; `solve` fills `facts`, the fact of each tracked value that can be reached."""

    def __init__(self) -> None:
        self.facts: dict[Value, Fact] = {}
        self._late: list[Value] = []
        """Values whose facts changed in the first sweep after some of their users had been visited."""
        self._tracked: dict[int, bool] = {}
        self._types: list[Type] = []
        """The types whose identities are keys of `_tracked`, kept alive."""
        self._visits: list[Op] = []
        """Operations in the order of the first sweep; one with regions comes before and again after what is inside."""
        self._users: dict[Value, list[int]] = {}
        """For each value the positions in `_visits` to visit again when its fact changes."""
        self._queue: list[int] = []
        self._queued: set[int] = set()

    @abstractmethod
    def entry(self, value: Value) -> Fact:
        """The fact of a parameter of a program or function, or of the index or turn of a region."""

    @abstractmethod
    def transfer(self, op: Op) -> Sequence[Fact | None]:
        """A fact for each result of an operation without regions; all tracked operands have facts."""

    @abstractmethod
    def join(self, first: Fact, second: Fact) -> Fact:
        """What holds of a value that is one of two; never below its arguments."""

    def tracks(self, type: Type) -> bool:
        """Whether values of this type have facts."""
        return True

    def cross(self, op: Op, flow: Flow, fact: Fact) -> Fact | None:
        """What the fact of `flow.source` becomes at the border of a region of `op`."""
        match flow.passing:
            case Passing.ELEMENT:
                return self.element(fact)
            case Passing.COLLECTED:
                return self.collected(fact)
            case _:
                return fact

    def element(self, fact: Fact) -> Fact:
        """The fact of an element of a list."""
        return fact

    def collected(self, fact: Fact) -> Fact:
        """The fact of a list with such an element."""
        return fact

    def literal(self, literal: Arg) -> Fact | None:
        """The fact of a literal that crosses the border of a region."""
        return None

    def controlled(self, op: Op, result: Value) -> Fact | None:
        """What the operands that decide whether regions run add to `result`."""
        return None

    def of(self, value: Arg) -> Fact:
        """The fact of a value that has been reached."""
        assert isinstance(value, Value)
        return self.facts[value]

    def solve(self, ops: Iterable[Op]) -> None:
        """Compute the facts of everything inside `ops`."""
        self._sweep(ops)
        if not self._late:
            return
        self._note_users()
        for value in self._late:
            self._enqueue(value)
        while self._queue:
            position = heappop(self._queue)
            self._queued.discard(position)
            op = self._visits[position]
            for value in self._visit(op):
                self._enqueue(value)

    def _sweep(self, ops: Iterable[Op]) -> None:
        """Visit everything once in textual order: all that there is to do where no loop carries a change back."""
        visits, facts, tracked = self._visits, self.facts, self._tracked
        stack: list[tuple[Op | None, Iterator[Op]]] = [(None, iter(ops))]
        while stack:
            owner, inside = stack[-1]
            for op in inside:
                visits.append(op)
                if op.regions:
                    for value in self._entries(op):
                        facts[value] = self.entry(value)
                    self._visit(op)
                    stack.append((op, chain.from_iterable([region.ops for region in op.regions])))
                    break
                wanted = False
                for result in op.results:
                    known = tracked.get(id(result.type))
                    wanted = (self._tracks(result) if known is None else known) or wanted
                if not wanted:
                    continue
                for arg in op.args:
                    if isinstance(arg, Value) and arg not in facts and self._tracks(arg):
                        break
                else:
                    for result, fact in zip(op.results, self.transfer(op), strict=True):
                        if fact is not None and tracked[id(result.type)]:
                            facts[result] = fact
            else:
                stack.pop()
                if owner is not None:
                    visits.append(owner)
                    # What an operation gives is used after it; only parameters have been used already.
                    self._late.extend(v for v in self._visit(owner) if v not in owner.results)

    def _note_users(self) -> None:
        """Find who has to be visited again when a fact changes."""
        seen: set[Op] = set()
        for position, op in enumerate(self._visits):
            if op in seen:
                used = [v for region in op.regions for v in region.terminator.operands]
            else:
                used = [] if op.name in ("flow.yield", "sem.return") else op.operands
            if op.regions:
                seen.add(op)
            for value in used:
                if self._tracks(value):
                    self._users.setdefault(value, []).append(position)

    def _enqueue(self, value: Value) -> None:
        for position in self._users.get(value, ()):
            if position not in self._queued:
                self._queued.add(position)
                heappush(self._queue, position)

    def _tracks(self, value: Value) -> bool:
        """`tracks`, asked once for each type object."""
        known = self._tracked.get(id(value.type))
        if known is None:
            known = self.tracks(value.type)
            self._tracked[id(value.type)] = known
            self._types.append(value.type)
        return known

    def _entries(self, op: Op) -> list[Value]:
        """Parameters that nothing flows into: those of top-level operations, indices and turns."""
        match op.name:
            case "flow.for" | "flow.fold":
                values = op.regions[0].parameters[:1]
            case "flow.loop":
                values = op.regions[1].parameters[:1]
            case "flow.if" | "flow.try":
                values = []
            case _:
                values = [p for region in op.regions for p in region.parameters]
        return [v for v in values if self._tracks(v)]

    def _visit(self, op: Op) -> list[Value]:
        """Visit an operation; the values whose facts changed."""
        if op.name in REGION_OPS:
            return self._visit_regions(op)
        results = op.results
        if not results:
            return NOTHING
        facts = self.facts
        for value in op.args:
            if isinstance(value, Value) and value not in facts and self._tracks(value):
                return NOTHING
        changed = NOTHING
        for result, fact in zip(results, self.transfer(op), strict=True):
            if fact is not None and self._tracks(result) and self._update(result, fact):
                changed = [result] if changed is NOTHING else [*changed, result]
        return changed

    def _visit_regions(self, op: Op) -> list[Value]:
        changed: list[Value] = []
        for flow in flows(op):
            if self._tracks(flow.target):
                fact = self.facts.get(flow.source) if isinstance(flow.source, Value) else self.literal(flow.source)
                crossed = None if fact is None else self.cross(op, flow, fact)
                if crossed is not None and self._update(flow.target, crossed):
                    changed.append(flow.target)
        for result in op.results:
            if self._tracks(result):
                fact = self.controlled(op, result)
                if fact is not None and self._update(result, fact):
                    changed.append(result)
        return changed

    def _update(self, value: Value, fact: Fact) -> bool:
        """Join a fact to that of a value; whether this changed it."""
        before = self.facts.get(value)
        if before is not None:
            fact = self.join(before, fact)
            if fact == before:
                return False
        self.facts[value] = fact
        return True
