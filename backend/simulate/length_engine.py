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
from ..engine import EngineStats, Priority
from ..scheduler import Plan
from ..step_plan import Work
from .leap_scheduler import NO_DECODER, LeapScheduler, LengthCall
from .length_tree import LengthTree


@dataclass(frozen=True)
class LengthRequest:
    """A call to be made: key and length of each segment of its prompt, key and number of tokens of its output."""

    segments: tuple[tuple[int, int], ...]
    output: int
    tokens: int
    priority: Priority
    owner: object = None


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
                          output=request.output, remaining=request.tokens, owner=request.owner)
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
        finished = self._commit(leap)
        for call in finished:
            self.scheduler.remove(call)
            self._orders.leave(call.priority)
            self._leave(call)
        return finished

    def _leave(self, call: LengthCall) -> None:
        """What becomes of the context of a finished call: nobody needs it any more."""
        self.tree.drop_mark(call.tip)

    def _commit(self, leap: _Leap) -> list[LengthCall]:
        """What the steps computed is resident, and calls have their tokens; the calls that have all of them."""
        plan, steps, tree, stats = leap.plan, leap.steps, self.tree, self.stats
        for work in plan.works:
            if steps > 1:
                tree.commit_output(work.reserved[0], steps)
                stats.refilled_tokens += work.refilled
                continue
            for node in work.reserved:
                tree.commit(node)
            stats.filled_tokens += work.filled
            stats.refilled_tokens += work.refilled
        stats.engine_steps += steps
        stats.peak_kv_tokens = max(stats.peak_kv_tokens, tree.live_tokens)
        if self.on_step is not None:
            self.on_step(steps, len(plan.consumers))
        finished = []
        for consumers in plan.consumers:
            for called in consumers:
                call = cast(LengthCall, called)
                stats.generated_tokens += steps
                call.remaining -= steps
                if call.path:
                    tree.grow_output(call.tip, steps)
                else:
                    tree.begin_output(call.tip, call.output)
                    call.path = tree.path(call.tip)
                if not call.remaining:
                    finished.append(call)
        return finished

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
