"""The groups of a program as the choice of batches sees them: how many calls of which size, and what runs beside them.

Two groups may run at the same time where their calls, each begun as soon as it can be, overlap in time. The same code
serves compile time and run time: it sizes those groups of which the number of calls is known.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..ir.core import Op, Region, Symbol, Value
from .batch_size import GroupShape, Limits, choose_batch
from .cost_model import CostModel
from .durations import copies
from .effects import GENERATES
from .expected_lengths import APPENDS
from .objectives import Urgency, strictness
from .plan import Plan
from .planner import Knowledge


@dataclass(frozen=True)
class SizedGroup:
    """Of one group: its calls, the calls to run together beside urgent ones and `alone`, and the prompt tokens of a
    step beside urgent ones (None where there are none beside).
    """

    calls: int
    batch: int
    alone: int
    step_tokens: int | None


@dataclass
class _Group:
    """What is known of a group. `begin`, `end`: seconds; `rows`: calls that run side by side."""

    op: Op
    shape: GroupShape
    urgent: bool
    begin: float
    end: float

    @property
    def held(self) -> float:
        """KV tokens that all of its calls hold together."""
        return self.shape.shared + self.shape.calls * (self.shape.prompt + self.shape.output)


def group_batches(plan: Plan, knowledge: Knowledge, costs: Callable[[Op], CostModel],
                  kv_slots: Callable[[Op], int | None]) -> dict[str, SizedGroup]:
    """The batches of the groups of a program, by name. Absent are those of which the number of calls is not known,
    or, where several calls share a limited memory, what they hold.

    `plan`: made with the same knowledge and costs; `costs`, `kv_slots`: of the engine that runs a generate.
    """
    members: dict[str, list[Op]] = {}
    for op in plan.home:
        named = op.attributes.get("group")
        if isinstance(named, Symbol):
            members.setdefault(named.name, []).append(op)
    if not members:
        return {}
    sizes = _Sizes(plan, knowledge)
    groups = {name: sizes.group(ops) for name, ops in members.items()}
    beside = _Beside([group for group in groups.values() if group.shape.calls])
    found: dict[str, SizedGroup] = {}
    for name, group in groups.items():
        slots = kv_slots(group.op)
        if group.shape.calls and sizes.is_counted(members[name]) and (
                group.shape.calls == 1 or slots is None or sizes.is_measured(members[name])):
            found[name] = _sized(group, beside, costs(group.op), slots)
    return found


def _sized(group: _Group, beside: _Beside, costs: CostModel, slots: int | None) -> SizedGroup:
    fair = slots
    if slots is not None and beside.held(group) > slots:
        fair = max(1, int(slots * group.held / beside.held(group)))
    alone = choose_batch(group.shape, Limits(costs, fair))
    rows, read = (0, 0) if group.urgent else beside.urgent(group)
    if not rows:
        return SizedGroup(group.shape.calls, alone.batch, alone.batch, None)
    chosen = choose_batch(group.shape, Limits(costs, fair, rows, read))
    return SizedGroup(group.shape.calls, chosen.batch, alone.batch, chosen.step_tokens)


class _Beside:
    """Which groups may run at the same time, by their times as soon as they can begin; sweeps, not pairs."""

    def __init__(self, groups: list[_Group]) -> None:
        self._all = _Overlaps([(group.begin, group.end, (group.held, 0.0)) for group in groups])
        self._urgent = _Overlaps([(group.begin, group.end, (
            float(group.shape.calls), float(group.shape.calls * (group.shape.prompt + group.shape.output)
                                            + group.shape.shared))) for group in groups if group.urgent])

    def held(self, group: _Group) -> float:
        """KV tokens that the group and those that may run beside it hold in all."""
        return self._all.sums(group.begin, group.end)[0]

    def urgent(self, group: _Group) -> tuple[int, int]:
        """Urgent calls that may run beside the group, and the KV tokens that they read."""
        calls, read = self._urgent.sums(group.begin, group.end)
        return round(calls), round(read)


class _Overlaps:
    """Sums over the intervals that overlap a given one."""

    def __init__(self, intervals: list[tuple[float, float, tuple[float, float]]]) -> None:
        self._begins = _Running((begin, amounts) for begin, _, amounts in intervals)
        self._ends = _Running((end, amounts) for _, end, amounts in intervals)

    def sums(self, begin: float, end: float) -> tuple[float, float]:
        """All that begin before `end` less those that end by `begin`."""
        (a, b), (c, d) = self._begins.before(end), self._ends.until(begin)
        return max(0.0, a - c), max(0.0, b - d)


class _Running:
    """Running sums of pairs of amounts over sorted times."""

    def __init__(self, entries: Iterable[tuple[float, tuple[float, float]]]) -> None:
        ordered = sorted(entries)
        self._times = [time for time, _ in ordered]
        self._sums = [(0.0, 0.0)]
        for _, (first, second) in ordered:
            before = self._sums[-1]
            self._sums.append((before[0] + first, before[1] + second))

    def before(self, time: float) -> tuple[float, float]:
        """The sums of what is earlier than `time`."""
        return self._sums[bisect_left(self._times, time)]

    def until(self, time: float) -> tuple[float, float]:
        """The sums of what is not later than `time`."""
        return self._sums[bisect_right(self._times, time)]


class _Sizes:
    """Calls, lengths and times of groups."""

    def __init__(self, plan: Plan, knowledge: Knowledge) -> None:
        self._plan = plan
        self._knowledge = knowledge
        self._lengths = plan.lengths
        self._copies = copies(plan.program, knowledge)
        self._around = {inner: (op, region) for region in plan.order.regions() for op in region.ops
                        for inner in op.regions}
        self._fills: dict[Value, tuple[Op, Region]] = {}
        self._uses: dict[Value, int] = {}
        for region in plan.order.regions():
            for op in region.ops:
                if op.name in APPENDS:
                    self._fills[op.result] = op, region
                if op.name in (*APPENDS, *GENERATES) and isinstance(parent := op.args[0], Value):
                    self._uses[parent] = self._uses.get(parent, 0) + 1

    def group(self, ops: list[Op]) -> _Group:
        """The group of these generates; its calls are all as long as their mean, and begin with what the longest
        has in common with others.
        """
        calls = prompt = output = 0.0
        shared, begin, end = 0.0, math.inf, 0.0
        for op in ops:
            region = self._plan.home[op]
            count = self._copies[region] * self._lengths.samples(op)
            own = self._own(op, region)
            calls += count
            prompt += count * own
            output += count * self._lengths.tokens[op]
            shared = max(shared, self._lengths.parent_length(op) - own)
            seconds = self._plan.seconds
            start = seconds.before[op]
            begin = min([begin, start, *(seconds.before.get(fill, start) for fill in self._fills_of(op))])
            end = max(end, start + seconds.weight.get(op, 0.0) + seconds.later_turns[region])
        whole = max(1, round(calls)) if calls else 0
        shape = GroupShape(whole, math.ceil(prompt / calls) if calls else 0, math.ceil(shared),
                           max(1, math.ceil(output / calls)) if calls else 1)
        objective = Urgency.of(max((op.attributes.get("objective") for op in ops), key=strictness))
        return _Group(ops[0], shape, objective is not Urgency.THROUGHPUT, begin, end)

    def is_measured(self, ops: list[Op]) -> bool:
        """Whether it is known how long the prompts are, up to outputs in them."""
        return not any(fill in self._lengths.unknown for op in ops for fill in self._fills_of(op))

    def is_counted(self, ops: list[Op]) -> bool:
        """Whether the number of calls is known: the elements of all maps around them, and their samples."""
        for op in ops:
            samples = "n" in (op.attributes.get("options") or ())  # type: ignore[operator]
            if samples and self._knowledge.samples(op) is None:
                return False
            region = self._plan.home[op]
            while region in self._around:
                owner, region = self._around[region]
                if owner.name == "flow.for" and self._knowledge.trips(owner) is None:
                    return False
        return True

    def _own(self, op: Op, region: Region) -> float:
        """Prompt tokens of a generate that no other call shares: those of fills in its region that it alone uses."""
        own = 0.0
        for fill in self._fills_of(op):
            if self._fills[fill.result][1] is not region or self._uses[fill.result] > 1:
                break
            own += self._lengths.tokens[fill]
        return own

    def _fills_of(self, op: Op) -> Iterator[Op]:
        """The fills that the prompt of a generate is made of, the last one first, up to an output or a region."""
        context: object = op.operands[0]
        while isinstance(context, Value) and context in self._fills:
            fill = self._fills[context][0]
            yield fill
            context = fill.args[0]
