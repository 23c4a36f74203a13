"""Single-assignment cells, aggregates of cells, and the tasks that wait for them.

A runtime value is *plain* when it is a str, int, float, bool, None, context, or a `list` or `dict` of plain values.
Everything that is not plain has a class of its own, so a type test tells them apart: `Cell` (maybe not known yet),
`Failure`, and `PartialList` or `PartialDict`, aggregates that may hold cells and failures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from ..ir.values import Failure


class Pending:
    """The content of a cell whose value is not known yet."""


PENDING: Final = Pending()


class NotReady(Exception):
    """Values that are needed now are not known yet: those of `cells`."""

    def __init__(self, cells: list[Cell]) -> None:
        super().__init__(f"{len(cells)} values are not known yet")
        self.cells = cells


class Task:
    """Something to execute as soon as `missing` values have arrived. Tasks run from a queue, never nested."""

    __slots__ = ("missing", "queue")

    def __init__(self, queue: deque[Task]) -> None:
        self.missing = 0
        self.queue = queue

    def arrived(self) -> None:
        """One of the missing values is there."""
        self.missing -= 1
        if self.missing == 0:
            self.queue.append(self)

    def wait_for(self, cells: Iterable[Cell]) -> None:
        """Execute again when all of `cells`, none of them known yet, have values."""
        for cell in cells:
            self.missing += 1
            cell.wait(self)

    def execute(self) -> None:
        """Do the work."""
        raise NotImplementedError


class Cell:
    """A value that is assigned once. Its value is never a cell itself."""

    __slots__ = ("value", "waiters")

    def __init__(self) -> None:
        self.value: Any = PENDING
        self.waiters: Task | list[Task] | None = None

    def wait(self, task: Task) -> None:
        """Tell `task` when the value is there; it is not there yet."""
        waiters = self.waiters
        if waiters is None:
            self.waiters = task
        elif isinstance(waiters, list):
            waiters.append(task)
        else:
            self.waiters = [waiters, task]

    def set(self, value: Any) -> None:
        """Assign the value and wake who waits for it."""
        assert self.value is PENDING, "a cell is assigned once"
        self.value = value
        waiters, self.waiters = self.waiters, None
        if waiters is None:
            return
        for task in waiters if isinstance(waiters, list) else (waiters,):
            task.arrived()


class Forward(Task):
    """Copies the value of one cell to another."""

    __slots__ = ("source", "target")

    def __init__(self, source: Cell, target: Cell, queue: deque[Task]) -> None:
        super().__init__(queue)
        self.source = source
        self.target = target
        self.wait_for((source,))

    def execute(self) -> None:
        self.target.set(self.source.value)


class Join(Task):
    """Assigns `value` to a cell when all of `cells` have values."""

    __slots__ = ("target", "value")

    def __init__(self, cells: list[Cell], target: Cell, value: Any, queue: deque[Task]) -> None:
        super().__init__(queue)
        self.target = target
        self.value = value
        self.wait_for(cells)
        if not cells:
            queue.append(self)

    def execute(self) -> None:
        self.target.set(self.value)


def assign(cell: Cell, value: Any, queue: deque[Task]) -> None:
    """Give `cell` a value, now or as soon as `value`, itself a cell, has one."""
    if type(value) is Cell:
        if value.value is PENDING:
            Forward(value, cell, queue)
            return
        value = value.value
    cell.set(value)


class PartialList(list[Any]):
    """A list that may hold cells, failures and partial aggregates. `forced` caches what `force` gave."""

    __slots__ = ("forced",)
    forced: Any


class PartialDict(dict[str, Any]):
    """A record or map that may hold cells, failures and partial aggregates. `forced` caches what `force` gave."""

    __slots__ = ("forced",)
    forced: Any


NOT_PLAIN: Final = frozenset({Cell, Failure, PartialList, PartialDict})


def known(value: Any) -> Any:
    """The content of a cell, any other value as it is. Raises NotReady."""
    if type(value) is Cell:
        if value.value is PENDING:
            raise NotReady([value])
        return value.value
    return value


def force(value: Any) -> Any:
    """The plain value, or the first failure inside it. Raises NotReady with every cell that is not known."""
    if type(value) not in NOT_PLAIN:
        return value
    cells: list[Cell] = []
    collect_pending(value, cells)
    if cells:
        raise NotReady(cells)
    return _plain(value)


def collect_pending(value: Any, cells: list[Cell]) -> None:
    """Append every cell inside `value` that is not known yet."""
    kind = type(value)
    if kind is Cell:
        if value.value is PENDING:
            cells.append(value)
        else:
            collect_pending(value.value, cells)
    elif kind is PartialList and not hasattr(value, "forced"):
        for item in value:
            if type(item) in NOT_PLAIN:
                collect_pending(item, cells)
    elif kind is PartialDict and not hasattr(value, "forced"):
        for item in value.values():
            if type(item) in NOT_PLAIN:
                collect_pending(item, cells)


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is Cell:
        return _plain(value.value)
    if kind is PartialList:
        if not hasattr(value, "forced"):
            value.forced = _plain_list(value)
        return value.forced
    if kind is PartialDict:
        if not hasattr(value, "forced"):
            items = _plain_list(value.values())
            value.forced = dict(zip(value, items, strict=True)) if isinstance(items, list) else items
        return value.forced
    return value


def _plain_list(items: Iterable[Any]) -> list[Any] | Failure:
    result = []
    for item in items:
        if type(item) in NOT_PLAIN:
            item = _plain(item)
            if type(item) is Failure:
                return item
        result.append(item)
    return result


def partial_levels(value: Any, levels: int) -> Any:
    """`value` with its outer `levels` of aggregates marked as partial, as they may hold what is not plain."""
    if levels == 0:
        return value
    if type(value) is list:
        return PartialList(partial_levels(item, levels - 1) for item in value)
    if type(value) is dict:
        return PartialDict((key, partial_levels(item, levels - 1)) for key, item in value.items())
    return value


def list_of(items: list[Any]) -> list[Any]:
    """`items` as a runtime value."""
    return items if NOT_PLAIN.isdisjoint(map(type, items)) else PartialList(items)
