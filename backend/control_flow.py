"""Runs `flow.if`, `flow.try`, `flow.for`, `flow.fold` and `flow.loop` by entering their regions.

A region that is pure and whose inputs are known is evaluated on the spot. Any other is instantiated, and what it
yields is handed on as cells, so consumers of a list start on each element when that one is there. Iterations begin
in order while the run's number of live instances is below a limit; one iteration may always run, so nothing starves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.types import EFFECT
from ..ir.values import Failure
from .cells import PENDING, Cell, Join, NotReady, Task, assign, force, list_of
from .pure_regions import Body, failed_carried, failed_results, first_failure
from .region_instance import OpTask, RegionInstance, settled

SLICE = 4096
"""Iterations evaluated on the spot before other tasks get their turn."""


class Entry:
    """The right of an operation to enter its regions; counts what it started and ends the operation after all of it."""

    def __init__(self, task: OpTask) -> None:
        self.task = task
        self.running = 0
        self.bodies: dict[int, Body] = {}
        """Pure regions all of whose captures are known."""
        self.complete = False
        """Whether nothing more will be entered."""

    def enter(self, region: int, parameters: Sequence[Any], iteration: int = 0) -> list[Any]:
        """What the region yields for `parameters`: values, or cells that will have them."""
        body = self.bodies.get(region)
        if body is not None:
            try:
                return body(parameters)
            except NotReady:
                pass
        task = self.task
        instance, run = task.instance, task.run
        nested = task.layout.regions[region]
        layout = run.layouts.of(nested.region)
        captured = instance.captured(nested)
        if body is None and layout.pure:
            body = run.pure.body(layout, captured)
            if not any(type(value) is Cell for value in captured):
                self.bodies[region] = body
            try:
                return body(parameters)
            except NotReady:
                pass
        self.running += 1
        place = (*instance.place, task.layout.position, region, iteration)
        return run.enter(layout, captured, parameters, self, instance, place).yields()

    def instance_done(self, instance: RegionInstance) -> None:
        """An instance has ended."""
        self.running -= 1
        self.end_if_done()

    def end_if_done(self) -> None:
        """End the operation when everything was entered and has ended."""
        if self.complete and self.running == 0:
            self.task.done()


def run_if(task: OpTask) -> None:
    """`flow.if`: a failed condition fails the results and enters neither branch."""
    condition = task.operand(0)
    if type(condition) is Failure:
        task.finish(*failed_results(task.layout, condition, task.raw_operands()))
        return
    task.run.plan.observations.see("share", task.op, 1.0 if condition else 0.0)
    _enter_once(task, 0 if condition else 1)


def run_try(task: OpTask) -> None:
    """`flow.try`: enters its region only where the operand failed."""
    value = task.operand(0)
    failed = type(value) is Failure
    task.run.plan.observations.see("share", task.op, 1.0 if failed else 0.0)
    if failed:
        _enter_once(task, 0)
    else:
        task.finish(*task.raw_operands())


def _enter_once(task: OpTask, region: int) -> None:
    entry = Entry(task)
    yields = entry.enter(region, ())
    task.give(yields)
    entry.complete = True
    entry.end_if_done()


class Iteration(Entry, Task):
    """Shared by the operations that enter a region many times."""

    def __init__(self, task: OpTask) -> None:
        Entry.__init__(self, task)
        Task.__init__(self, task.queue)
        self.next = 0
        self.count = 0
        """How many there are, once that is known."""
        self.blocked = False
        """Whether it waits for an instance to end before it enters another."""

    def observe_trips(self) -> None:
        """Tell the planner the number of iterations."""
        self.task.run.plan.observations.see("trips", self.task.op, self.count)

    def must_pause(self, stop: int) -> bool:
        """Whether to return now: until an instance has ended, or to let other tasks run."""
        if self.next >= stop:
            self.queue.append(self)
            return True
        self.blocked = self.running > 0 and not self.task.run.has_room()
        return self.blocked

    def instance_done(self, instance: RegionInstance) -> None:
        """Go on where the number of live instances had stopped it."""
        self.running -= 1
        self.end_if_done()
        if self.blocked:
            self.blocked = False
            self.queue.append(self)

    def execute(self) -> None:
        """Enter as many iterations as may live now."""
        try:
            self.advance()
        except NotReady as wait:
            self.wait_for(wait.cells)

    def advance(self) -> None:
        """Enter iterations; return to be called again after one has ended, or raise NotReady."""
        raise NotImplementedError


class MapIteration(Iteration):
    """`flow.for`: a list result is there at once, its elements follow. Effects are chained in order of index."""

    def __init__(self, task: OpTask, lists: list[list[Any]]) -> None:
        super().__init__(task)
        self.lists = lists
        self.count = min(map(len, lists))
        layout = task.layout
        self.effect: list[Any] = task.raw_operands()[-1:] if layout.has_effect else []
        self.incoming = list(self.effect)
        self.unordered = bool(task.op.attributes.get("unordered"))
        self.outgoing: list[Any] = []
        width = len(task.op.results) - len(self.effect)
        self.columns: list[list[Any]] = [[] for _ in range(width)]
        self.given = False

    def advance(self) -> None:
        """Enter elements in order."""
        stop = self.next + SLICE
        while self.next < self.count:
            if self.must_pause(stop):
                if self.running:
                    self._give()
                return
            index = self.next
            elements = [settled(items[index]) for items in self.lists]
            yields = self.enter(0, (index, *elements, *self.effect), index)
            self.next += 1
            self._store(index, yields)
        self._give()
        if self.effect:
            self._give_effect()
        self.lists, self.columns = [], []
        self.complete = True
        self.end_if_done()

    def _store(self, index: int, yields: list[Any]) -> None:
        for column, value in zip(self.columns, yields, strict=False):
            if not self.given:
                column.append(value)
            elif type(column[index]) is Cell:
                assign(column[index], value, self.queue)
        if self.effect:
            self.outgoing.append(yields[-1])
            if not self.unordered:
                self.effect = [yields[-1]]
                self.outgoing = self.outgoing[-1:]

    def _give(self) -> None:
        """Assign the list results, with a cell for each element that is still to come."""
        if self.given:
            return
        self.given = True
        for number, column in enumerate(self.columns):
            column.extend(Cell() for _ in range(self.count - len(column)))
            self.columns[number] = column = list_of(column)
            cell = self.task.instance.slots[self.task.layout.results[number]]
            cell.set(column)

    def _give_effect(self) -> None:
        cell = self.task.instance.slots[self.task.layout.results[-1]]
        if self.unordered:
            pending = [e for e in [*self.incoming, *self.outgoing] if type(e) is Cell and e.value is PENDING]
            Join(pending, cell, EFFECT, self.queue)
        else:
            assign(cell, self.effect[0], self.queue)


class FoldIteration(Iteration):
    """`flow.fold`: a turn may begin before the turn before it has ended; data decides what waits."""

    def __init__(self, task: OpTask, lists: list[list[Any]], carried: list[Any]) -> None:
        super().__init__(task)
        self.lists = lists
        self.count = min(map(len, lists))
        self.carried = carried

    def advance(self) -> None:
        """Enter turns in order."""
        stop = self.next + SLICE
        while self.next < self.count:
            if self.must_pause(stop):
                return
            elements = [settled(items[self.next]) for items in self.lists]
            parameters = (self.next, *elements, *map(settled, self.carried))
            self.carried = self.enter(0, parameters, self.next)
            self.next += 1
        self.lists = []
        self.task.give(self.carried)
        self.carried = []
        self.complete = True
        self.end_if_done()


class LoopIteration(Iteration):
    """`flow.loop`: the condition is evaluated before each turn; a failed one fails the results."""

    def __init__(self, task: OpTask, limit: int, carried: list[Any]) -> None:
        super().__init__(task)
        self.limit = limit
        self.carried = carried
        self.condition: list[Any] = []

    def advance(self) -> None:
        """Take turns."""
        stop = self.next + SLICE
        while self.next < self.limit:
            if self.must_pause(stop):
                return
            self.carried = [settled(value) for value in self.carried]
            if not self.condition:
                self.condition = self.enter(0, self.carried, self.next)
            holds = force(self.condition[0])
            self.condition = []
            if type(holds) is Failure:
                self.carried = failed_carried(self.task.layout, holds, self.carried)
            if holds is not True:
                break
            self.carried = self.enter(1, (self.next, *self.carried), self.next)
            self.next += 1
        self.count = self.next
        self.observe_trips()
        self.task.give(self.carried)
        self.carried = []
        self.complete = True
        self.end_if_done()


def run_for(task: OpTask) -> None:
    """`flow.for`: fails only with a failed list; a failed body fails its element."""
    lists = [task.operand(position) for position in range(len(task.layout.waits))]
    failed = first_failure(lists)
    if failed is not None:
        task.finish(*failed_results(task.layout, failed, task.raw_operands()))
        return
    iteration = MapIteration(task, lists)
    iteration.observe_trips()
    iteration.execute()


def run_fold(task: OpTask) -> None:
    """`flow.fold`: gives the seeds when there are no elements."""
    count = len(task.layout.waits)
    lists = [task.operand(position) for position in range(count)]
    carried = task.raw_operands()[count:]
    failed = first_failure(lists)
    if failed is not None:
        task.finish(*failed_carried(task.layout, failed, carried))
        return
    iteration = FoldIteration(task, lists, carried)
    iteration.observe_trips()
    iteration.execute()


def run_loop(task: OpTask) -> None:
    """`flow.loop`: at most `limit` turns."""
    limit = task.operand(0)
    carried = task.raw_operands()[1:]
    if type(limit) is Failure:
        task.finish(*failed_carried(task.layout, limit, carried))
        return
    LoopIteration(task, limit, carried).execute()


HANDLERS = {"flow.if": run_if, "flow.try": run_try, "flow.for": run_for, "flow.fold": run_fold, "flow.loop": run_loop}
