"""How values cross the borders of regions: one place that knows the shape of each region operation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..ir.core import Arg, Op, Value
from ..ir.types import EFFECT


class Passing(Enum):
    """How a value becomes another one at a border."""

    SAME = "same"
    """It is handed over as it is."""
    ELEMENT = "element"
    """A list hands over one element."""
    COLLECTED = "collected"
    """It becomes an element of a list."""


@dataclass(frozen=True, slots=True)
class Flow:
    """`source` (an operand, or what a region yields) may become `target` (a parameter or a result)."""

    source: Arg
    target: Value
    passing: Passing = Passing.SAME


def effect_operand(op: Op) -> Value | None:
    """The effect that a `flow.if`, `flow.for`, `flow.try` or host takes: its last operand, if it takes one."""
    last = op.args[-1] if op.args else None
    return last if isinstance(last, Value) and last.type == EFFECT else None


def iterated(op: Op) -> list[Arg]:
    """The lists that a `flow.for` or `flow.fold` iterates over."""
    if op.name == "flow.fold":
        return op.args[: fold_lists(op)]
    return op.args[:-1] if effect_operand(op) is not None else list(op.args)


def fold_lists(op: Op) -> int:
    """The number of lists of a `flow.fold`."""
    lists = op.attributes.get("lists", 1)
    assert isinstance(lists, int)
    return lists


def first_carried(op: Op) -> int:
    """Position of the first carried value among the arguments of a `flow.fold` or `flow.loop`."""
    return fold_lists(op) if op.name == "flow.fold" else 1


def carried_parameters(op: Op, number: int) -> list[Value]:
    """The parameters, one for each region, that hold carried value `number` of a `flow.fold` or `flow.loop`."""
    if op.name == "flow.fold":
        return [op.regions[0].parameters[1 + fold_lists(op) + number]]
    condition, body = op.regions
    return [condition.parameters[number], body.parameters[1 + number]]


def body_of(op: Op) -> int:
    """Number of the region whose terminator gives the results (the second one of a `flow.loop`)."""
    return 1 if op.name == "flow.loop" else 0


def control(op: Op) -> list[Arg]:
    """The arguments (and what a loop's condition yields) that decide whether and how often regions run."""
    match op.name:
        case "flow.if" | "flow.try":
            return op.args[:1]
        case "flow.for" | "flow.fold":
            return iterated(op)
        case "flow.loop":
            return [op.args[0], *op.regions[0].terminator.args]
        case _:
            return []


def flows(op: Op) -> Iterator[Flow]:
    """Every way in which a value enters or leaves the regions of `op`; nothing for other operations."""
    match op.name:
        case "flow.if":
            yield from _effect_around(op)
            for region in op.regions:
                yield from map(Flow, region.terminator.args, op.results)
        case "flow.try":
            yield Flow(op.args[0], op.results[0])
            yield from _effect_around(op)
            yield from map(Flow, op.regions[0].terminator.args, op.results)
        case "flow.for":
            yield from _for_flows(op)
        case "flow.fold" | "flow.loop":
            yield from _carried_flows(op)


def _effect_around(op: Op) -> Iterator[Flow]:
    """The effect operand is the effect result where no region runs."""
    effect = effect_operand(op)
    if effect is not None and op.results and op.results[-1].type == EFFECT:
        yield Flow(effect, op.results[-1])


def _for_flows(op: Op) -> Iterator[Flow]:
    body = op.regions[0]
    for source, target in zip(iterated(op), body.parameters[1:], strict=False):
        yield Flow(source, target, Passing.ELEMENT)
    effect = effect_operand(op)
    if effect is not None:
        yield Flow(effect, body.parameters[-1])
    yield from _effect_around(op)
    for yielded, result in zip(body.terminator.args, op.results, strict=True):
        if result.type == EFFECT:
            yield Flow(yielded, result)
            yield Flow(yielded, body.parameters[-1])
        else:
            yield Flow(yielded, result, Passing.COLLECTED)


def _carried_flows(op: Op) -> Iterator[Flow]:
    if op.name == "flow.fold":
        for source, target in zip(iterated(op), op.regions[0].parameters[1:], strict=False):
            yield Flow(source, target, Passing.ELEMENT)
    start = first_carried(op)
    yields = op.regions[body_of(op)].terminator.args
    for number, result in enumerate(op.results):
        parameters = carried_parameters(op, number)
        for source in (op.args[start + number], yields[number]):
            yield Flow(source, result)
            for parameter in parameters:
                yield Flow(source, parameter)
