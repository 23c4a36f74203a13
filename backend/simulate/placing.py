"""Where calls go in a cluster of very many engines: the placement policy, asked about the engines that may matter."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count, islice

from ...passes.cost_model import CostModel
from ...passes.engine_load import Demand, EngineLoad, WaitingCall
from ...passes.placement import place
from .applications import COMMON

LOOKED_AT = 16
"""Engines among which those to be asked about are sought."""
MOST_IDLE = 4
"""Engines that are asked about because they have the least to do."""
MOST_HOLDERS = 2
"""Engines that are asked about because they hold the beginning of a prompt."""


class Placer:
    """Keeps the loads of all engines. `spread`: ignore prompts, as a load balancer without knowledge of them does."""

    def __init__(self, costs: CostModel, kv_slots: int, engines: int, *, spread: bool = False) -> None:
        self.loads = [EngineLoad(costs, kv_slots) for _ in range(engines)]
        self._spread = spread
        self._order = [(0.0, number, number) for number in range(engines)]
        """Engines by how long they are busy, then by turns; entries that no longer hold are passed over."""
        self._places = list(self._order)
        self._turns = count(engines)
        self._holders: dict[int, set[int]] = {}
        self._readers: list[dict[int, int]] = [{} for _ in range(engines)]
        """Calls on each engine that read a common segment."""

    def choose(self, calls: Sequence[WaitingCall]) -> list[int]:
        """An engine for each of `calls`, which have become ready together."""
        if self._spread:
            order = self._least_loaded(len(calls))
            return [order[position % len(order)] for position in range(len(calls))]
        light = self._least_loaded(LOOKED_AT)
        if len(calls) == 1 and (best := self._idle_holder(calls[0], light)) is not None:
            return [best]
        candidates = light[: min(len(calls), MOST_IDLE)]
        for first in {call.prompt[0][0] for call in calls}:
            assert isinstance(first, int)
            holders = self._holders.get(first)
            if holders:
                nearest = [number for number in light if number in holders] or self._lightest(holders)
                candidates += [number for number in nearest[:MOST_HOLDERS] if number not in candidates]
        candidates.sort()
        chosen = place(calls, [self.loads[number] for number in candidates])
        return [candidates[position] for position in chosen.engines]

    def _idle_holder(self, call: WaitingCall, light: Sequence[int]) -> int | None:
        """An engine that has nothing to do and all that any has of a prompt: no engine is better for the call."""
        (first, _), *rest = call.prompt
        assert isinstance(first, int)
        if any(isinstance(key, int) and key < COMMON for key, _ in rest):
            return None  # who holds how much of it is for the policy to weigh
        holders = self._holders.get(first)
        idle = (number for number in light if not self.loads[number].calls and (not holders or number in holders))
        return next(idle, None)

    def _lightest(self, holders: set[int]) -> list[int]:
        return heapq.nsmallest(MOST_HOLDERS, islice(holders, LOOKED_AT), key=self._places.__getitem__)

    def _least_loaded(self, count: int) -> list[int]:
        found: list[int] = []
        kept = []
        while self._order and len(found) < count:
            entry = heapq.heappop(self._order)
            if entry is self._places[entry[2]]:
                found.append(entry[2])
                kept.append(entry)
        for entry in kept:
            heapq.heappush(self._order, entry)
        return found

    def begin(self, engine: int, call: WaitingCall) -> Demand:
        """A call goes to an engine. Returns what `end` takes."""
        demand = self.loads[engine].add(call)
        for key, _ in call.prompt:
            assert isinstance(key, int)
            if key < COMMON:
                self._holders.setdefault(key, set()).add(engine)
                readers = self._readers[engine]
                readers[key] = readers.get(key, 0) + 1
        self._changed(engine)
        return demand

    def end(self, engine: int, segments: Sequence[tuple[int, int]], demand: Demand) -> None:
        """A call with this prompt has ended on its engine."""
        load, readers = self.loads[engine], self._readers[engine]
        load.remove(demand)
        for key, _ in segments:
            if key < COMMON:
                readers[key] -= 1
                if not readers[key]:
                    del readers[key]
                    if key in load.runs:
                        load.runs[key] = 0.0
        self._changed(engine)

    def _changed(self, engine: int) -> None:
        load = self.loads[engine]
        busy_s = load.prefill_s + load.decode_s + load.costs.step * load.steps
        entry = self._places[engine] = (busy_s, next(self._turns), engine)
        heapq.heappush(self._order, entry)

    def forget(self, engine: int, key: int) -> None:
        """An engine holds a segment no longer."""
        self.loads[engine].runs.pop(key, None)
        holders = self._holders.get(key)
        if holders is not None:
            holders.discard(engine)
