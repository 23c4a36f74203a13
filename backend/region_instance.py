"""Instances of regions: slots, one task for each operation, and who is told when everything in them is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..ir.core import Op
from .cells import PENDING, Cell, NotReady, Task, assign, known
from .region_layout import NestedRegion, OpLayout, RegionLayout

if TYPE_CHECKING:
    from .run import Run


class Owner(Protocol):
    """Whoever entered a region."""

    def instance_done(self, instance: RegionInstance) -> None:
        """Every operation of `instance` is done. Called from the queue of tasks."""


class RegionInstance:
    """One entry into a region. `place` is the path of positions and iterations that leads to it, for ordering."""

    __slots__ = ("frees", "layout", "open", "owner", "parent", "place", "run", "slots")

    def __init__(self, run: Run, layout: RegionLayout, captured: Sequence[Any], parameters: Sequence[Any],
                 owner: Owner, parent: RegionInstance | None, place: tuple[int, ...]) -> None:
        self.run = run
        self.layout = layout
        self.owner = owner
        self.parent = parent
        self.place = place
        self.slots = fill_slots(layout, captured, parameters)
        slots = self.slots
        for slot in layout.cells:
            slots[slot] = Cell()
        self.open = len(layout.ops)
        self.frees: list[OpTask] = []
        queue = run.queue
        for op in layout.ops:
            task = OpTask(self, op, queue)
            missing = op.after_uses
            for slot in op.waits:
                value = slots[slot]
                if type(value) is Cell and value.value is PENDING:
                    value.wait(task)
                    missing += 1
            if op.op.name == "engine.free":
                self.frees.append(task)
            task.missing = missing
            if missing == 0:
                queue.append(task)
            elif op.stream is not None and run.handovers is not None:
                run.handovers.expect(task, op.stream, queue)
        if self.open == 0:
            queue.append(InstanceDone(self, queue))

    def captured(self, nested: NestedRegion) -> list[Any]:
        """The values that a region nested in this one captures."""
        return [settled(self.slots[slot]) for slot in nested.captures]

    def yields(self) -> list[Any]:
        """What the terminator hands out: values, or cells that will have them."""
        return [settled(self.slots[slot]) for slot in self.layout.yields]

    def op_done(self, op: OpLayout) -> None:
        """One operation and everything inside it is done."""
        for number in op.frees:
            self.frees[number].arrived()
        self.open -= 1
        if self.open == 0:
            self.run.queue.append(InstanceDone(self, self.run.queue))

    def unfinished(self) -> list[OpLayout]:
        """Operations with results that are not known yet."""
        return [op for op in self.layout.ops if self.slots and any(
            type(v := self.slots[slot]) is Cell and v.value is PENDING for slot in op.results)]

    def forget(self) -> None:
        """Drop all values, so that contexts and memory that nobody else uses are released."""
        self.slots = []
        self.frees = []


class InstanceDone(Task):
    """Tells the owner of an instance that it is done; a task of its own so that nesting never recurses."""

    __slots__ = ("instance",)

    def __init__(self, instance: RegionInstance, queue: deque[Task]) -> None:
        super().__init__(queue)
        self.instance = instance

    def execute(self) -> None:
        instance = self.instance
        instance.forget()
        instance.run.left(instance)
        instance.owner.instance_done(instance)


class OpTask(Task):
    """One operation of an instance. Its handler runs when the awaited operands are known, and again after NotReady."""

    __slots__ = ("instance", "layout")

    def __init__(self, instance: RegionInstance, layout: OpLayout, queue: deque[Task]) -> None:
        super().__init__(queue)
        self.instance = instance
        self.layout = layout

    @property
    def op(self) -> Op:
        """The operation."""
        return self.layout.op

    @property
    def run(self) -> Run:
        """The run that this belongs to."""
        return self.instance.run

    def execute(self) -> None:
        try:
            self.run.handlers[self.layout.op.name](self)
        except NotReady as wait:
            self.wait_for(wait.cells)

    def operand(self, position: int) -> Any:
        """The operand at `position`; raises NotReady."""
        return known(self.instance.slots[self.layout.operands[position]])

    def raw_operands(self) -> list[Any]:
        """All operands; cells where they are not known yet."""
        slots = self.instance.slots
        return [settled(slots[slot]) for slot in self.layout.operands]

    def give(self, values: Sequence[Any]) -> None:
        """Assign the results, in order; a cell among `values` hands its value on when it has one."""
        slots, queue = self.instance.slots, self.queue
        for slot, value in zip(self.layout.results, values, strict=True):
            assign(slots[slot], value, queue)

    def done(self) -> None:
        """Everything that the operation started has ended."""
        self.instance.op_done(self.layout)

    def finish(self, *values: Any) -> None:
        """Assign the results and be done."""
        self.give(values)
        self.done()


def fill_slots(layout: RegionLayout, captured: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
    """The slots of a new instance, without cells for results."""
    slots = layout.template.copy()
    border = layout.captures
    slots[:border] = captured
    slots[border : border + layout.parameters] = parameters
    return slots


def settled(value: Any) -> Any:
    """The value of a cell that has one; anything else as it is, a cell without a value too."""
    if type(value) is Cell and value.value is not PENDING:
        return value.value
    return value
