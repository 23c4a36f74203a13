"""Which calls of a program are wanted together: task groups, which are antichains of the data flow.

Stages are counted from the end, as in Parrot (OSDI'24, section 5.2): the calls of a stage have the same number of
calls to follow. So no call of a group waits for another one. Of one stage those make a group that serve the same kind
of objective on the same model and lead, on the longest chain that follows them, to the same output or to calls of one
group; and those whose prompts begin with the same context. A call in the body of a map is all of its elements' calls.
A turn of a loop is a scope of its own, unless no call of one turn can wait for a call of another.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import groupby

from ..ir.core import Literal, Op, Region, TokenList, Value, walk
from .chains import Chains, Itinerary
from .effects import GENERATES, names_of
from .expected_lengths import APPENDS
from .objectives import Urgency, strictness
from .planner import Knowledge, Order
from .turns import serial

CONTINUING = APPENDS | GENERATES
BYTES_OF_TOKEN = 4


@dataclass(eq=False)
class TaskGroup:
    """Calls of one stage, in textual order. `size`: how many calls run; None where only a run decides."""

    calls: list[Op]
    depth: int
    size: int | None = None

    @property
    def objective(self) -> Literal:
        """The strictest objective of its calls; None where they have none."""
        return max((op.attributes.get("objective") for op in self.calls), key=strictness)


@dataclass(frozen=True)
class Stages:
    """A program, what is known of it, and its calls in order; `chains` measure calls."""

    program: Op
    knowledge: Knowledge
    order: Order
    chains: Chains

    @staticmethod
    def of(program: Op, knowledge: Knowledge) -> Stages:
        """The stages of a program."""
        order = Order(program, knowledge)
        calls = [op for region in order.regions() for op in region.ops if op.name in GENERATES]
        chains = Chains(Itinerary(program, order), dict.fromkeys(calls, 1.0), knowledge.trips)
        return Stages(program, knowledge, order, chains)


def task_groups(stages: Stages, model: Mapping[Op, Hashable], min_prefix: int) -> list[TaskGroup]:
    """The groups of a program, in order of their first calls. `model`: what each generate runs on.

    Prompts that begin with the same `min_prefix` tokens, or with the same value, begin alike.
    """
    program, knowledge, order, chains = stages.program, stages.knowledge, stages.order, stages.chains
    home = {op: region for region in order.regions() for op in region.ops if op.name in GENERATES}
    loops = serial(order)
    scopes = _scopes(program, loops)
    prefixes = _prefixes(order, min_prefix)
    joined = _Joined()
    text = [op for op in walk([program]) if op in home]
    for _, stage in groupby(sorted(text, key=lambda op: chains.following[op][0]), lambda op: chains.following[op][0]):
        first: dict[Hashable, Op] = {}
        for op in stage:
            _, leads_to = chains.following[op]
            place = scopes[home[op]], Urgency.of(op.attributes.get("objective")), model[op]
            # Where a chain ends nothing is waited for, so nothing is wanted together.
            follower = joined.root(leads_to) if isinstance(leads_to, Op) else leads_to or op
            joined.join(op, first.setdefault((place, chains.last_turn(op, home[op]), follower), op))
            if op in prefixes:
                joined.join(op, first.setdefault((place, chains.last_turn(op, home[op]), prefixes[op]), op))
    groups: dict[Op, TaskGroup] = {}
    for op in text:
        root = joined.root(op)
        if root not in groups:
            groups[root] = TaskGroup([], round(chains.last_turn(op, home[op])))
        groups[root].calls.append(op)
    sizes = _Sizes(order, {op: groups[joined.root(op)] for op in text}, loops, knowledge)
    for group in groups.values():
        group.size = sizes.of(group, scopes[home[group.calls[0]]])
    return list(groups.values())


class _Joined:
    """Sets of operations that are joined one by one (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[Op, Op] = {}

    def root(self, op: Op) -> Op:
        """The operation that stands for all that `op` was joined with."""
        parent = self._parent
        while (above := parent.get(op, op)) is not op:
            parent[op] = parent.get(above, above)
            op = above
        return op

    def join(self, first: Op, second: Op) -> None:
        """Make one set of two."""
        first, second = self.root(first), self.root(second)
        if first is not second:
            self._parent[first] = second


def _scopes(program: Op, loops: set[Op]) -> dict[Region, Region]:
    """For each region the region of the innermost loop turn around it, or that of the program."""
    scopes = {region: region for region in program.regions}
    stack = list(program.regions)
    while stack:
        region = stack.pop()
        for op in region.ops:
            for inner in op.regions:
                scopes[inner] = inner if op in loops else scopes[region]
                stack.append(inner)
    return scopes


def _prefixes(order: Order, least: int) -> dict[Op, Value]:
    """For each generate the longest context that other calls continue too and that has `least` tokens."""
    continued: dict[Value, int] = {}
    looped: dict[Value, int] = {}
    regions = list(order.regions())[::-1]
    levels: dict[Region, int] = {}
    for region in regions:
        level = levels.get(region, 0)
        for op in region.ops:
            if op.regions:
                levels.update(dict.fromkeys(op.regions, level + (op.name in ("flow.for", "flow.fold", "flow.loop"))))
            for result in op.results:
                looped[result] = level
            if op.name in CONTINUING and isinstance(op.args[0], Value):
                # One use inside a loop is many.
                many = 2 if looped.get(op.args[0], level) < level else 1
                continued[op.args[0]] = continued.get(op.args[0], 0) + many
    length: dict[Value, float] = {}
    prefix: dict[Value, Value] = {}
    found: dict[Op, Value] = {}
    for op in (op for region in regions for op in region.ops if op.name in CONTINUING):
        size, known = 0.0, None
        if isinstance(before := op.args[0], Value):
            size = length.get(before, math.inf)
            is_shared = continued[before] > 1 and size >= least
            known = before if is_shared else prefix.get(before)
        if op.name in GENERATES:
            context, size = op.results[1], math.inf
            if known is not None:
                found[op] = known
        else:
            context, size = op.result, size + sum(map(_tokens, op.args[1:]))
        length[context] = size
        if known is not None:
            prefix[context] = known
    return found


def _tokens(piece: object) -> float:
    """At least so many tokens, or about so many; an inserted value counts as long."""
    match piece:
        case TokenList(ids):
            return len(ids)
        case str():
            return len(piece) / BYTES_OF_TOKEN
        case Value():
            return math.inf
    return 0.0


class _Sizes:
    """How many calls of each group one execution of a region runs, inner regions first."""

    def __init__(self, order: Order, group_of: Mapping[Op, TaskGroup], loops: set[Op], knowledge: Knowledge) -> None:
        self._group_of = group_of
        self._loops = loops
        self._knowledge = knowledge
        self._counts: dict[Region, dict[TaskGroup, int | None]] = {}
        for region in order.regions():
            counts: dict[TaskGroup, int | None] = {}
            for op in region.ops:
                if not op.regions and op not in group_of:
                    continue
                for group, count in self._of(op).items():
                    known = counts.get(group, 0)
                    counts[group] = None if known is None or count is None else known + count
            self._counts[region] = counts

    def of(self, group: TaskGroup, scope: Region) -> int | None:
        """The size of a group of `scope`."""
        return self._counts[scope][group]

    def _of(self, op: Op) -> dict[TaskGroup, int | None]:
        if op in self._group_of:
            given = op.attributes.get("n", 1)
            is_known = isinstance(given, int) and "n" not in names_of(op.attributes.get("options"))
            return {self._group_of[op]: given if is_known and isinstance(given, int) else None}
        inner = [self._counts.get(region, {}) for region in op.regions]
        if not any(inner) or op in self._loops:
            return {}
        if op.name == "flow.if":
            return {group: inner[0].get(group, 0) if inner[0].get(group, 0) == inner[1].get(group, 0) else None
                    for group in {**inner[0], **inner[1]}}
        turns = self._turns(op)
        return {group: None if turns is None or count is None else turns * count for group, count in inner[0].items()}

    def _turns(self, op: Op) -> int | None:
        """Executions of the region, where they are known for certain."""
        if op.name == "flow.try":
            return None
        turns = self._knowledge.trips(op)
        return None if turns is None or turns != self._knowledge.most_trips(op) else round(turns)
