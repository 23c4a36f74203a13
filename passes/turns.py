"""What the turns of a loop have to do with one another: what they hand on, and whether calls of one wait for another's.

Looks at one region at a time; an operation with regions stands for everything in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..ir.core import Arg, Op, Region, Value
from ..ir.types import EFFECT
from .planner import Order
from .regions import effect_operand, fold_lists

LOOPS = frozenset({"flow.fold", "flow.loop"})


def carried_spans(order: Order, weight: Mapping[Op, float], turns: Callable[[Op], float | None]) -> dict[Op, float]:
    """For each fold and loop the longest chain, by `weight`, from what a turn takes from the last to what it hands on.

    So much does one more turn add to the longest chain. Loops where that is nothing are absent.
    """
    spans: dict[Region, float] = {}
    carried: dict[Op, float] = {}
    if not any(order.owner(region).name in LOOPS for region in order.regions()):
        return carried

    def length(op: Op) -> float:
        inner = [spans.get(region, 0.0) for region in op.regions]
        if not inner:
            return weight.get(op, 0.0)
        count = turns(op) if op in carried else None
        more = 0.0 if count is None else max(0.0, count - 1.0) * carried[op]
        return (sum(inner) if op.name == "flow.loop" else max(inner)) + more

    for region in order.regions():
        lengths = {op: length(op) for op in region.ops}
        spans[region], handed = _longest(order, region, lengths, {})
        owner = order.owner(region)
        if owner.name == "flow.fold":
            _, handed = _longest(order, region, lengths, dict.fromkeys(carried_into(owner, region), 0.0))
        if owner.name in LOOPS and handed:
            # All of a loop's body waits for its condition, and that for the turn before.
            carried[owner] = carried.get(owner, 0.0) + handed
    return carried


def _longest(order: Order, region: Region, lengths: Mapping[Op, float],
             ready: dict[Value, float]) -> tuple[float, float]:
    """The longest chain of a region, and the longest one from a value in `ready` to what the region yields.

    With `ready`, only what depends on a value in it counts.
    """
    only = bool(ready)
    longest = 0.0
    for op in region.ops[:-1]:
        starts = [ready[value] for value in order.uses(op) if value in ready]
        if only and not starts:
            continue
        end = max(starts, default=0.0) + lengths[op]
        longest = max(longest, end)
        if end or only:
            ready.update(dict.fromkeys(op.results, end))
    return longest, max((ready.get(value, 0.0) for value in region.terminator.operands), default=0.0)


def carried_into(op: Op, region: Region) -> list[Value]:
    """The parameters of a region that hold what an earlier turn yields: of a map the effect, if it is ordered."""
    match op.name:
        case "flow.fold":
            return region.parameters[1 + fold_lists(op) :]
        case "flow.loop":
            return region.parameters if region is op.regions[0] else region.parameters[1:]
        case "flow.for":
            is_ordered = effect_operand(op) is not None and not op.attributes.get("unordered")
            return region.parameters[-1:] if is_ordered else []
    return []


def serial(order: Order) -> set[Op]:
    """The loops of which a call in one turn may wait for a call in an earlier one.

    All `flow.loop`s that run calls, whose conditions decide about every further turn; a fold or map only where both a
    call depends on what the turn takes over and a call decides what it hands on.
    """
    found: set[Op] = set()
    for region in order.regions():
        op = order.owner(region)
        if op.name == "flow.loop":
            found.add(op)
        elif op.name in ("flow.fold", "flow.for"):
            taken = carried_into(op, region)
            handed = [a for a in region.terminator.args if op.name == "flow.fold" or _is_effect(a)]
            if taken and _takes_over(order, region, taken) and _hands_on(order, region, handed):
                found.add(op)
    return found


def _is_effect(arg: Arg) -> bool:
    return isinstance(arg, Value) and arg.type == EFFECT


def _takes_over(order: Order, region: Region, taken: Iterable[Value]) -> bool:
    """Whether a call in `region` depends on one of the values."""
    reached = set(taken)
    for op in region.ops[:-1]:
        if any(value in reached for value in order.uses(op)):
            if order.span(op):
                return True
            reached.update(op.results)
    return False


def _hands_on(order: Order, region: Region, handed: Iterable[Arg]) -> bool:
    """Whether one of the values depends on a call in `region`."""
    needed = {value for value in handed if isinstance(value, Value)}
    for op in reversed(region.ops[:-1]):
        if any(result in needed for result in op.results):
            if order.span(op):
                return True
            needed.update(order.uses(op))
    return False


def mixtures(order: Order, op: Op) -> list[list[int]]:
    """Which carried values of a fold or loop may come to depend on one another in any number of turns.

    Numbers of carried values, in groups; what a condition depends on goes into all of them.
    """
    body, count = op.regions[-1], len(op.results)
    if count == 1 or op.name == "flow.loop":
        return [list(range(count))]
    joined = list(range(count))

    def root(number: int) -> int:
        while joined[number] != number:
            joined[number] = joined[joined[number]]
            number = joined[number]
        return number

    label = {parameter: number for number, parameter in enumerate(carried_into(op, body))}
    for inner in body.ops[:-1]:
        found = [label[value] for value in order.uses(inner) if value in label]
        if found:
            for other in found[1:]:
                joined[root(other)] = root(found[0])
            label.update(dict.fromkeys(inner.results, found[0]))
    for number, value in enumerate(body.terminator.args):
        if isinstance(value, Value) and value in label:
            joined[root(label[value])] = root(number)
    groups: dict[int, list[int]] = {}
    for number in range(count):
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())
