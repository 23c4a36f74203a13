"""What a run wants of each call: the objectives of the outputs that wait for it, and when it has to be finished.

The rule of Parrot (OSDI'24, section 5.2, "performance objective deduction"): from the outputs, whose objectives the
source says, back over the data flow, everything that an output waits for serves that output; of several outputs the
strictest counts. Here the way back leads through regions, hosts, effects, branches and loops as well.

Strictest first: `ttft`, `latency`, `deadline(seconds)` with fewer seconds before more, `throughput`. Two objectives
change on the way back. Only the calls that give the output itself serve `ttft`: what they wait for has to be complete,
so it serves `latency`. And a call that serves a deadline has its own: what is left of the seconds after everything
that is to follow it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

from ..ir.core import Arg, Literal, Op, Value, Word, walk
from .chains import Chains
from .effects import GENERATES, REGION_OPS
from .regions import control, flows

LEAST_SHARE = 1e-6
"""Seconds of a deadline that cannot be met."""


class Urgency(IntEnum):
    """The kinds of objectives; the larger is the stricter."""

    THROUGHPUT = 0
    DEADLINE = 1
    LATENCY = 2
    TTFT = 3

    @staticmethod
    def of(objective: Literal) -> Urgency:
        """The kind of an IR objective; absent is throughput."""
        return Urgency[objective.name.upper()] if isinstance(objective, Word) else Urgency.THROUGHPUT

    def word(self, deadline: float | None = None) -> Word:
        """The objective as the IR has it."""
        return Word(self.name.lower(), (deadline,) if self is Urgency.DEADLINE else ())


def strictness(objective: Literal) -> tuple[int, float]:
    """Larger for stricter objectives."""
    seconds = deadline_of(objective)
    return Urgency.of(objective), 0.0 if seconds is None else -seconds


def deadline_of(objective: Literal) -> float | None:
    """The seconds of a `deadline`; None for other objectives."""
    if isinstance(objective, Word) and objective.name == "deadline":
        (seconds,) = objective.arguments
        assert isinstance(seconds, int | float)
        return float(seconds)
    return None


def returned(program: Op) -> Iterator[tuple[Arg, Literal]]:
    """What a program returns, each with its objective; an effect has none."""
    terminator = program.regions[0].terminator
    objectives = terminator.attributes.get("objective") or ()
    assert isinstance(objectives, tuple)
    for number, arg in enumerate(terminator.args):
        yield arg, objectives[number] if number < len(objectives) else None


def urgencies(program: Op) -> dict[Op, Urgency]:
    """The urgency of each generate of a program: that of the strictest output which waits for it.

    One search from the outputs backwards, strictest first, so every value is looked at once.
    """
    wanted = _Wanted(program)
    work: dict[Urgency, list[Value]] = {urgency: [] for urgency in Urgency}
    for arg, objective in returned(program):
        if isinstance(arg, Value):
            work[Urgency.of(objective)].append(arg)
    found: dict[Value, Urgency] = {}
    for urgency in sorted(Urgency, reverse=True):
        stack = work[urgency]
        while stack:
            value = stack.pop()
            if value in found:
                continue
            found[value] = urgency
            complete, handed = wanted.sources(value)
            stack.extend(handed)
            # What has to be complete before it is used is no longer the output's own first token.
            (stack if urgency <= Urgency.LATENCY else work[Urgency.LATENCY]).extend(complete)
    return {op: max([found[r] for r in op.results if r in found], default=Urgency.THROUGHPUT)
            for op in walk([program]) if op.name in GENERATES}


class _Wanted:
    """What a value waits for."""

    def __init__(self, program: Op) -> None:
        self._giver: dict[Value, Op] = {}
        self._handed: dict[Value, list[Value]] = {}
        self._control: dict[Op, list[Value]] = {}
        for op in walk([program]):
            for result in op.results:
                self._giver[result] = op
            if op.name in REGION_OPS:
                for region in op.regions:
                    self._giver.update(dict.fromkeys(region.parameters, op))
                self._control[op] = _values(control(op))
                for flow in flows(op):
                    if isinstance(flow.source, Value):
                        self._handed.setdefault(flow.target, []).append(flow.source)

    def sources(self, value: Value) -> tuple[list[Value], list[Value]]:
        """The values that must be complete before `value` begins, and those that become (part of) it."""
        op = self._giver.get(value)
        if op is None:  # a parameter of the program
            return [], []
        if op.name in REGION_OPS:
            return self._control[op], self._handed.get(value, [])
        return op.operands, []


def _values(args: Sequence[Arg]) -> list[Value]:
    return [arg for arg in args if isinstance(arg, Value)]


def latest_ends(program: Op, chains: Chains) -> dict[Op, float]:
    """By when each operation must have ended for the deadlines of the outputs that wait for it, in seconds.

    From the begin of the run, in the first turn of every loop; `chains` measures seconds. Calls on which no output
    with a deadline depends are absent. Not positive where a deadline cannot be met as it seems.
    """
    seeds: dict[Value, float] = {}
    for arg, objective in returned(program):
        seconds = deadline_of(objective)
        if seconds is not None and isinstance(arg, Value):
            seeds[arg] = max(-seconds, seeds.get(arg, -seconds))
    if not seeds:
        return {}
    return {op: -seconds for op, (seconds, _) in chains.backward(seeds, sinks=False).items()}


def objectives(program: Op, chains: Chains) -> dict[Op, Word]:
    """The objective of each generate; `chains` measures seconds. Shares of deadlines are whole microseconds."""
    ends = latest_ends(program, chains)
    return {op: urgency.word(max(LEAST_SHARE, round(ends[op], 6)) if urgency is Urgency.DEADLINE else None)
            for op, urgency in urgencies(program).items()}
