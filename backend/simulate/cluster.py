"""Many engines that serve many applications, event by event: arrivals, calls that become ready, steps that end."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import cast

from ...passes.cost_model import CostModel
from ...passes.engine_load import Demand, WaitingCall
from ..call_order import is_urgent
from ..engine import Priority
from .applications import COMMON, ApplicationRun, ApplicationShape, in_order
from .leap_scheduler import LengthCall
from .length_engine import LengthEngine, LengthRequest
from .placing import Placer

SUMMED = ("calls", "prompt_tokens", "filled_tokens", "refilled_tokens", "generated_tokens", "engine_steps",
          "evicted_tokens", "preemptions")
"""Counters of a `ClusterResult` that are sums over engines."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An application that has ended. `seconds`: since its arrival; `tokens`: that its calls wrote."""

    number: int
    kind: str
    arrival: float
    seconds: float
    calls: int
    tokens: int


@dataclass
class ClusterResult:
    """What a simulation gives. Counters are sums over all engines; `busy`: the share of time in which they worked."""

    applications: list[Ended] = field(default_factory=list)
    calls: int = 0
    makespan_s: float = 0.0
    prompt_tokens: int = 0
    filled_tokens: int = 0
    refilled_tokens: int = 0
    generated_tokens: int = 0
    engine_steps: int = 0
    evicted_tokens: int = 0
    preemptions: int = 0
    peak_kv_tokens: int = 0
    """Of the engine that held most."""
    busy: float = 0.0

    @property
    def normalized_s(self) -> float:
        """Mean over applications of their seconds for each token that they wrote."""
        return sum(a.seconds / max(1, a.tokens) for a in self.applications) / max(1, len(self.applications))

    @property
    def mean_s(self) -> float:
        """Mean time of an application."""
        return sum(a.seconds for a in self.applications) / max(1, len(self.applications))

    def slowest_s(self, share: float) -> float:
        """The time that a share of all applications did not exceed."""
        times = sorted(a.seconds for a in self.applications)
        return times[min(len(times) - 1, math.ceil(share * len(times)) - 1)] if times else 0.0


def joined(results: Sequence[tuple[int, ClusterResult]]) -> ClusterResult:
    """The result of clusters that do not know of one another, each with its number of engines.

    Applications were dealt out in turn: number n of cluster c of k is number k·n + c of all.
    """
    whole, engines = ClusterResult(), sum(number for number, _ in results)
    whole.makespan_s = max(result.makespan_s for _, result in results)
    for cell, (number, result) in enumerate(results):
        whole.applications += [replace(a, number=len(results) * a.number + cell) for a in result.applications]
        whole.busy += result.busy * number * result.makespan_s / (engines * whole.makespan_s or 1.0)
        whole.peak_kv_tokens = max(whole.peak_kv_tokens, result.peak_kv_tokens)
        for name in SUMMED:
            setattr(whole, name, getattr(whole, name) + getattr(result, name))
    whole.applications.sort(key=lambda a: a.number)
    return whole


@dataclass(slots=True)
class _Placed:
    """A call on an engine."""

    run: ApplicationRun
    number: int
    demand: Demand


class Cluster:
    """`engines` engines with steps of `costs` and memory for `kv_slots` tokens each.

    `spread`: calls go to the least loaded engine whatever their prompts are; `leaps`: see `LengthEngine`.
    Numbers depend on the arguments only.
    """

    def __init__(self, engines: int, costs: CostModel, kv_slots: int, *, prefix_cache: bool = True,
                 spread: bool = False, leaps: bool = True) -> None:
        self.engines = [LengthEngine(number, costs, kv_slots, prefix_cache=prefix_cache, leaps=leaps)
                        for number in range(engines)]
        self._placer = Placer(costs, kv_slots, engines, spread=spread)
        for engine in self.engines:
            engine.tree.on_drop = self._dropped(engine.number)
        self._events: list[tuple[float, int, object]] = []
        self._numbers = count()
        self._ready: list[tuple[ApplicationRun, int]] = []
        self._changed: dict[int, None] = {}
        self._result = ClusterResult()
        self.now = 0.0

    def run(self, applications: Iterable[ApplicationShape]) -> ClusterResult:
        """Serve applications, which come in the order of their arrival, to the last one."""
        arrivals = enumerate(in_order(applications))
        self._next_arrival(arrivals)
        while self._events:
            self.now = self._events[0][0]
            while self._events and self._events[0][0] <= self.now:
                time, _, what = heapq.heappop(self._events)
                if isinstance(what, LengthEngine):
                    if what.until == time:
                        self._end_steps(what)
                elif isinstance(what, ApplicationShape):
                    self._arrive(what, arrivals)
                else:
                    self._ready.append(cast(tuple[ApplicationRun, int], what))
            self._place()
            self._begin_steps()
        return self._collect()

    def _at(self, time: float, what: object) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), what))

    def _next_arrival(self, arrivals: Iterator[tuple[int, ApplicationShape]]) -> None:
        for self._arriving, shape in arrivals:
            self._at(shape.arrival, shape)
            return

    def _arrive(self, shape: ApplicationShape, arrivals: Iterator[tuple[int, ApplicationShape]]) -> None:
        run = ApplicationRun.of(self._arriving, shape)
        self._next_arrival(arrivals)
        self._make_ready(run, run.ready_at_first())
        if not run.open:
            self._end_application(run)

    def _make_ready(self, run: ApplicationRun, numbers: list[int]) -> None:
        for number in numbers:
            delay = run.shape.calls[number].delay
            if delay:
                self._at(self.now + delay, (run, number))
            else:
                self._ready.append((run, number))

    # ---- engines ----

    def _end_steps(self, engine: LengthEngine) -> None:
        self._changed[engine.number] = None
        for call in engine.end(self.now):
            self._end_call(engine, call)

    def _end_call(self, engine: LengthEngine, call: LengthCall) -> None:
        placed = cast(_Placed, call.owner)
        run = placed.run
        self._placer.end(engine.number, run.shape.calls[placed.number].segments, placed.demand)
        self._make_ready(run, run.ended(placed.number))
        if not run.open:
            self._end_application(run)

    def _end_application(self, run: ApplicationRun) -> None:
        shape = run.shape
        self._result.applications.append(Ended(
            run.number, shape.kind, shape.arrival, self.now - shape.arrival, len(shape.calls),
            sum(call.tokens for call in shape.calls)))
        own = {key for call in shape.calls for key, _ in (*call.segments, (call.output, 0)) if key >= COMMON}
        for engine in run.engines:
            runs = self._placer.loads[engine].runs
            for key in own:
                runs.pop(key, None)

    def _place(self) -> None:
        """Give the calls that have become ready to engines: those of one application together."""
        ready, self._ready = self._ready, []
        start = 0
        while start < len(ready):
            end = start + 1
            while end < len(ready) and ready[end][0] is ready[start][0]:
                end += 1
            self._place_together(ready[start][0], [number for _, number in ready[start:end]])
            start = end

    def _place_together(self, run: ApplicationRun, numbers: list[int]) -> None:
        shapes = [run.shape.calls[number] for number in numbers]
        waiting = [WaitingCall(shape.segments, float(shape.tokens), is_urgent(shape.priority)) for shape in shapes]
        for number, shape, call, chosen in zip(numbers, shapes, waiting, self._placer.choose(waiting), strict=True):
            engine = self.engines[chosen]
            placed = _Placed(run, number, self._placer.begin(chosen, call))
            run.engines.add(chosen)
            priority = self._priority(shape.priority, run.number)
            engine.add(LengthRequest(shape.segments, shape.output, shape.tokens, priority, placed))
            self._result.calls += 1
            before = engine.until
            until = engine.interrupt(self.now)
            if until is not None and until != before:
                self._at(until, engine)
            self._changed[chosen] = None

    @staticmethod
    def _priority(priority: Priority, application: int) -> Priority:
        group = None if priority.group is None else f"{application}/{priority.group}"
        return Priority(group, priority.depth, priority.objective, application, priority.slack, priority.deadline,
                        priority.batch)

    def _begin_steps(self) -> None:
        for number in self._changed:
            engine = self.engines[number]
            if engine.until is None:
                until = engine.begin(self.now)
                if until is not None:
                    self._at(until, engine)
        self._changed.clear()

    def _dropped(self, engine: int) -> Callable[[int], None]:
        placer = self._placer

        def dropped(key: int) -> None:
            if key < COMMON:
                placer.forget(engine, key)

        return dropped

    def _collect(self) -> ClusterResult:
        result = self._result
        result.makespan_s = self.now
        result.busy = sum(engine.busy_s for engine in self.engines) / (len(self.engines) * self.now or 1.0)
        for engine in self.engines:
            stats = engine.stats
            for name in SUMMED[1:]:
                setattr(result, name, getattr(result, name) + getattr(stats, name))
            result.peak_kv_tokens = max(result.peak_kv_tokens, stats.peak_kv_tokens)
        result.applications.sort(key=lambda a: a.number)
        return result
