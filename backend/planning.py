"""The planner at run time: it is asked again with trip counts, branches and lengths as they become known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir.core import Op
from ..ir.target import Tokenizer
from ..passes.planner import Order, Unknown
from .region_instance import RegionInstance
from .region_layout import OpLayout
from .results import RunStats

if TYPE_CHECKING:
    from .control_flow import Entry


class RunPlan:
    """What is known of a run so far, and what the planner makes of it."""

    def __init__(self, program: Op, arguments: Sequence[Any], tokenizer: Tokenizer | None) -> None:
        self.program = program
        self.order = Order(program, Unknown())

    def observe_trips(self, op: Op, count: int) -> None:
        """One execution of a loop has `count` iterations."""

    def observe_branch(self, op: Op, taken: bool) -> None:
        """One condition is known."""

    def predict_into(self, stats: RunStats) -> None:
        """Fill in what the planner expects of the run."""

    def depth(self, instance: RegionInstance, layout: OpLayout) -> int:
        """How many generates are still to follow one of `instance` before a result of the program is there."""
        depth = self.order.of(instance.layout.region).depth.get(layout.op, 0.0)
        while instance.parent is not None:
            owner: Entry = instance.owner  # type: ignore[assignment]
            around = owner.task.layout
            depth += self.order.of(instance.parent.layout.region).depth.get(around.op, 0.0)
            if around.op.name == "flow.fold":
                later = owner.count - 1 - instance.place[-1]  # type: ignore[attr-defined]
                depth += later * self.order.of(instance.layout.region).span
            instance = instance.parent
        return round(depth)

    def group(self, instance: RegionInstance, layout: OpLayout) -> str:
        """The name of the group of a generate: equal for the same stage of the bodies of one `flow.for`."""
        stage = self.order.of(instance.layout.region).stage.get(layout.op, 0.0)
        parts = [f"{stage:g}"]
        while instance.parent is not None:
            owner: Entry = instance.owner  # type: ignore[assignment]
            position, region, iteration = instance.place[-3:]
            each = "" if owner.task.op.name == "flow.for" else f".{iteration}"
            parts.append(f"{position}.{region}{each}")
            instance = instance.parent
        return "/".join(reversed(parts))
