"""How long single operations are expected to take, as part of a chain: seconds by the cost model.

A generate takes a step for each of its tokens; the calls that run beside it in the bodies of maps, and its samples,
are rows of the same steps, and take turns where there are more than a step holds. A fill takes its tokens, and those
of the same fill for the other elements. What runs beside it by chance is not counted, so a chain takes at least so
long. Hosts and pure functions take nothing: nothing is known of them.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.core import Op, Region
from .cost_model import CostModel
from .effects import GENERATES, REGION_OPS
from .expected_lengths import APPENDS, ExpectedLengths
from .planner import Knowledge


def durations(program: Op, lengths: ExpectedLengths, costs: Callable[[Op], CostModel]) -> dict[Op, float]:
    """Seconds of every fill, append and generate of `program`, of which `lengths` are measured; `costs`: of the
    engine that runs one of these.
    """
    order, beside = lengths.order, copies(program, lengths.knowledge)
    seconds: dict[Op, float] = {}
    for region in order.regions():
        count = beside[region]
        for op in region.ops:
            if count and op.name in GENERATES:
                seconds[op] = _generate(op, lengths, count, costs(op))
            elif count and op.name in APPENDS:
                seconds[op] = _fill(op, lengths, count, costs(op))
    return seconds


def _generate(op: Op, lengths: ExpectedLengths, count: float, costs: CostModel) -> float:
    rows = max(1.0, count * lengths.samples(op))
    together = min(rows, costs.max_batch)
    tokens = lengths.tokens[op]
    held = lengths.parent_length(op) + tokens / 2
    return tokens * rows / together * costs.step_seconds(0, together, together * held)


def _fill(op: Op, lengths: ExpectedLengths, count: float, costs: CostModel) -> float:
    tokens = max(1.0, count) * lengths.tokens[op]
    held = lengths.parent_length(op) + lengths.tokens[op] / 2
    return costs.step_seconds(tokens, 0, 0, tokens * held) - costs.step_seconds(0, 0, 0)


def copies(program: Op, knowledge: Knowledge) -> dict[Region, float]:
    """How many executions of each region run side by side, as far as it is known: the elements of the maps around.

    0 where it is known that a region is not entered. Unknown counts are 1; turns of loops follow one another.
    """
    found = dict.fromkeys(program.regions, 1.0)
    stack = list(program.regions)
    while stack:
        region = stack.pop()
        for op in region.ops:
            if op.name not in REGION_OPS:
                continue
            for number, inner in enumerate(op.regions):
                found[inner] = found[region] * _times(op, number, knowledge)
                stack.append(inner)
    return found


def _times(op: Op, number: int, knowledge: Knowledge) -> float:
    """How many executions of region `number` one of `op` runs side by side."""
    if op.name in ("flow.if", "flow.try"):
        share = knowledge.share(op, number)
        return 1.0 if share is None else share
    trips = knowledge.trips(op)
    if trips is None:
        return 1.0
    return trips if op.name == "flow.for" else min(trips, 1.0)
