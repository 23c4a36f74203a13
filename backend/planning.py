"""The planner at run time: it is asked again with trip counts, branches and lengths as they become known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir.core import Op
from ..passes.cost_model import CostModel
from ..passes.forecast import Forecast, forecast
from ..passes.planner import Knowledge, Order
from .control_flow import Entry, FoldIteration, MapIteration
from .engine import Priority
from .priorities import Priorities, has_objectives
from .region_instance import RegionInstance

if TYPE_CHECKING:
    from .region_layout import OpLayout


CONTROL = frozenset({"trips", "share"})
"""What observations of control flow are called."""


class Series:
    """The mean and the largest of numbers that arrive one by one."""

    __slots__ = ("count", "largest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.largest = 0.0

    def add(self, value: float) -> None:
        """Take one more number."""
        self.count += 1
        self.total += value
        self.largest = max(self.largest, value)


class Observations(Knowledge):
    """What a run has shown so far: control flow and lengths of inserted texts, never what outputs turned out to be.

    An operation that has not been executed counts as one that is not going to be.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, Op, int], Series] = {}
        self.changes = 0
        """How often what is known of control flow has changed."""

    def see(self, kind: str, op: Op, value: float, number: int = 0) -> None:
        """Take notice of one execution of `op`. `kind` is the question of `Knowledge` that this answers."""
        key = kind, op, number
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series()
        if kind in CONTROL and (not series.count or value * series.count != series.total):
            self.changes += 1
        series.add(value)

    def has(self, kind: str, op: Op) -> bool:
        """Whether `op` has been executed."""
        return (kind, op, 0) in self._series

    def _mean(self, kind: str, op: Op, number: int = 0) -> float | None:
        series = self._series.get((kind, op, number))
        return None if series is None else series.total / series.count

    def _largest(self, kind: str, op: Op, number: int = 0) -> float | None:
        series = self._series.get((kind, op, number))
        return None if series is None else series.largest

    def trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._mean("trips", op) or 0.0

    def most_trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._largest("trips", op) or 0.0

    def share(self, op: Op, region: int) -> float | None:
        """See `Knowledge`. Region 0 of a `flow.if` is entered when its condition holds."""
        first = self._mean("share", op)
        return 0.0 if first is None else first if region == 0 else 1.0 - first

    def samples(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._mean("samples", op)

    def budget(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._mean("budget", op)

    def piece_tokens(self, op: Op, piece: int) -> float | None:
        """See `Knowledge`."""
        return self._mean("piece_tokens", op, piece)

    def longest_piece(self, op: Op, piece: int) -> float | None:
        """See `Knowledge`."""
        return self._largest("piece_tokens", op, piece)


class RunPlan:
    """What is known of a run so far, and what the planner makes of it. `application`: number of the run; `kv_slots`:
    tokens that the engine's KV memory holds, where that is known.
    """

    def __init__(self, program: Op, model: CostModel, application: int = 0, kv_slots: int | None = None) -> None:
        self.program = program
        self.application = application
        self.observations = Observations()
        self._model = model
        self._order = Order(program, Knowledge())
        self._priorities = Priorities(program, self._order, self.observations, model, application, kv_slots) if (
            has_objectives(program)) else None

    @property
    def order(self) -> Order:
        """The stages of all regions, as far as the program's text says."""
        return self._order

    def forecast(self) -> Forecast:
        """Expectations with everything that is known now."""
        order = Order(self.program, self.observations)
        return forecast(self.program, order, self.observations, self._model)

    def priority(self, instance: RegionInstance, layout: OpLayout) -> Priority:
        """What the scheduler is told of a generate of `instance`."""
        if self._priorities is not None:
            return self._priorities.of(instance, layout)
        return Priority(f"{self.application}/{self.group(instance, layout)}", self.depth(instance, layout),
                        application=self.application)

    def begin(self, now: float) -> None:
        """The run begins `now`, as the engines' clock has it."""
        if self._priorities is not None:
            self._priorities.began = now

    def depth(self, instance: RegionInstance, layout: OpLayout) -> int:
        """How many generates are still to follow one of `instance` before a result of the program is there."""
        depth = self._order.of(instance.layout.region).depth.get(layout.op, 0.0)
        while instance.parent is not None:
            owner = instance.owner
            assert isinstance(owner, Entry)
            depth += self._order.of(instance.parent.layout.region).depth.get(owner.task.op, 0.0)
            if isinstance(owner, FoldIteration):
                later = owner.count - 1 - instance.place[-1]
                depth += later * self._order.of(instance.layout.region).span
            instance = instance.parent
        return round(depth)

    def group(self, instance: RegionInstance, layout: OpLayout) -> str:
        """The name of the group of a generate: equal for the same stage of the bodies of one `flow.for`."""
        stage = self._order.of(instance.layout.region).stage.get(layout.op, 0.0)
        parts = [f"{stage:g}"]
        while instance.parent is not None:
            position, region, iteration = instance.place[-3:]
            each = "" if isinstance(instance.owner, MapIteration) else f".{iteration}"
            parts.append(f"{position}.{region}{each}")
            instance = instance.parent
        return "/".join(reversed(parts))
