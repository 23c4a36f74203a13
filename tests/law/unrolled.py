"""What waits for what in a program, by brute force: every turn and element is executed on sets instead of values.

A value is the set of the weighty operations that must have ended before it is there; both branches are taken, maps
have two elements and loops as many turns as asked for. It shares no code with the planner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from semlang.ir.core import Op, Region, Value
from semlang.ir.types import EFFECT

WEIGHTY = frozenset({"prompt.append", "prompt.generate", "engine.fill", "engine.generate"})
Waits = frozenset["Instance"]
NOTHING: Waits = frozenset()


@dataclass(frozen=True)
class Instance:
    """One execution of an operation. `path`: for each region around it the operation, and the turn or element."""

    op: Op
    path: tuple[tuple[Op, int], ...]


@dataclass
class Unrolled:
    """See the module's docstring. `waits`: of each weighty instance; `outputs`: of each returned value, in order."""

    program: Op
    turns: int
    elements: int = 2
    waits: dict[Instance, Waits] = field(default_factory=dict)
    outputs: list[Waits] = field(default_factory=list)

    def __post_init__(self) -> None:
        region = self.program.regions[0]
        self._values: dict[Value, Waits] = dict.fromkeys(region.parameters, NOTHING)
        self.outputs = self._run(region, NOTHING, ())

    def _of(self, args: Sequence[object]) -> Waits:
        return NOTHING.union(*(self._values[arg] for arg in args if isinstance(arg, Value)))

    def _run(self, region: Region, control: Waits, path: tuple[tuple[Op, int], ...]) -> list[Waits]:
        """What the terminator hands out."""
        for op in region.ops[:-1]:
            match op.name:
                case "flow.if":
                    found = self._branches(op, control | self._of([op.args[0]]), path)
                case "flow.try":
                    found = self._branches(op, control | self._of([op.args[0]]), path)
                    found[0] |= self._of([op.args[0]])
                case "flow.for":
                    found = self._map(op, control, path)
                case "flow.fold" | "flow.loop":
                    found = self._loop(op, control, path)
                case _:
                    waits = control | self._of(op.args)
                    if op.name in WEIGHTY:
                        self.waits[Instance(op, path)] = waits
                        waits |= {Instance(op, path)}
                    found = [waits] * len(op.results)
            self._values.update(zip(op.results, found, strict=True))
        return [control | self._of([arg]) for arg in region.terminator.args]

    def _branches(self, op: Op, control: Waits, path: tuple[tuple[Op, int], ...]) -> list[Waits]:
        found = [control] * len(op.results)
        for region in op.regions:
            yields = self._run(region, control, (*path, (op, 0)))
            found = [a | b for a, b in zip(found, yields, strict=True)]
        return found

    def _map(self, op: Op, control: Waits, path: tuple[tuple[Op, int], ...]) -> list[Waits]:
        region = op.regions[0]
        takes_effect = isinstance(op.args[-1], Value) and op.args[-1].type == EFFECT
        lists = op.args[:-1] if takes_effect else op.args
        control |= self._of(lists)
        effect = control | self._of(op.args[-1:] if takes_effect else [])
        found = [control] * len(op.results)
        if takes_effect:
            found[-1] = effect
        for element in range(self.elements):
            self._values.update(dict.fromkeys(region.parameters, control))
            if takes_effect:
                self._values[region.parameters[-1]] = effect
            yields = self._run(region, control, (*path, (op, element)))
            found = [a | b for a, b in zip(found, yields, strict=True)]
            if takes_effect and not op.attributes.get("unordered"):
                effect = yields[-1]
        return found

    def _loop(self, op: Op, control: Waits, path: tuple[tuple[Op, int], ...]) -> list[Waits]:
        count = op.attributes.get("lists", 1)
        assert isinstance(count, int)
        body = op.regions[-1]
        control |= self._of(op.args[:count])
        carried = [control | self._of([arg]) for arg in op.args[count:]]
        found = carried
        for turn in range(self.turns):
            here = (*path, (op, turn))
            if op.name == "flow.loop":
                self._values.update(zip(op.regions[0].parameters, carried, strict=True))
                control = control.union(*self._run(op.regions[0], control, here))
            first = len(body.parameters) - len(carried)
            self._values.update(dict.fromkeys(body.parameters[:first], control))
            self._values.update(zip(body.parameters[first:], carried, strict=True))
            carried = self._run(body, control, here)
            found = [a | b for a, b in zip(found, carried, strict=True)]
        return found


def waiting_together(program: Op, apart: set[Op], turns: int) -> list[tuple[Instance, Instance]]:
    """Pairs of calls of one group of which the first waits for the second.

    A run gives all elements and turns the same group, except the turns of the operations `apart`.
    """
    unrolled = Unrolled(program, turns)
    groups: dict[object, list[Instance]] = {}
    for instance in unrolled.waits:
        if instance.op.name == "engine.generate":
            path = tuple(step for step in instance.path if step[0] in apart)
            groups.setdefault((instance.op.attributes["group"], path), []).append(instance)
    return [(first, second) for members in groups.values() for first in members
            for second in unrolled.waits[first] & frozenset(members)]
