"""Calls and the engines that they have been given so far, with what that costs all calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .engine_load import NOTHING, Demand, EngineLoad, WaitingCall

URGENT_WEIGHT = 8.0
"""How many lost seconds of other calls a lost second of an urgent call counts for."""


class PlacementPlan:
    """Calls of one urgency, and the engines that they have been given so far. Engines are copied when they change."""

    def __init__(self, calls: Sequence[WaitingCall], before: Sequence[EngineLoad]) -> None:
        self.calls = calls
        self.before = before
        self.loads = list(before)
        self.urgent = bool(calls) and calls[0].urgent
        self.engines = [-1] * len(calls)
        self.longest: dict[int, float] = {}
        """The most tokens that a call given here decodes, for each engine that was given one."""
        self.work_s = 0.0

    def assign(self, number: int, engine: int) -> None:
        """Give call `number` to `engine`."""
        call = self.calls[number]
        if engine not in self.longest:
            self.loads[engine] = self.loads[engine].copy()
        self.longest[engine] = max(self.longest.get(engine, 0.0), call.output_tokens)
        demand = self.loads[engine].add(call)
        self.work_s += demand.prefill_s + demand.decode_s
        self.engines[number] = engine

    def moved(self, numbers: Collection[int], engine: int) -> PlacementPlan:
        """The same plan with some calls on another engine."""
        other = PlacementPlan(self.calls, self.before)
        for number, chosen in enumerate(self.engines):
            other.assign(number, engine if number in numbers else chosen)
        return other

    def end(self, engine: int, demand: Demand = NOTHING) -> float:
        """When the calls that `engine` was given here would have ended, with one more of that demand."""
        load, longest = self.loads[engine], max(self.longest.get(engine, 0.0), demand.output_tokens)
        return load.urgent_end_s(longest, demand) if self.urgent else load.end_s(self.before[engine], longest, demand)

    def harm(self, engine: int, demand: Demand = NOTHING) -> float:
        """Seconds that the calls which `engine` had before lose by what it was given since, `demand` included."""
        before, load = self.before[engine], self.loads[engine]
        if not before.calls:
            return 0.0
        harm = 0.0
        if before.urgent_calls:
            delay = load.urgent_end_s(before.urgent_steps, demand) - before.urgent_end_s(before.urgent_steps)
            harm = URGENT_WEIGHT * before.urgent_calls * max(0.0, delay)  # an average row may become shorter
        others = before.calls - before.urgent_calls
        longest = max(self.longest.get(engine, 0.0), demand.output_tokens)
        return harm + (others * load.delay_s(before, longest, demand) if others else 0.0)

    def makespan_s(self) -> float:
        """When the last of the calls has ended."""
        return max((self.end(engine) for engine in self.longest), default=0.0)

    def lost_s(self) -> float:
        """Seconds that all calls lose."""
        weight = URGENT_WEIGHT if self.urgent else 1.0
        return weight * len(self.calls) * self.makespan_s() + sum(map(self.harm, self.longest))

    def overflow(self) -> float:
        """KV tokens promised beyond what engines have."""
        return sum(max(0.0, load.held_tokens - load.kv_slots) for load in self.loads if load.kv_slots is not None)

    @property
    def key(self) -> tuple[float, float, float, float]:
        """The better plan has the smaller key: fewer lost seconds, then less work, then calls that end earlier."""
        ends = {engine: self.end(engine) for engine in self.longest}
        ended = sum(ends[engine] for engine in self.engines)
        return self.overflow(), rounded(self.lost_s()), rounded(self.work_s), rounded(ended)


def rounded(seconds: float) -> float:
    """Without the last digits, which depend on the order of additions."""
    return float(f"{seconds:.9e}")
