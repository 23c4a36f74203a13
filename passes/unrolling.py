"""Loops whose turns are known, as that many copies of their body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..ir.core import Arg, Op, Region, Symbol, Value, clone, walk
from ..ir.types import EFFECT
from .regions import effect_operand, first_carried, iterated

if TYPE_CHECKING:
    from .fold import Folder

Element = tuple[bool, object]
"""Whether it is a constant, and the constant or the operand."""


class Unroller:
    """Decides and unrolls, on behalf of a folder."""

    def __init__(self, folder: Folder, turns: int, operations: int) -> None:
        self._folder = folder
        self._turns = turns
        self._room = operations

    def unroll(self, op: Op, out: list[Op]) -> bool:
        """Replace a loop by its turns, at the end of `out`; False, with nothing done, if they are unknown or many."""
        if op.name == "flow.loop":
            return self._loop(op, out)
        lists = iterated(op)
        known = [self._elements(a) for a in lists]
        count = min((len(e) for e in known if e is not None), default=-1)
        if count < 0 or (count > 0 and any(e is None for e in known)):
            return False
        if not all(e is not None or self._folder.failures.never_itself(a) for e, a in zip(known, lists, strict=True)):
            return False  # a failed list fails the results, however short the others are
        if op.attributes.get("unordered") and count > 1 and (op.name == "flow.fold" or effect_operand(op) is not None):
            return False  # copies would have an order
        if count > self._most_turns(op.regions[0]):
            return False
        with self._room_for(count):
            if op.name == "flow.for":
                self._for(op, known, count, out)
            else:
                self._fold(op, known, count, out)
        return True

    def _elements(self, arg: Arg) -> list[Element] | None:
        """The elements of a list that is known, or whose elements are."""
        constant = self._folder.constants.get(arg)
        if isinstance(constant, list):
            return [(True, e) for e in constant]
        source = self._folder.definitions.get(arg) if isinstance(arg, Value) else None
        if source is not None and source.name == "flow.pure" and source.symbol == "list":
            return [(False, a) for a in source.args[1:]]
        return None

    def _most_turns(self, body: Region) -> int:
        """How many copies of `body` may be made."""
        return min(self._turns, self._room // sum(1 for _ in walk(body.ops)))

    @contextmanager
    def _room_for(self, turns: int) -> Iterator[None]:
        """Loops inside a body share its room."""
        room, self._room = self._room, self._room // max(1, turns)
        try:
            yield
        finally:
            self._room = room

    def _turn(self, op: Op, region: Region, values: list[Value], out: list[Op]) -> list[Arg]:
        """One copy of a region with `values` for its parameters; what it yields."""
        mapping = dict(zip(region.parameters, values, strict=True))
        copies = [clone(inner, mapping) for inner in region.ops]
        self._folder.fold_ops(copies[:-1], out)
        return list(copies[-1].args)

    def _element(self, known: list[Element] | None, turn: int, parameter: Value, op: Op, out: list[Op]) -> Value:
        assert known is not None
        is_constant, element = known[turn]
        if is_constant:
            return self._folder.add_constant(element, Value(parameter.type, parameter.name), op, out)
        return self._folder.as_value(element, parameter, op, out)  # type: ignore[arg-type]

    def _inputs(self, op: Op, known: list[list[Element] | None], turn: int, out: list[Op]) -> list[Value]:
        """The index and the elements of a turn."""
        parameters = op.regions[0].parameters
        index = self._folder.add_constant(turn, Value(parameters[0].type, parameters[0].name), op, out)
        elements = [self._element(k, turn, p, op, out) for k, p in zip(known, parameters[1:], strict=False)]
        return [index, *elements]

    def _for(self, op: Op, known: list[list[Element] | None], count: int, out: list[Op]) -> None:
        effect = effect_operand(op)
        columns: list[list[Arg]] = [[] for _ in op.results]
        for turn in range(count):
            inputs = self._inputs(op, known, turn, out)
            yielded = self._turn(op, op.regions[0], [*inputs, effect] if effect is not None else inputs, out)
            for column, result, arg in zip(columns, op.results, yielded, strict=True):
                column.append(arg if not isinstance(arg, Value) else self._folder.replaced.find(arg))
                if result.type == EFFECT:
                    effect = self._folder.as_value(arg, result, op, out)
        for column, result in zip(columns, op.results, strict=True):
            if result.type == EFFECT:
                assert effect is not None
                self._folder.replaced.add(result, effect)
            else:
                made = Op("flow.pure", [Symbol("list"), *column], [result], {}, [], op.location)
                self._folder.fold_ops([made], out)

    def _fold(self, op: Op, known: list[list[Element] | None], count: int, out: list[Op]) -> None:
        carried = list(op.args[first_carried(op) :])
        for turn in range(count):
            inputs = self._inputs(op, known, turn, out)
            carried = self._turn(op, op.regions[0], [*inputs, *self._values(op, carried, out)], out)
        self._folder.bind(op.results, carried, op, out)

    def _values(self, op: Op, carried: list[Arg], out: list[Op]) -> list[Value]:
        return [self._folder.as_value(a, r, op, out) for a, r in zip(carried, op.results, strict=True)]

    def _loop(self, op: Op, out: list[Op]) -> bool:
        """Unroll a `flow.loop` whose condition is known at every turn. Copies are thrown away where it is not."""
        limit = self._folder.constants.get(op.args[0])
        if not isinstance(limit, int) or isinstance(limit, bool):
            return False
        condition, body = op.regions
        trial: list[Op] = []
        carried: list[Arg] = list(op.args[1:])
        counts = self._folder.counts.copy()
        most = self._most_turns(body)
        with self._room_for(min(limit, most)):
            for turn in range(max(limit, 0)):
                values = self._values(op, carried, trial)
                holds = self._folder.constants.get(self._found(self._turn(op, condition, values, [])[0]))
                if holds is False:
                    break
                if holds is not True or turn == most:
                    self._folder.counts = counts
                    return False
                index = self._folder.add_constant(turn, Value(body.parameters[0].type), op, trial)
                carried = self._turn(op, body, [index, *values], trial)
        out.extend(trial)
        self._folder.bind(op.results, carried, op, out)
        return True

    def _found(self, arg: Arg) -> Arg:
        return self._folder.replaced.find(arg) if isinstance(arg, Value) else arg
