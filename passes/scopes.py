"""Regions as a tree: how deep each one lies, what is around it, and how often it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..ir.core import Op, Region, Value
from .list_counts import least_count
from .regions import iterated

LOOPS = frozenset({"flow.for", "flow.fold", "flow.loop"})
UNKNOWN_TURNS = 8.0
"""What a loop is taken to turn whose number of turns is not known; a guess that only weighs costs."""


@dataclass(eq=False, slots=True)
class Scope:
    """A region. `position`: of its owner in the region around; `loops`: loops around it; `turns`: how often it runs."""

    region: Region
    owner: Op
    around: Scope | None
    position: int
    depth: int
    loops: int
    turns: float

    @property
    def is_loop(self) -> bool:
        """Whether the region is run for each turn of its owner."""
        return self.owner.name in LOOPS


class Scopes:
    """The scopes of one function or program, and where each value is defined. Does not recurse."""

    def __init__(self, top: Op) -> None:
        self.of_value: dict[Value, Scope] = {}
        self._definitions: dict[Value, Op] = {}
        self.all: list[Scope] = []
        """Outer scopes before inner ones."""
        self.places: list[tuple[Op, Scope, int]] = []
        """Every operation in textual order, with its scope and position there."""
        stack: list[tuple[Scope, Iterator[tuple[int, Op]]]] = []
        for region in reversed(top.regions):
            stack.append(self._enter(Scope(region, top, None, 0, 0, 0, 1.0)))
        while stack:
            scope, ops = stack[-1]
            position, op = next(ops, (-1, top))
            if position < 0:
                stack.pop()
                continue
            self.places.append((op, scope, position))
            for result in op.results:
                self.of_value[result] = scope
                self._definitions[result] = op
            for region in reversed(op.regions):
                is_loop = op.name in LOOPS
                inner = Scope(region, op, scope, position, scope.depth + 1, scope.loops + is_loop, scope.turns)
                if is_loop:
                    inner.turns *= self._turns(op)
                stack.append(self._enter(inner))

    def _enter(self, scope: Scope) -> tuple[Scope, Iterator[tuple[int, Op]]]:
        self.all.append(scope)
        self.of_value.update(dict.fromkeys(scope.region.parameters, scope))
        return scope, iter(enumerate(scope.region.ops))

    def _turns(self, op: Op) -> float:
        """Turns of a loop: as many as its lists certainly have, else a guess."""
        if op.name == "flow.loop":
            return UNKNOWN_TURNS
        return min(least_count(a, self._definitions) for a in iterated(op)) or UNKNOWN_TURNS
