"""Ownership of contexts, once they are freed: each exactly once on every path, and never used after.

A value that holds a context belongs to the region that defines it, as a result or a parameter. That region frees
it once, directly, after every other use, or moves it out as an operand of its terminator; regions inside never free
it, and yielding it from one of them copies. Because filling or decoding on a context is a use of it, a context is
freed after its children were made; they keep its tokens (see `backend.engine`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Op, Region, Value
from ..types import holds_context
from .problem import Problem, View

FREE = "engine.free"


def has_frees(view: View) -> bool:
    """Whether contexts are freed already: the rules hold from then on."""
    return any(op.name == FREE for op in view.ops)


class _Homes:
    """Where each value that holds a context is defined."""

    def __init__(self, view: View) -> None:
        self.region: dict[Value, Region] = {}
        self.op: dict[Value, Op] = {}
        self._holding = {type for type in view.types if holds_context(type)}
        for region, owner in view.owners.items():
            self._define(region.parameters, region, owner)
            for op in region.ops:
                self._define(op.results, region, op)

    def _define(self, values: list[Value], region: Region, op: Op) -> None:
        for value in values:
            if value.type in self._holding:
                self.region[value] = region
                self.op[value] = op


def freed_or_moved_once(view: View) -> Iterator[Problem]:
    """Each context is freed once by the region that owns it, or moved out by its terminator."""
    homes = _Homes(view)
    freed: set[Value] = set()
    moved: set[Value] = set()
    for region in view.regions:
        for op in region.ops:
            if op.name != FREE:
                continue
            for value in op.operands:
                if homes.region.get(value) is not region:
                    yield Problem(op, f"%{value.name} is freed in a region that does not own it")
                elif value in freed:
                    yield Problem(op, f"%{value.name} is freed twice")
                freed.add(value)
        moved.update(v for v in region.terminator.operands if homes.region.get(v) is region)
    for value, op in homes.op.items():
        if value not in freed and value not in moved:
            yield Problem(op, f"the context %{value.name} is never freed")


def no_use_after_free(view: View) -> Iterator[Problem]:
    """No operation after the `engine.free` of a context, inside regions or not, uses it."""
    freed: set[Value] = set()
    for op in view.ops:  # in textual order, which is the order of scopes
        if op.name == FREE:
            freed.update(op.operands)
            continue
        for value in op.operands:
            if value in freed:
                yield Problem(op, f"%{value.name} is used after it was freed")


RULES = (freed_or_moved_once, no_use_after_free)
