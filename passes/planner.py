"""The planner: in which order the generates of a region run.

It looks at one region at a time and knows one number of each nested one, how many generates it runs one after
another (`span`). So it serves compile time, where trip counts may be unknown, and run time, where it is asked again
with what has become known. Everything is linear in the number of operations. `forecast` adds what the order costs.

Stages: a generate is in stage s of its region when the longest chain of generates that it waits for has s links.
Generates of one stage do not wait for one another: they form a group. Depth: the generates of the longest chain
from a generate to what its region yields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..ir.core import Op, Region, Value, walk
from .effects import GENERATES

ENGINE_OPS = GENERATES | {"engine.fill", "prompt.append"}


class Knowledge:
    """What is known of a program beyond its text, per operation; None is unknown. This base knows nothing."""

    def trips(self, op: Op) -> float | None:
        """Iterations of one execution of a `flow.for`, `flow.fold` or `flow.loop`, on average."""
        return None

    def most_trips(self, op: Op) -> float | None:
        """The most iterations of one execution."""
        return self.trips(op)

    def share(self, op: Op, region: int) -> float | None:
        """How often an execution of a `flow.if` or `flow.try` enters a region: 0 to 1."""
        return None

    def samples(self, op: Op) -> float | None:
        """Samples of one execution of a generate whose `n` is an operand, on average."""
        return None

    def budget(self, op: Op) -> float | None:
        """The budget of a generate whose `max_tokens` is an operand, on average."""
        return None

    def piece_tokens(self, op: Op, piece: int) -> float | None:
        """Tokens of a text among the pieces of an `engine.fill`, on average."""
        return None

    def longest_piece(self, op: Op, piece: int) -> float | None:
        """The most tokens of a text among the pieces of an `engine.fill`."""
        return self.piece_tokens(op, piece)


@dataclass
class RegionOrder:
    """The stages of one region. `stage`, `depth`: of each operation that is or holds a generate; `span`: stages."""

    span: float = 0.0
    stage: dict[Op, float] = field(default_factory=dict)
    depth: dict[Op, float] = field(default_factory=dict)


class Order:
    """`RegionOrder` of every region inside `root`, inner regions first. Unknown loops count as one iteration.

    Regions that touch no engine are passed over: they take no time and hold nothing.
    """

    def __init__(self, root: Op, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._uses: dict[Op, list[Value]] = {}
        self._regions: dict[Region, RegionOrder] = {}
        captured: dict[Region, list[Value]] = {}
        self._owners = {region: op for op in walk([root]) for region in op.regions}
        for region in reversed(self._owners):
            captured[region] = self._capture(region, captured)
            if any(op.name in ENGINE_OPS or any(r in self._regions for r in op.regions) for op in region.ops):
                self._regions[region] = self._order(region)

    def regions(self) -> Iterable[Region]:
        """The regions that touch an engine, inner ones first."""
        return self._regions

    def of(self, region: Region) -> RegionOrder:
        """The stages of a region."""
        return self._regions.get(region) or RegionOrder()

    def uses(self, op: Op) -> list[Value]:
        """The operands of an operation and what its regions capture."""
        return self._uses.get(op, [])  # groups may be declared later

    def span(self, op: Op) -> float:
        """How many generates an operation runs one after another."""
        if op.name in GENERATES:
            return 1.0
        if not op.regions:
            return 0.0
        if op.name == "flow.if":
            return max(self.of(region).span for region in op.regions)
        inner = sum(self.of(region).span for region in op.regions)
        if inner and op.name in ("flow.fold", "flow.loop"):
            trips = self._knowledge.trips(op)
            return inner * (1.0 if trips is None else trips)
        return inner

    @property
    def has_turns(self) -> bool:
        """Whether there is a loop that takes turns; without any, the order does not depend on knowledge."""
        return any(self._owners[region].name in ("flow.fold", "flow.loop") for region in self._regions)

    def owner(self, region: Region) -> Op:
        """The operation that a region belongs to."""
        return self._owners[region]

    def _capture(self, region: Region, captured: dict[Region, list[Value]]) -> list[Value]:
        """Note what the operations of a region use; the values that it captures from around it."""
        used: dict[Value, None] = {}
        defined = set(region.parameters)
        for op in region.ops:
            uses = [a for a in op.args if isinstance(a, Value)]
            for nested in op.regions:
                uses += captured[nested]
            self._uses[op] = uses
            for value in uses:  # what is defined here comes before its uses
                if value not in defined:
                    used[value] = None
            defined.update(op.results)
        return list(used)

    def _order(self, region: Region) -> RegionOrder:
        order = RegionOrder()
        ready: dict[Value, float] = {}
        spans = [1.0 if op.name in GENERATES else self.span(op) if op.regions else 0.0 for op in region.ops]
        uses = self._uses
        for op, span in zip(region.ops, spans, strict=True):
            start = 0.0
            for value in uses[op]:
                if value in ready and ready[value] > start:
                    start = ready[value]
            end = start + span
            if span:
                order.stage[op] = start
                if end > order.span:
                    order.span = end
            if end:
                for result in op.results:
                    ready[result] = end
        below: dict[Value, float] = {}
        for op, span in zip(reversed(region.ops), reversed(spans), strict=True):
            after = 0.0
            for result in op.results:
                if result in below and below[result] > after:
                    after = below[result]
            if span:
                order.depth[op] = after
            after += span
            if after:
                for value in uses[op]:
                    if value not in below or below[value] < after:
                        below[value] = after
        return order
