"""Evaluates regions that touch neither an engine nor a host on the spot, without cells, tasks or instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.target import Tokenizer
from ..ir.types import EFFECT
from ..ir.values import Failure
from .cells import NotReady, force, known, list_of
from .pure_calls import PureCall
from .region_instance import settled
from .region_layout import Layouts, OpLayout, RegionLayout

MAXIMUM_NESTING = 40
"""Regions nested more deeply are not evaluated here, so that the depth of Python's stack stays bounded."""


class RunStopped(Exception):
    """The run was cancelled or ran out of time during a long evaluation."""


Step = Callable[[list[Any], int], None]
"""One operation: reads and writes the slots of its region, whose nesting it is told."""
Body = Callable[[Sequence[Any]], list[Any]]
"""A region whose captures are fixed: what it yields for its parameters."""


class PureEvaluator:
    """Evaluates pure regions. `stopped` tells whether the run is to end; it is asked once per iteration."""

    def __init__(self, layouts: Layouts, tokenizer: Tokenizer | None, stopped: Callable[[], bool]) -> None:
        self._layouts = layouts
        self._tokenizer = tokenizer
        self._stopped = stopped
        self._makers: dict[str, Callable[[OpLayout], Step]] = {
            "flow.pure": self._pure, "flow.if": self._if, "flow.try": self._try, "flow.for": self._for,
            "flow.fold": self._fold, "flow.loop": self._loop, "engine.free": _nothing, "engine.group": _nothing,
        }

    def call(self, layout: OpLayout) -> PureCall:
        """The function of a `flow.pure` operation, made ready once."""
        call = layout.data
        if call is None:
            call = layout.data = PureCall(layout.op, self._tokenizer)
        assert isinstance(call, PureCall)
        return call

    def body(self, layout: RegionLayout, captured: Sequence[Any], nesting: int = 0) -> Body:
        """The pure region with these captures. What is returned raises NotReady when it needs a value that is not
        known yet, or when regions are nested too deeply.
        """
        steps = layout.steps
        if steps is None:
            steps = layout.steps = [self._makers[op.op.name](op) for op in layout.ops]
        first, last = layout.captures, layout.captures + layout.parameters
        template = layout.template.copy()
        template[:first] = captured
        yields = layout.yields

        def body(parameters: Sequence[Any]) -> list[Any]:
            if nesting > MAXIMUM_NESTING:
                raise NotReady([])
            slots = template.copy()
            slots[first:last] = parameters
            for step in steps:
                step(slots, nesting)
            return [slots[slot] for slot in yields]

        return body

    def _nested(self, op: OpLayout, number: int, slots: list[Any], nesting: int) -> Body:
        nested = op.regions[number]
        return self.body(self._layouts.of(nested.region), [slots[slot] for slot in nested.captures], nesting + 1)

    def _pure(self, op: OpLayout) -> Step:
        call, operands, (result,) = self.call(op), op.operands, op.results

        def step(slots: list[Any], nesting: int) -> None:
            slots[result] = call([slots[slot] for slot in operands])

        return step

    def _if(self, op: OpLayout) -> Step:
        def step(slots: list[Any], nesting: int) -> None:
            condition = known(slots[op.operands[0]])
            if type(condition) is Failure:
                _give(op, slots, failed_results(op, condition, [slots[s] for s in op.operands[1:]]))
            else:
                _give(op, slots, self._nested(op, 0 if condition else 1, slots, nesting)(()))

        return step

    def _try(self, op: OpLayout) -> Step:
        def step(slots: list[Any], nesting: int) -> None:
            if type(known(slots[op.operands[0]])) is Failure:
                _give(op, slots, self._nested(op, 0, slots, nesting)(()))
            else:
                _give(op, slots, [slots[s] for s in op.operands])

        return step

    def _for(self, op: OpLayout) -> Step:
        def step(slots: list[Any], nesting: int) -> None:
            lists = [known(slots[slot]) for slot in op.waits]
            effect = [slots[op.operands[-1]]] if op.has_effect else []
            failed = first_failure(lists)
            if failed is not None:
                _give(op, slots, failed_results(op, failed, effect))
                return
            body = self._nested(op, 0, slots, nesting)
            rows = []
            for index, elements in enumerate(zip(*lists, strict=False)):
                if self._stopped():
                    raise RunStopped
                rows.append(body((index, *map(settled, elements), *effect)))
            columns = [[row[number] for row in rows] for number in range(len(op.results) - len(effect))]
            _give(op, slots, [*map(list_of, columns), *effect])

        return step

    def _fold(self, op: OpLayout) -> Step:
        def step(slots: list[Any], nesting: int) -> None:
            lists = [known(slots[slot]) for slot in op.waits]
            carried = [slots[slot] for slot in op.operands[len(lists):]]
            failed = first_failure(lists)
            if failed is not None:
                _give(op, slots, failed_carried(op, failed, carried))
                return
            body = self._nested(op, 0, slots, nesting)
            for index, elements in enumerate(zip(*lists, strict=False)):
                if self._stopped():
                    raise RunStopped
                carried = body((index, *map(settled, elements), *carried))
            _give(op, slots, carried)

        return step

    def _loop(self, op: OpLayout) -> Step:
        def step(slots: list[Any], nesting: int) -> None:
            limit = known(slots[op.operands[0]])
            carried = [slots[slot] for slot in op.operands[1:]]
            if type(limit) is Failure:
                _give(op, slots, failed_carried(op, limit, carried))
                return
            condition, body = (self._nested(op, number, slots, nesting) for number in (0, 1))
            for turn in range(limit):
                if self._stopped():
                    raise RunStopped
                holds = force(condition(carried)[0])
                if type(holds) is Failure:
                    carried = failed_carried(op, holds, carried)
                if holds is not True:
                    break
                carried = body((turn, *carried))
            _give(op, slots, carried)

        return step


def _nothing(op: OpLayout) -> Step:
    """Frees need no work here: a context lives for as long as a slot holds it."""
    return lambda slots, nesting: None


def _give(op: OpLayout, slots: list[Any], values: Sequence[Any]) -> None:
    for slot, value in zip(op.results, values, strict=True):
        slots[slot] = value


def first_failure(values: Sequence[Any]) -> Failure | None:
    """The first failed value."""
    return next((value for value in values if type(value) is Failure), None)


def failed_results(op: OpLayout, failure: Failure, effects: Sequence[Any]) -> list[Any]:
    """Results of an operation that cannot run: the failure, and the effect operand for an effect result."""
    return [effects[-1] if result.type == EFFECT else failure for result in op.op.results]


def failed_carried(op: OpLayout, failure: Failure, carried: Sequence[Any]) -> list[Any]:
    """Results of a fold or loop that cannot go on: the failure, but effects as they are carried."""
    return [value if result.type == EFFECT else failure for result, value in zip(op.op.results, carried, strict=True)]
