"""Longest chains through a program: what must come before each operation, and what still follows it.

Chains run along values, across the borders of regions, and from what decides whether a region runs to everything in
it, as the executor starts operations; so an operation that waits for another one always follows it. What a chain
measures is up to the weights: the generates on it, or their seconds. One sweep in textual order and one against it.

Bodies of maps stand for all of their elements side by side. A loop counts as its first turn, and each further turn
that is known of adds the longest chain from what it carries to what it yields (`carried`). Where nothing is known of
its turns it counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from ..ir.core import Arg, Op, Region, Value
from .effects import REGION_OPS
from .planner import Order
from .regions import Flow, carried_parameters, effect_operand, first_carried, flows, iterated
from .turns import LOOPS, carried_into, carried_spans, mixtures

ROUNDING = 1e-9
"""Of the longest chain: differences below it come from sums of the same numbers in another order."""


class Visit(Enum):
    """What happens to an operation on the way through a program."""

    OP = auto()
    """An operation without regions."""
    ENTER = auto()
    """An operation with regions, before them."""
    OPEN = auto()
    """The begin of one of its regions."""
    CLOSE = auto()
    """The end of one of its regions."""
    LEAVE = auto()
    """An operation with regions, after them."""


Event = tuple[Visit, Op, Region]
Following = tuple[float, Op | Value | None]
"""The rest of a chain: its length, and the operation with a weight, or else the output, that it leads to first."""
PASSIVE = frozenset({"flow.yield", "sem.return", "engine.free", "engine.group"})
"""Operations that wait for nothing on behalf of others."""


class Itinerary:
    """The way through a program: every operation and every border of a region, in textual order."""

    def __init__(self, program: Op, order: Order) -> None:
        self.program = program
        self.order = order
        self.events = _events(program)
        """The region is the one around, or the border's."""
        self.exits = {op: leaving(op, order) for visit, op, _ in self.events if visit is Visit.LEAVE}


def _events(program: Op) -> list[Event]:
    """Does not recurse, so depth is not limited."""
    events: list[Event] = []
    stack: list[tuple[Op, Region, Iterator[Op]]] = []
    for root in program.regions:
        stack.append((program, root, iter(root.ops)))
        while stack:
            owner, region, rest = stack[-1]
            op = next(rest, None)
            if op is not None:
                if op.name not in REGION_OPS:
                    events.append((Visit.OP, op, region))
                    continue
                events += [(Visit.ENTER, op, region), (Visit.OPEN, op, op.regions[0])]
                stack.append((op, op.regions[0], iter(op.regions[0].ops)))
                continue
            stack.pop()
            if stack:
                events.append((Visit.CLOSE, owner, region))
                last = owner.regions[-1]
                if region is last:
                    events.append((Visit.LEAVE, owner, stack[-1][1]))
                else:
                    events.append((Visit.OPEN, owner, last))
                    stack.append((owner, last, iter(last.ops)))
    return events


def entering(op: Op) -> Iterator[Flow]:
    """The ways into the regions of `op` from outside, for their first turn."""
    if op.name in ("flow.for", "flow.fold"):
        yield from map(Flow, iterated(op), op.regions[0].parameters[1:])
    if op.name in LOOPS:
        for number, initial in enumerate(op.args[first_carried(op) :]):
            for parameter in carried_parameters(op, number):
                yield Flow(initial, parameter)
    effect = effect_operand(op) if op.name == "flow.for" else None
    if effect is not None:
        yield Flow(effect, op.regions[0].parameters[-1])


@dataclass(frozen=True, slots=True)
class Exit:
    """Each of `targets`, results of an operation with regions, may depend on each of `sources`.

    `turned`: only after all turns of a loop, not where its regions are passed by.
    """

    sources: list[Arg]
    targets: list[Value]
    turned: bool = False


def leaving(op: Op, order: Order) -> list[Exit]:
    """The ways out of the regions of `op`, and around them, to its results, after any number of turns."""
    if op.name in LOOPS:
        yields, initial = op.regions[-1].terminator.args, op.args[first_carried(op) :]
        around = [Exit([source], [result]) for source, result in zip(initial, op.results, strict=True)]
        return around + [Exit([yields[n] for n in group], [op.results[n] for n in group], turned=True)
                         for group in mixtures(order, op)]
    results = set(op.results)
    exits = [Exit([flow.source], [flow.target]) for flow in flows(op) if flow.target in results]
    if op.name == "flow.for" and carried_into(op, op.regions[0]):
        exits.append(Exit(op.regions[0].terminator.args[-1:], op.results))
    return exits


def deciding(op: Op) -> list[Arg]:
    """The arguments of `op` that must be known before one of its regions is entered."""
    match op.name:
        case "flow.for" | "flow.fold":
            return iterated(op)
        case _:
            return op.args[:1]


@dataclass
class Chains:
    """See the module's docstring. `turns`: of a `flow.fold` or `flow.loop`; None where they are not known."""

    way: Itinerary
    weight: Mapping[Op, float]
    turns: Callable[[Op], float | None]

    def __post_init__(self) -> None:
        self.carried = carried_spans(self.way.order, self.weight, self.turns)
        """What one more turn of a loop adds, by operation; loops that carry nothing of weight are absent."""
        self.before: dict[Op, float] = {}
        """What must come before an operation, in the first turn of every loop around it."""
        self.following: dict[Op, Following] = {}
        """What follows an operation of the first turn; 0 and nothing after operations that nothing waits for."""
        self.later_turns: dict[Region, float] = {}
        """How much of what follows belongs to further turns of the loops around a region."""
        self.total = 0.0
        """The longest chain of all."""
        self._forward()
        self.following = self.backward(dict.fromkeys(self.way.program.regions[0].terminator.operands, 0.0), sinks=True)

    def slack(self, op: Op) -> float:
        """By how much the longest chain through `op` is shorter than the longest of all."""
        left = self.total - self.before[op] - self.weight.get(op, 0.0) - self.following[op][0]
        return left if left > ROUNDING * self.total else 0.0

    def last_turn(self, op: Op, region: Region) -> float:
        """What follows `op`, which stands in `region`, in the last turn of every loop around it."""
        return self.following[op][0] - self.later_turns[region]

    def extra(self, op: Op) -> float:
        """What the turns of a loop after the first one add."""
        if op not in self.carried:
            return 0.0
        turns = self.turns(op)
        return 0.0 if turns is None else max(0.0, turns - 1.0) * self.carried[op]

    def _forward(self) -> None:
        ready: dict[Value, float] = {}
        floors = [0.0]
        later = [0.0]
        self.later_turns = dict.fromkeys(self.way.program.regions, 0.0)
        plain, before, weight = Visit.OP, self.before, self.weight
        for visit, op, region in self.way.events:
            if visit is plain:
                start = floors[-1]
                for arg in op.args:
                    if isinstance(arg, Value) and arg in ready and ready[arg] > start:
                        start = ready[arg]
                before[op] = start
                end = start + weight.get(op, 0.0)
                if end:
                    if end > self.total:
                        self.total = end
                    for result in op.results:
                        ready[result] = end
            elif visit is Visit.ENTER:
                start = self.before[op] = _latest(ready, deciding(op), floors[-1])
                floors.append(start)
                later.append(later[-1] + self.extra(op))
                for parameter in (p for r in op.regions for p in r.parameters):
                    ready[parameter] = start
                for flow in entering(op):
                    ready[flow.target] = _latest(ready, [flow.source], ready[flow.target])
            elif visit is Visit.OPEN:
                self.later_turns[region] = later[-1]
                if region is not op.regions[0] and op.name == "flow.loop":
                    floors[-1] = _latest(ready, op.regions[0].terminator.args, floors[-1])
            elif visit is Visit.LEAVE:
                start = floors.pop()
                later.pop()
                for result in op.results:
                    ready[result] = start
                for way in self.way.exits[op]:
                    end = _latest(ready, way.sources, 0.0) + (self.extra(op) if way.turned else 0.0)
                    for target in way.targets:
                        ready[target] = max(ready[target], end)
                self.total = max([self.total, *(ready[result] for result in op.results)])

    def backward(self, seeds: Mapping[Value, float], *, sinks: bool) -> dict[Op, Following]:
        """The longest chain from each operation to the end of the program, and what it leads to first.

        It ends in one of `seeds`, which say what is to be added there. With `sinks` a chain may also end where nothing
        follows, and then leads to nothing; without, operations from which no seed is reached are absent.
        """
        found: dict[Op, Following] = {}
        tail: dict[Value, Following] = {value: (length, value) for value, length in seeds.items()}
        heads: list[Following | None] = [None]
        end: Following | None = (0.0, None) if sinks else None
        plain, weights = Visit.OP, self.weight
        for visit, op, region in reversed(self.way.events):
            if visit is plain:
                if op.name in PASSIVE:
                    continue
                follows: Following | None = None
                for result in op.results:
                    chain = tail.get(result)
                    if chain is not None and (follows is None or chain[0] > follows[0]):
                        follows = chain
                follows = follows or end
                if follows is not None:
                    found[op] = follows
                    weight = weights.get(op)
                    if weight is not None:
                        follows = (follows[0] + weight, op)
                    length = follows[0]
                    for arg in op.args:  # see `_raise`
                        if isinstance(arg, Value) and (arg not in tail or tail[arg][0] <= length):
                            tail[arg] = follows
                    head = heads[-1]
                    if head is None or head[0] <= length:
                        heads[-1] = follows
            elif visit is Visit.LEAVE:
                self._seed_yields(op, tail)
                results = (_plus(tail.get(result), self.extra(op)) for result in op.results)
                heads.append(_longest(results) or end)
            elif visit is Visit.CLOSE:
                if op.name == "flow.loop" and region is op.regions[0]:
                    _raise(tail, region.terminator.args, heads[-1])
            elif visit is Visit.ENTER:
                head = heads.pop()
                for flow in entering(op):
                    _raise(tail, [flow.source], tail.get(flow.target))
                if head is not None:
                    found[op] = head
                    _raise(tail, deciding(op), head)
                    heads[-1] = _longest([head, heads[-1]])
        return found

    def _seed_yields(self, op: Op, tail: dict[Value, Following]) -> None:
        for way in self.way.exits[op]:
            follows = _longest(tail.get(target) for target in way.targets)
            _raise(tail, way.sources, _plus(follows, self.extra(op)) if way.turned else follows)


def _latest(ready: Mapping[Value, float], args: list[Arg], least: float) -> float:
    for arg in args:
        if isinstance(arg, Value):
            time = ready.get(arg, 0.0)
            if time > least:
                least = time
    return least


def _raise(tail: dict[Value, Following], args: list[Arg], to: Following | None) -> None:
    """Of chains of one length the one to what stands first in the text counts: it is met last."""
    if to is None:
        return
    for arg in args:
        if isinstance(arg, Value):
            known = tail.get(arg)
            if known is None or known[0] <= to[0]:
                tail[arg] = to


def _longest(chains: Iterable[Following | None]) -> Following | None:
    """The first one of the longest."""
    best: Following | None = None
    for chain in chains:
        if chain is not None and (best is None or chain[0] > best[0]):
            best = chain
    return best


def _plus(chain: Following | None, more: float) -> Following | None:
    return None if chain is None else (chain[0] + more, chain[1])
