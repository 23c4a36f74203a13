"""How far a run has come: from it follows how many generates are still to run before a context is used."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.core import Op, walk
from ..passes.planner import Order
from .control_flow import Entry, Iteration, MapIteration
from .engine import FillHint
from .region_instance import OpTask, RegionInstance

UNPLANNED = FillHint(early=0)
"""A fill without a plan is computed when a call needs it."""


@dataclass(frozen=True)
class PrefillPlan:
    """What `plan-prefill` has left in a program: whether anything is early, whether any prompt follows a text."""

    early: bool
    streams: bool


def plan_of(program: Op) -> PrefillPlan:
    """Whether the fills of a program have plans."""
    fills = [op.attributes for op in walk([program]) if op.name == "engine.fill"]
    return PrefillPlan(any("uses" in a for a in fills), any("stream" in a for a in fills))


class Progress:
    """Generates one after another: those of the program, or those of one element of a `flow.for`.

    `step`: number of the latest generate that was started, -1 before the first. `around`: the thread that started
    this one, `begin`: its step there.
    """

    __slots__ = ("around", "begin", "step")

    def __init__(self, around: Progress | None, begin: int) -> None:
        self.around = around
        self.begin = begin
        self.step = -1

    def before(self, uses: tuple[int, ...]) -> int:
        """Generates that are still to run before the next of `uses`; 0 when the last one has been reached."""
        distance = next((use - self.step for use in uses if use >= self.step), 0)
        if self.step < 0 and self.around is not None:
            distance += max(0, self.around.before((self.begin,)) - 1)
        return distance


class ProgressTable:
    """The progress of every thread of a run. `order`: the stages of the program's regions."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._threads: dict[RegionInstance, Progress] = {}

    def started(self, task: OpTask) -> None:
        """A generate begins."""
        thread, begin = self._thread_of(task.instance)
        thread.step = max(thread.step, begin + self._stage(task.instance, task.op))

    def ended(self, instance: RegionInstance) -> None:
        """An instance is done."""
        self._threads.pop(instance, None)

    def hint(self, task: OpTask) -> FillHint:
        """What the plan says of a fill; one without a plan is filled when it is needed."""
        attributes = task.op.attributes
        early, uses = attributes.get("early"), attributes.get("uses")
        if not isinstance(uses, tuple):
            return UNPLANNED
        thread, begin = self._thread_of(task.instance)
        steps = tuple(begin + use for use in uses if isinstance(use, int))
        return FillHint(early if isinstance(early, int) else 0, lambda: thread.before(steps))

    def _thread_of(self, instance: RegionInstance) -> tuple[Progress, int]:
        """The thread that an instance belongs to, and the step there at which it begins."""
        begin = 0
        while instance.parent is not None:
            owner = instance.owner
            assert isinstance(owner, Entry)
            if isinstance(owner, MapIteration):
                break
            begin += self._stage(instance.parent, owner.task.op)
            if isinstance(owner, Iteration):
                begin += instance.place[-1] * round(self._order.of(instance.layout.region).span)
            instance = instance.parent
        thread = self._threads.get(instance)
        if thread is None:
            thread = self._threads[instance] = self._new_thread(instance)
        return thread, begin

    def _new_thread(self, instance: RegionInstance) -> Progress:
        if instance.parent is None:
            return Progress(None, 0)
        owner = instance.owner
        assert isinstance(owner, Entry)
        around, begin = self._thread_of(instance.parent)
        return Progress(around, begin + self._stage(instance.parent, owner.task.op))

    def _stage(self, instance: RegionInstance, op: Op) -> int:
        return round(self._order.of(instance.layout.region).stage.get(op, 0.0))

