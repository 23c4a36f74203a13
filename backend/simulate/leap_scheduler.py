"""The step engine's scheduler for calls of which only lengths are known: the same plans, made in less time.

A call that decodes and has all of its KV asks for one slot and nothing else, so its part of a plan is written down
without looking at the tree. Everything else is the scheduler's own code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

from ...passes.cost_model import CostModel
from ..context_tree import Node
from ..decoding.output_decoder import OutputDecoder
from ..engine import EngineStats
from ..scheduler import Call, Plan, Scheduler, Wait
from ..step_plan import Work
from .length_tree import NO_TOKENS, LengthRoom, LengthTree, lengths

NO_DECODER = cast(OutputDecoder, None)
"""Outputs have a length and no tokens."""


@dataclass(eq=False)
class LengthCall(Call):
    """A generate of `remaining` more tokens, whose output is the segment `output`."""

    output: int = 0
    remaining: int = 0
    owner: object = None
    """Whose call it is."""
    path: list[Node] = field(default_factory=list)
    """Its context, root first, from its first token on."""

    @property
    def started(self) -> bool:
        """Whether it has its first token."""
        return bool(self.path)


class LeapScheduler(Scheduler):
    """The scheduler, which also says how long a plan holds good."""

    def __init__(self, tree: LengthTree, costs: CostModel, stats: EngineStats) -> None:
        super().__init__(tree, max_step_tokens=costs.max_step_tokens, max_batch=costs.max_batch, stats=stats,
                         costs=costs)
        self._lengths = tree
        self._room = LengthRoom(tree, stats)

    def _missing(self, call: Call) -> int:
        node = call.tip.node
        if node.resident:
            return call.tip.position - node.start - node.resident
        return super()._missing(call)

    def _consider(self, call: Call) -> Wait | None:
        node, allocator = call.tip.node, self._lengths.allocator
        decodes = cast(LengthCall, call).path and 0 < node.resident == node.computed == len(node.tokens) - 1
        if not decodes or not allocator.free_pages or self._memory_full:
            return super()._consider(call)
        if not call.is_urgent and self._spare_seconds is not None and self._spare_seconds <= 0:
            return Wait.URGENT
        path, position = cast(LengthCall, call).path, call.tip.position
        self._room.pin(path)
        node.claimed = position - node.start
        allocator.free_pages -= 1
        lengths(node.slots).grow(1)
        node.computing = self._step
        work = Work(path, position - 1, position, NO_TOKENS, wants_logits=True, reserved=[node])
        self._add_row(work, (node.id, position), call)
        return None

    def steps_alike(self, plan: Plan) -> int:
        """How many steps, this one included, compute the same calls as `plan`, unless calls come or go.

        A call that found no row, no place in its group's batch or no memory finds none as long as the others go on.
        Memory is only made when it is needed, so the steps end with the free slots.
        """
        rows = len(plan.works)
        if len(plan.consumers) < rows:
            return 1
        remaining = math.inf
        for work, consumers in zip(plan.works, plan.consumers, strict=True):
            call = cast(LengthCall, consumers[0])
            if len(consumers) > 1 or not call.path or not work.reserved or work.end - work.first > 1:
                return 1
            remaining = min(remaining, call.remaining)
        steps = min(int(remaining), 1 + self._lengths.allocator.free_pages // rows)
        if self._spare_seconds is not None and not all(call.is_urgent for call in self.calls):
            if rows < len(self.calls):
                return 1
            # Each step reads `rows` KV tokens more, which is the most that is gained or lost of the spare time.
            lost = rows * self.costs.kv_token
            steps = min(steps, 1 + max(0, math.floor(self._spare_seconds / lost) - 1) if lost else steps)
        return steps
