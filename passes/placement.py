"""Which engine each call goes to: one policy for compile time, run time and the simulator.

`place` is given calls that can begin now, with the loads of all engines that run their model, and gives each call an
engine. What counts is the time that calls lose, all together: each of the given calls ends with the last of them, and
each call that an engine has already is delayed by the work that is added there. From this follows
- calls that share a prompt stay together where computing the prompt once more costs more than waiting for one another,
  and are spread where it does not: every number of engines is tried;
- a call goes to where its prompt is resident unless that engine is busier than the prompt is worth;
- otherwise it goes to the engine that is harmed least: an urgent call avoids engines whose steps are long, others
  avoid engines with urgent calls, whose lost seconds weigh more.
An engine whose KV is promised is left out while another has room.

Two ways to share out calls are compared. One takes the longest call first and gives each to the engine that is done
first (Graham 1969); for equal calls this is optimal, a prompt to be computed first included. The other walks the
calls in the order of the tree of their prompts and cuts this walk into stretches that end before a time T, the least
T being found by bisection (dual approximation, Hochbaum and Shmoys 1987): a cut repeats one path of the tree only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from .engine_load import EngineLoad, WaitingCall
from .placement_plan import URGENT_WEIGHT, PlacementPlan, rounded

__all__ = ["EngineLoad", "Placement", "WaitingCall", "evaluate", "place"]

BISECTIONS = 12
FEW_PAIRS = 64
"""Of so many calls times engines, single moves are tried in the end."""
MOST_PAIRS = 1024
"""Of more calls times engines, fewer ways to share them out are tried."""


@dataclass(frozen=True)
class Placement:
    """`engines`: the index of the engine of each call. `makespan_s`: until the last of them has ended.

    `lost_s`: seconds that all calls lose, those that the engines had before included; what `place` minimises.
    `overflow`: KV tokens promised beyond what engines have.
    """

    engines: tuple[int, ...]
    makespan_s: float
    lost_s: float
    overflow: float = 0.0

    @property
    def used(self) -> int:
        """Over how many engines the calls are spread."""
        return len(set(self.engines))


def place(calls: Sequence[WaitingCall], engines: Sequence[EngineLoad]) -> Placement:
    """An engine for each of `calls`; `engines` are left as they are, `engines[i].add(call)` makes it so.

    Urgent calls are placed first. With one call the work is linear in the engines; of many engines it is enough to
    give those where a run of a prompt is resident and, for n calls, the n that are done first.
    Raises ValueError without engines.
    """
    if not engines:
        raise ValueError("calls cannot be placed without engines")
    if len(engines) == 1:
        return _evaluated(calls, engines, [0] * len(calls))
    chosen = [0] * len(calls)
    loads = list(engines)
    for urgent in (True, False):
        wave = [number for number, call in enumerate(calls) if call.urgent is urgent]
        if not wave:
            continue
        members = [calls[number] for number in wave]
        best = min(_plans(members, loads), key=lambda plan: plan.key)
        if best.overflow():
            best = min(best, _relieved(best), key=lambda plan: plan.key)
        loads = best.loads
        for number, engine in zip(wave, best.engines, strict=True):
            chosen[number] = engine
    return _evaluated(calls, engines, chosen)


def evaluate(calls: Sequence[WaitingCall], engines: Sequence[EngineLoad], chosen: Sequence[int]) -> Placement:
    """What a given choice of engines costs by the same count as `place` uses."""
    return _evaluated(calls, engines, chosen)


def _evaluated(calls: Sequence[WaitingCall], engines: Sequence[EngineLoad], chosen: Sequence[int]) -> Placement:
    lost, makespan, overflow = 0.0, 0.0, 0.0
    loads = list(engines)
    for urgent in (True, False):
        wave = [number for number, call in enumerate(calls) if call.urgent is urgent]
        if wave:
            plan = PlacementPlan([calls[number] for number in wave], loads)
            for position, number in enumerate(wave):
                plan.assign(position, chosen[number])
            lost, makespan, overflow = lost + plan.lost_s(), max(makespan, plan.makespan_s()), plan.overflow()
            loads = plan.loads
    return Placement(tuple(chosen), makespan, lost, overflow)


def _plans(calls: Sequence[WaitingCall], loads: Sequence[EngineLoad]) -> Iterator[PlacementPlan]:
    """Ways to share out calls of one urgency, over every number of idle engines that all are alike."""
    heads, shares = {call.prompt[0][0] for call in calls if call.prompt}, _shares(calls)
    busy = [number for number, load in enumerate(loads)
            if load.calls or any(load.runs.get(head) is not None for head in heads)]
    idle = sorted(set(range(len(loads))).difference(busy))
    sizes: Sequence[int] = range(1 if not busy else 0, min(len(idle), len(calls)) + 1)
    pairs, at_rest = len(calls) * len(loads), not any(load.calls for load in loads)
    if pairs > (MOST_PAIRS if shares else FEW_PAIRS):  # what shares nothing hardly loses by one more engine
        sizes = sizes[-1:]
    elif len(sizes) > 8:
        sizes = [size for size in sizes if size & (size - 1) == 0 or size == sizes[-1]]
    order = sorted(range(len(calls)), key=lambda number: -_weight(calls[number], loads[0]))
    walk = _walk(calls)
    for size in sizes:
        open_engines = busy + idle[:size]
        plans = [_longest_first(calls, loads, open_engines, order, weighs_harm)
                 for weighs_harm in ((False,) if at_rest else (False, True))]
        if shares:
            plans += _stretches(calls, loads, open_engines, walk, min(plan.makespan_s() for plan in plans))
        best = min(plans, key=lambda plan: plan.key)
        if 1 < len(calls) <= FEW_PAIRS / len(open_engines) and (shares or not at_rest):
            best = _improved(best, open_engines)
        yield best


def _shares(calls: Sequence[WaitingCall]) -> bool:
    """Whether any two calls begin alike."""
    return any(count > 1 for count in Counter(call.prompt[0][0] for call in calls if call.prompt).values())


def _weight(call: WaitingCall, load: EngineLoad) -> float:
    demand = load.demand(call)
    return demand.prefill_s + demand.decode_s + load.costs.step * demand.output_tokens


def _longest_first(calls: Sequence[WaitingCall], loads: Sequence[EngineLoad], engines: Sequence[int],
                   order: Sequence[int], weighs_harm: bool) -> PlacementPlan:
    """Each call, the longest first, goes to the engine where it ends first; or where least is lost by it."""
    plan = PlacementPlan(calls, loads)
    share = 1.0 / (len(calls) * (URGENT_WEIGHT if plan.urgent else 1.0))
    for number in order:
        best: tuple[bool, float, float, int, int] | None = None
        for engine in engines:
            load = plan.loads[engine]
            demand = load.demand(calls[number])
            lost = plan.end(engine, demand)
            if weighs_harm:
                lost += share * plan.harm(engine, demand)
            key = not load.has_room(demand), rounded(lost), demand.prefill_s, load.calls, engine
            best = key if best is None or key < best else best
        assert best is not None
        plan.assign(number, best[-1])
    return plan


def _improved(plan: PlacementPlan, engines: Sequence[int]) -> PlacementPlan:
    """The plan after moves of single calls, and of all calls that begin alike, as long as one makes it better."""
    alike: dict[Hashable, list[int]] = {}
    for number, call in enumerate(plan.calls):
        alike.setdefault(call.prompt[0] if call.prompt else None, []).append(number)
    movable = [[number] for number in range(len(plan.calls))] + [calls for calls in alike.values() if len(calls) > 1]
    best, improved = plan, True
    while improved:
        improved = False
        for numbers, engine in product(movable, engines):
            if any(best.engines[number] != engine for number in numbers):
                moved = best.moved(numbers, engine)
                if moved.key < best.key:
                    best, improved = moved, True
    return best


def _relieved(plan: PlacementPlan) -> PlacementPlan:
    """The plan after calls of engines whose KV is promised twice have moved to where there is room, the least first."""
    order = sorted(range(len(plan.calls)), key=lambda number: plan.calls[number].prompt_tokens
                   + plan.calls[number].output_tokens)
    for number in order:
        load = plan.loads[plan.engines[number]]
        if load.kv_slots is None or load.held_tokens <= load.kv_slots:
            continue
        call = plan.calls[number]
        others = [engine for engine, other in enumerate(plan.loads)
                  if engine != plan.engines[number] and other.has_room(other.demand(call))]
        if others:
            best = min(others, key=lambda engine: plan.end(engine, plan.loads[engine].demand(call)))
            plan = plan.moved([number], best)
    return plan


def _walk(calls: Sequence[WaitingCall]) -> list[int]:
    """The calls in the order of the tree of their prompts; the longer output first where prompts are equal."""
    numbers: dict[Hashable, int] = {}
    paths = [[numbers.setdefault(key, len(numbers)) for key, _ in call.prompt] for call in calls]
    return sorted(range(len(calls)), key=lambda number: (paths[number], -calls[number].output_tokens))


def _stretches(calls: Sequence[WaitingCall], loads: Sequence[EngineLoad], engines: Sequence[int],
               walk: Sequence[int], high: float) -> Iterator[PlacementPlan]:
    """The walk cut so that each engine ends before T: the plan of the least T up to `high` that was found, if any."""
    low = 0.0
    found = _cut(calls, loads, engines, walk, high)
    for _ in range(BISECTIONS if found else 0):
        middle = (low + high) / 2
        plan = _cut(calls, loads, engines, walk, middle)
        if plan is None:
            low = middle
        else:
            found, high = plan, min(middle, plan.makespan_s())
    if found:
        yield found


def _cut(calls: Sequence[WaitingCall], loads: Sequence[EngineLoad], engines: Sequence[int], walk: Sequence[int],
         limit: float) -> PlacementPlan | None:
    """One stretch of the walk for each engine, ended before `limit` passes; None where that does not hold all calls.

    The next engine is the one where the next call ends first, so one that has its prompt where there is such.
    """
    plan, closed = PlacementPlan(calls, loads), set[int]()
    current: int | None = None
    for number in walk:
        call = calls[number]
        if current is not None and not _fits(plan, current, call, limit):
            closed.add(current)
            current = None
        if current is None:
            left = [engine for engine in engines if engine not in closed and _fits(plan, engine, call, limit)]
            if not left:
                return None
            current = min(left, key=lambda engine: plan.end(engine, plan.loads[engine].demand(call)))
        plan.assign(number, current)
    return plan


def _fits(plan: PlacementPlan, engine: int, call: WaitingCall, limit: float) -> bool:
    load = plan.loads[engine]
    demand = load.demand(call)
    return load.has_room(demand) and plan.end(engine, demand) <= limit
