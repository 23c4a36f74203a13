"""An engine of which only lengths are known, at the speed of a simulation: the step engine's own scheduler decides what
a step computes, the cost model says how long it takes, and steps that differ in nothing but the length of outputs are
leapt over at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from ...passes.cost_model import CostModel
from ..call_order import CallOrders
from ..context_tree import Node
from ..decoding.output_decoder import OutputDecoder
from ..engine import EngineStats, Priority
from ..scheduler import Call, Plan, Scheduler
from ..step_plan import Work
from .length_tree import LengthRoom, LengthTree

NO_DECODER = cast(OutputDecoder, None)
"""Outputs have a length and no tokens."""


@dataclass(frozen=True)
class LengthRequest:
    """A call to be made: key and length of each segment of its prompt, key and number of tokens of its output."""

    segments: tuple[tuple[int, int], ...]
    output: int
    tokens: int
    priority: Priority
    owner: object = None


@dataclass(eq=False)
class LengthCall(Call):
    """A generate of `remaining` more tokens, whose output is the segment `output`."""

    output: int = 0
    remaining: int = 0
    started: bool = False
    """Whether it has its first token."""
    first_token: float = math.nan
    owner: object = None
    """Whose call it is."""


class LeapScheduler(Scheduler):
    """The scheduler, which also says how long a plan holds good."""

    def __init__(self, tree: LengthTree, costs: CostModel, stats: EngineStats) -> None:
        super().__init__(tree, max_step_tokens=costs.max_step_tokens, max_batch=costs.max_batch, stats=stats,
                         costs=costs)
        self._lengths = tree
        self._room = LengthRoom.of(tree, stats)

    def steps_alike(self, plan: Plan) -> int:
        """How many steps, this one included, compute the same calls as `plan`, unless calls come or go.

        A call that found no row, no place in its group's batch or no memory finds none as long as the others go on.
        Memory is only made when it is needed, so the steps end with the free slots.
        """
        rows = len(plan.works)
        if any(work.is_prefill or not work.reserved for work in plan.works) or len(plan.consumers) < rows:
            return 1
        calls = [cast(LengthCall, call) for consumers in plan.consumers for call in consumers]
        if len(calls) > rows or not all(call.started for call in calls):
            return 1
        steps = min(min(call.remaining for call in calls), 1 + self._lengths.allocator.free_pages // rows)
        if self._spare_seconds is not None and not all(call.is_urgent for call in self.calls):
            if rows < len(self.calls):
                return 1
            # Each step reads `rows` KV tokens more, which is the most that is gained or lost of the spare time.
            lost = rows * self.costs.kv_token
            steps = min(steps, 1 + max(0, math.floor(self._spare_seconds / lost) - 1) if lost else steps)
        return steps


@dataclass
class _Leap:
    """Steps under way, from `began` on: `steps` of them, which take `first` seconds and each `more` than the last."""

    plan: Plan
    began: float
    steps: int
    extra: float
    first: float
    more: float

    def seconds(self, steps: int) -> float:
        """What so many of the steps take."""
        return self.extra + steps * self.first + self.more * (steps * (steps - 1) / 2)

    def steps_until(self, seconds: float) -> int:
        """The fewest steps that take at least so long, one at least."""
        seconds -= self.extra
        if self.more:
            b = self.first - self.more / 2
            steps = math.ceil((math.sqrt(b * b + 2 * self.more * max(0.0, seconds)) - b) / self.more)
        else:
            steps = math.ceil(seconds / self.first) if self.first else 1
        steps = min(max(1, steps), self.steps)
        while steps > 1 and self.seconds(steps - 1) >= seconds + self.extra:
            steps -= 1
        while steps < self.steps and self.seconds(steps) < seconds + self.extra:
            steps += 1
        return steps


@dataclass
class LengthEngine:
    """One engine. `kv_slots`: of its memory; `prefix_cache`: whether prompts find equal ones; `leaps`: whether equal
    steps are taken at once, which changes no number; `begin_tokens`: of the empty context (BOS).

    `begin`, `end` and `interrupt` are called by whoever keeps the time.
    """

    number: int
    costs: CostModel
    kv_slots: int
    prefix_cache: bool = True
    leaps: bool = True
    reads_shared_once: bool = True
    begin_tokens: int = 1
    stats: EngineStats = field(default_factory=EngineStats)
    until: float | None = None
    """When the steps under way end."""
    busy_s: float = 0.0
    """Seconds in which it worked."""
    on_step: Callable[[int, int], None] | None = None
    """Told of steps: how many, and the calls that got a token in each."""

    def __post_init__(self) -> None:
        self.tree = LengthTree(self.kv_slots, self.begin_tokens, share=self.prefix_cache)
        self.scheduler = LeapScheduler(self.tree, self.costs, self.stats)
        self._orders = CallOrders()
        self._waiting: list[LengthRequest] = []
        self._leap: _Leap | None = None
        self._seconds_of_calls = 0.0

    def add(self, request: LengthRequest) -> None:
        """A call has come; it is taken notice of when the next step begins. Raises ValueError if it cannot fit."""
        tokens = self.begin_tokens + sum(length for _, length in request.segments) + request.tokens
        if tokens > self.kv_slots:
            raise ValueError(f"a call needs KV for {tokens} tokens, the engine has {self.kv_slots}")
        self._waiting.append(request)

    def _take(self, request: LengthRequest, now: float) -> None:
        mark = self.tree.context(request.segments)
        call = LengthCall(self._orders.enter(request.priority, now), request.priority, mark, mark.position, NO_DECODER,
                          0, output=request.output, remaining=request.tokens, owner=request.owner)
        self.scheduler.add(call)
        self.stats.generates += 1
        self.stats.prompt_tokens += mark.position - self.begin_tokens
        self._seconds_of_calls += self.costs.call

    def begin(self, now: float) -> float | None:
        """Begin the next steps, if none are under way and there is work; when they end."""
        if self._leap is not None:
            return self.until
        for request in self._waiting:
            self._take(request, now)
        self._waiting.clear()
        if not self.scheduler.calls:
            return None
        plan = self.scheduler.plan()
        if not plan.works:
            return None
        prefill, rows, read, attended = self._size(plan.works)
        first = self.costs.step_seconds(prefill, rows, read, attended)
        steps = self.scheduler.steps_alike(plan) if self.leaps else 1
        self._leap = _Leap(plan, now, steps, self._seconds_of_calls, first, self.costs.kv_token * rows)
        self._seconds_of_calls = 0.0
        self.until = now + self._leap.seconds(steps)
        return self.until

    def interrupt(self, now: float) -> float | None:
        """A call has come `now`: it joins after the step under way. When that ends."""
        leap = self._leap
        if leap is not None and leap.steps > 1:
            leap.steps = leap.steps_until(now - leap.began)
            self.until = leap.began + leap.seconds(leap.steps)
        return self.until

    def end(self, now: float) -> list[LengthCall]:
        """The steps under way have ended; the calls that are finished."""
        leap, self._leap, self.until = self._leap, None, None
        assert leap is not None
        self.busy_s += leap.seconds(leap.steps)
        self._commit(leap.plan, leap.steps)
        finished = []
        for consumers in leap.plan.consumers:
            for called in consumers:
                call = cast(LengthCall, called)
                self._advance(call, leap, now)
                if not call.remaining:
                    finished.append(call)
        self.stats.peak_kv_tokens = max(self.stats.peak_kv_tokens, self.tree.live_tokens)
        for call in finished:
            self.scheduler.remove(call)
            self._orders.leave(call.priority)
            self._leave(call)
        return finished

    def _leave(self, call: LengthCall) -> None:
        """What becomes of the context of a finished call: nobody needs it any more."""
        self.tree.drop_mark(call.tip)

    def _commit(self, plan: Plan, steps: int) -> None:
        stats, tree = self.stats, self.tree
        for work in plan.works:
            for node in work.reserved:
                tree.commit(node)
            stats.filled_tokens += work.filled
            stats.refilled_tokens += work.refilled
        stats.engine_steps += steps
        if self.on_step is not None:
            self.on_step(steps, len(plan.consumers))
        if steps == 1:
            stats.peak_kv_tokens = max(stats.peak_kv_tokens, tree.live_tokens)

    def _advance(self, call: LengthCall, leap: _Leap, now: float) -> None:
        tree, steps = self.tree, leap.steps
        self.stats.generated_tokens += steps
        call.remaining -= steps
        if call.started:
            tree.grow_output(call.tip, steps)
            if steps > 1:
                tree.compute_output(call.tip, steps - 1)
        else:
            call.started = True
            call.first_token = now
            tree.begin_output(call.tip, call.output)

    def _size(self, works: list[Work]) -> tuple[int, int, int, int]:
        """As `step_plan.step_size` counts it."""
        prefill = rows = attended = read = 0
        extents: dict[Node, int] = {}
        for work in works:
            count = work.end - work.first
            if work.is_prefill:
                prefill += count
                attended += count * work.first + count * (count + 1) // 2
                continue
            rows += 1
            read += 1
            if not self.reads_shared_once:
                read += work.first
                continue
            for node in work.path:
                extent = min(len(node.tokens), work.first - node.start)
                if extent > extents.get(node, 0):
                    extents[node] = extent
        return prefill, rows, read + sum(extents.values()), attended
