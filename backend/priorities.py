"""What a run tells the scheduler of each call: the plan of the program, brought up to what the run has shown.

Objective and group of a call are those that the passes wrote; depth, slack and deadline follow from the plan, which is
made again when trip counts and branches have become known. A call in a turn of a loop has the turns after it before
it, too, and what remains of a deadline after these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir.core import Op, Symbol, Word, walk
from ..passes.cost_model import CostModel
from ..passes.effects import GENERATES
from ..passes.group_batches import group_batches
from ..passes.objectives import deadline_of
from ..passes.plan import Plan
from ..passes.planner import Knowledge, Order
from ..passes.turns import serial
from .control_flow import Entry, FoldIteration
from .engine import Priority
from .region_instance import RegionInstance

if TYPE_CHECKING:
    from .planning import Observations
    from .region_layout import OpLayout

WORK_OF_CALL = 64
"""Operations that a call may cost the planner, on average: so seldom are long programs planned again."""


class Seen(Knowledge):
    """What a run has shown; unlike in `Observations`, what has not been executed yet is not known."""

    def __init__(self, observations: Observations) -> None:
        self._seen = observations

    def trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._seen.trips(op) if self._seen.has("trips", op) else None

    def share(self, op: Op, region: int) -> float | None:
        """See `Knowledge`."""
        return self._seen.share(op, region) if self._seen.has("share", op) else None

    def samples(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._seen.samples(op)

    def budget(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._seen.budget(op)

    def piece_tokens(self, op: Op, piece: int) -> float | None:
        """See `Knowledge`."""
        return self._seen.piece_tokens(op, piece)


class Priorities:
    """Of the calls of one run of `program`, whose generates have objectives. `application`: number of the run."""

    def __init__(self, program: Op, order: Order, observations: Observations, model: CostModel,
                 application: int, kv_slots: int | None = None) -> None:
        self._kv_slots = kv_slots
        self._program = program
        self._observations = observations
        self._model = model
        self._application = application
        self._serial = serial(order)
        self._batches: dict[str, int] = {}
        """Of groups that are sized; while urgent calls decode, the scheduler by itself lets fewer take part."""
        self._unsized: set[str] = set()
        self._engines: dict[str, int] = {}
        """Over how many engines groups are to be spread, where the passes could tell."""
        for group in (op for op in program.regions[0].ops if op.name == "engine.group"):
            batch = group.attributes.get("alone", group.attributes.get("batch"))
            if isinstance(batch, int):
                self._batches[group.symbol] = batch
            else:
                self._unsized.add(group.symbol)
            engines = group.attributes.get("engines")
            if isinstance(engines, int):
                self._engines[group.symbol] = engines
        self._is_dynamic = sum(1 for _ in order.regions()) > 1
        self._size = sum(1 for _ in walk([program]))
        self._plan: Plan | None = None
        self._ends: dict[Op, float] = {}
        self._planned_at = -1
        self._allowance = self._size
        self.began = 0.0
        """When the run began, as the engines' clock has it; deadlines count from there."""

    def of(self, instance: RegionInstance, layout: OpLayout) -> Priority:
        """What is to be said of a generate of `instance` now."""
        op, plan = layout.op, self._current()
        attributes = op.attributes
        objective, depth, slack = attributes.get("objective"), attributes.get("depth"), attributes.get("slack")
        turns, seconds = self._later_turns(instance, plan)
        if plan is not None:
            depth, slack = plan.depth(op) + round(turns), plan.slack(op)
        end = self._end(op, plan)
        deadline = None if end is None else self.began + end - seconds
        group = attributes.get("group")
        batch = self._batches.get(group.name) if isinstance(group, Symbol) else None
        engines = self._engines.get(group.name) if isinstance(group, Symbol) else None
        return Priority(
            group=self._group(instance, group.name) if isinstance(group, Symbol) else None,
            depth=depth if isinstance(depth, int) else 0, objective=_text(objective, end, seconds),
            application=self._application, slack=slack if isinstance(slack, float) else 0.0, deadline=deadline,
            batch=batch, engines=engines)

    def _current(self) -> Plan | None:
        """The plan with what is known now; None where the passes could know as much."""
        if not self._is_dynamic:
            return None
        self._allowance += WORK_OF_CALL
        if self._planned_at != self._observations.changes and self._allowance >= self._size:
            self._allowance -= self._size
            self._planned_at = self._observations.changes
            self._plan = Plan(self._program, Seen(self._observations), lambda op: self._model)
            self._ends = self._plan.latest_ends()
            self._size_batches(self._plan)
        return self._plan

    def _size_batches(self, plan: Plan) -> None:
        """Size the groups that the passes could not size, with what is known now."""
        if self._unsized:
            sized = group_batches(plan, Seen(self._observations), lambda op: self._model, lambda op: self._kv_slots)
            self._batches.update((name, sized[name].alone) for name in self._unsized if name in sized)

    def _end(self, op: Op, plan: Plan | None) -> float | None:
        """By when a call with a deadline must have ended in the last turn of every loop, in seconds of the run."""
        deadline = deadline_of(op.attributes.get("objective"))
        if deadline is None or plan is None or op not in self._ends:
            return deadline
        return self._ends[op] + plan.seconds.later_turns[plan.home[op]]

    def _later_turns(self, instance: RegionInstance, plan: Plan | None) -> tuple[float, float]:
        """What the turns after this one add to the chain: generates and seconds."""
        calls = seconds = 0.0
        while plan is not None and instance.parent is not None:
            owner = instance.owner
            if isinstance(owner, FoldIteration):
                later = owner.count - 1 - instance.place[-1]
                each_calls, each_seconds = plan.turn(owner.task.op)
                calls, seconds = calls + later * each_calls, seconds + later * each_seconds
            instance = instance.parent
        return calls, seconds

    def _group(self, instance: RegionInstance, name: str) -> str:
        """The group's name in this run: one for all elements of a map, another for each turn whose calls may wait."""
        turns: list[str] = []
        while instance.parent is not None:
            owner = instance.owner
            if isinstance(owner, Entry) and owner.task.op in self._serial:
                turns.append(str(instance.place[-1]))
            instance = instance.parent
        return "/".join([str(self._application), name, *reversed(turns)])


def has_objectives(program: Op) -> bool:
    """Whether the passes have said what the calls of a program are for."""
    return any("objective" in op.attributes for op in walk([program]) if op.name in GENERATES)


def _text(objective: object, end: float | None, seconds: float) -> str:
    if not isinstance(objective, Word):
        return "throughput"
    return objective.name if end is None else f"{objective.name}({end - seconds:g})"
