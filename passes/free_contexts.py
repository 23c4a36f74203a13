"""`free-contexts`: give each context up after its last use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Module, Op, Region, Value, regions_of, walk
from ..ir.definition import Level
from ..ir.target import Target
from ..ir.types import holds_context
from .base import Pass, Report


@dataclass(frozen=True)
class FreeContexts(Pass):
    """Every context that a region owns is freed once on every path, right after the last operation that uses it.

    A region owns the contexts (and lists, options, records and maps of them) that its operations give and its
    parameters hold. An operand of the region's terminator moves out instead; a use inside a nested region counts as
    a use by the operation around it, so a context needed in one branch only is freed after the `flow.if`. Nothing
    but `engine.free` is added, and earlier ones are taken away first: the pass may run again after any other.
    Tokens are untouched, as a free comes after every use of its context.

    ```before
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, "Say ") : ctx
      %1 = engine.fill(%0, %a) : ctx
      %y, %2 = engine.generate(%1) {output = "y"} : text, ctx
      %z, %3 = engine.generate(%0) {output = "z"} : text, ctx
      sem.return(%y, %z) {names = ["y", "z"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, "Say ") : ctx
      %1 = engine.fill(%0, %a) : ctx
      %y, %2 = engine.generate(%1) {output = "y"} : text, ctx
      engine.free(%1, %2)
      %z, %3 = engine.generate(%0) {output = "z"} : text, ctx
      engine.free(%0, %3)
      sem.return(%y, %z) {names = ["y", "z"]}
    }
    ```
    """

    name: ClassVar[str] = "free-contexts"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.ENGINE})

    def run(self, module: Module, target: Target) -> Report:
        """Place every `engine.free`."""
        remove_frees(module.ops)
        freed = place_frees(module.ops)
        return Report(f"{freed} contexts freed after their last use", {"contexts": freed})


def remove_frees(ops: Iterable[Op]) -> bool:
    """Take every `engine.free` away; whether there was one."""
    found = False
    for region in regions_of(list(ops)):
        kept = [op for op in region.ops if op.name != "engine.free"]
        found = found or len(kept) < len(region.ops)
        region.ops = kept
    return found


def place_frees(ops: Iterable[Op]) -> int:
    """Free every owned context of modules without frees; how many values are freed."""
    places = _Places(list(ops))
    return sum(places.free(region) for region in places.regions)


class _Places:
    """Where each context is owned, and the position there of the operation that uses it last."""

    def __init__(self, ops: list[Op]) -> None:
        self.regions = list(regions_of(ops))
        self._home: dict[Value, Region] = {}
        self._last: dict[Value, int] = {}
        self._at: dict[Op, tuple[Region, int]] = {}
        self._owner: dict[Region, Op] = {region: op for op in walk(ops) for region in op.regions}
        for region in self.regions:
            self._note_definitions(region)
        for region in self.regions:
            for op in region.ops:
                for value in op.operands:
                    if value in self._home:
                        self._note_use(value, op)

    def _note_definitions(self, region: Region) -> None:
        for parameter in region.parameters:
            self._define(parameter, region, -1)
        for position, op in enumerate(region.ops):
            self._at[op] = region, position
            for result in op.results:
                self._define(result, region, position)

    def _define(self, value: Value, region: Region, position: int) -> None:
        if holds_context(value.type):
            self._home[value] = region
            self._last[value] = position

    def _note_use(self, value: Value, op: Op) -> None:
        """The use counts for the operation around it that stands in the value's own region."""
        region, position = self._at[op]
        while region is not self._home[value]:
            region, position = self._at[self._owner[region]]
        self._last[value] = max(self._last[value], position)

    def free(self, region: Region) -> int:
        """Insert the frees of one region."""
        moved = set(region.terminator.operands)
        owned = [*region.parameters, *(r for op in region.ops for r in op.results)]
        freed: dict[int, list[Value]] = {}
        for value in owned:
            if value in self._home and value not in moved:
                freed.setdefault(self._last[value], []).append(value)
        if not freed:
            return 0
        ops = [_free(freed[-1], region.ops[0])] if -1 in freed else []
        for position, op in enumerate(region.ops):
            ops.append(op)
            if position in freed:
                ops.append(_free(freed[position], op))
        region.ops = ops
        return sum(map(len, freed.values()))


def _free(values: list[Value], after: Op) -> Op:
    return Op("engine.free", list(values), location=after.location)
