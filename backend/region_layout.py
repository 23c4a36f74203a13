"""Where the values of a region live at run time, worked out once for each region when it is first entered.

Every instance of a region has a list of slots: what it captures from around it, its parameters, its constants and
its results. An operand is an index into that list, whatever it is in the text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..ir.core import Literal as IRLiteral
from ..ir.core import Op, Region, Symbol, Table, Value, walk
from ..ir.types import EFFECT
from ..ir.values import constant_value


@dataclass(slots=True)
class NestedRegion:
    """A region of an operation, and the slots around it that it captures."""

    region: Region
    captures: list[int]


@dataclass(slots=True)
class OpLayout:
    """An operation with its operands and results as slots. `waits`: operands that must be known before it starts.

    `after_uses`: for `engine.free`, how many earlier operations of the region must be done first; `frees`: positions
    in `RegionLayout.frees` of the frees that wait for this operation. `pure`: see `pure_regions`.
    """

    op: Op
    position: int
    """Among the operations of its region."""
    operands: list[int]
    results: list[int]
    waits: list[int]
    regions: list[NestedRegion]
    frees: list[int] = field(default_factory=list)
    after_uses: int = 0
    stream: int | None = None
    """For `engine.fill`: the piece whose text is taken over while it is generated."""
    data: Any = None
    """What the operation's handler works out once."""

    @property
    def has_effect(self) -> bool:
        """Whether its last operand is an effect."""
        last = self.op.args[-1] if self.op.args else None
        return isinstance(last, Value) and last.type == EFFECT


@dataclass(slots=True)
class RegionLayout:
    """The slots of a region: first the captures, then the parameters; `template` holds the constants."""

    region: Region
    captures: int
    parameters: int
    template: list[Any]
    cells: list[int]
    """Slots of results: they begin as cells without a value."""
    ops: list[OpLayout]
    yields: list[int]
    pure: bool
    frees: list[OpLayout]
    steps: list[Callable[[list[Any], int], None]] | None = None
    """What evaluates the operations of a pure region on the spot, once that is needed."""


PURE_OPS = frozenset({"flow.const", "flow.pure", "flow.if", "flow.for", "flow.fold", "flow.loop", "flow.try",
                      "engine.free", "engine.group"})
LAZY_FUNCTIONS = frozenset({"record", "list"})
"""Pure functions that start before any of their operands is known; `map` waits for its keys only."""


def constant(literal: IRLiteral) -> Any:
    """The runtime value of a literal."""
    match literal:
        case tuple():
            return [constant(item) for item in literal]
        case Table(entries):
            return {key: constant(item) for key, item in entries}
        case Symbol(name):
            return name
        case _:
            return literal


class Layouts:
    """Layouts of all regions below `root`, each made when it is asked for first."""

    def __init__(self, root: Op) -> None:
        self._layouts: dict[Region, RegionLayout] = {}
        self._captured, self._pure = _analyse(root)

    def of(self, region: Region) -> RegionLayout:
        """The layout of a region."""
        layout = self._layouts.get(region)
        if layout is None:
            layout = self._layouts[region] = self._make(region)
        return layout

    def _make(self, region: Region) -> RegionLayout:
        captured = self._captured[region]
        slots: dict[Value, int] = {}
        for value in [*captured, *region.parameters]:
            slots[value] = len(slots)
        template: list[Any] = [None] * len(slots)
        cells: list[int] = []
        ops: list[OpLayout] = []
        for op in region.ops[:-1]:
            if op.name == "flow.const":
                slots[op.result] = len(template)
                template.append(constant_value(op.args[0], op.result.type))  # type: ignore[arg-type]
                continue
            operands = _operand_slots(op, slots, template)
            results = list(range(len(template), len(template) + len(op.results)))
            for value, slot in zip(op.results, results, strict=True):
                slots[value] = slot
            template.extend([None] * len(results))
            cells.extend(results)
            regions = [NestedRegion(r, [slots[v] for v in self._captured[r]]) for r in op.regions]
            stream = op.attributes.get("stream") if op.name == "engine.fill" else None
            ops.append(OpLayout(op, len(ops), operands, results, _waits(op, operands), regions,
                                stream=stream if isinstance(stream, int) else None))
        yields = _operand_slots(region.terminator, slots, template)
        layout = RegionLayout(region, len(captured), len(region.parameters), template, cells, ops, yields,
                              self._pure[region], [layout for layout in ops if layout.op.name == "engine.free"])
        _order_frees(layout)
        return layout


def _operand_slots(op: Op, slots: dict[Value, int], template: list[Any]) -> list[int]:
    """The slot of each argument; literals get slots of their own. A leading symbol names the callee, no operand."""
    args = op.args[1:] if op.args and isinstance(op.args[0], Symbol) else op.args
    found = []
    for arg in args:
        if isinstance(arg, Value):
            found.append(slots[arg])
        else:
            found.append(len(template))
            template.append(constant(arg))
    return found


def _waits(op: Op, operands: list[int]) -> list[int]:
    match op.name:
        case "flow.pure":
            if op.symbol in LAZY_FUNCTIONS:
                return []
            return operands[::2] if op.symbol == "map" else operands
        case "flow.for":
            last = op.args[-1]
            return operands[:-1] if isinstance(last, Value) and last.type == EFFECT else operands
        case "flow.fold":
            lists = op.attributes.get("lists", 1)
            assert isinstance(lists, int)
            return operands[:lists]
        case "flow.if" | "flow.loop" | "flow.try":
            return operands[:1]
        case _:
            return operands


def _order_frees(layout: RegionLayout) -> None:
    """Let each free wait for the earlier operations of its region that use what it frees."""
    frees_of: dict[int, list[int]] = {}
    for number, free in enumerate(layout.frees):
        for slot in free.operands:
            frees_of.setdefault(slot, []).append(number)
    if not frees_of:
        return
    for op in layout.ops:
        if op.op.name == "engine.free":
            for slot in op.operands:
                frees_of[slot] = []
            continue
        used = {*op.operands, *(slot for nested in op.regions for slot in nested.captures)}
        numbers = {number for slot in used for number in frees_of.get(slot, ())}
        op.frees = sorted(numbers)
        for number in op.frees:
            layout.frees[number].after_uses += 1


def _analyse(root: Op) -> tuple[dict[Region, list[Value]], dict[Region, bool]]:
    """What each region captures from around it, in order of first use, and whether it is pure.

    A region is pure when nothing in it touches an engine or a host, so that it can be evaluated on the spot.
    Inner regions come first, without recursion, so nesting is not limited.
    """
    captured: dict[Region, list[Value]] = {}
    pure: dict[Region, bool] = {}
    for region in reversed([region for op in walk([root]) for region in op.regions]):
        used: dict[Value, None] = {}
        defined = set(region.parameters)
        is_pure = True
        for op in region.ops:
            used.update(dict.fromkeys(op.operands))
            for nested in op.regions:
                used.update(dict.fromkeys(captured[nested]))
                is_pure = is_pure and pure[nested]
            defined.update(op.results)
            is_pure = is_pure and (op.name in PURE_OPS or op is region.terminator)
        captured[region] = [value for value in used if value not in defined]
        pure[region] = is_pure
    return captured, pure
