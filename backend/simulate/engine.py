"""The simulated engine: a step engine whose steps take virtual time, driven by a `VirtualClock`.

Contexts, scheduler and prefix cache are those of every step engine, and so are the steps; texts are the reference
engine's. A step begins when the one before it has ended and something is to be computed; calls that come meanwhile
wait for the next one, and what a step gives is reported when it ends.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.target import Tokenizer
from ...passes.cost_model import CostModel
from ..model_runner import ModelRunner
from ..queued_calls import GenerateCall, QueuedCall
from ..step_engine import StepEngine
from .runner import TimedRunner
from .virtual_clock import VirtualClock


class SimulatedEngine(StepEngine):
    """Implements `engine.Engine` in the time of `clock`. All calls come from the thread that advances the clock.

    `runner` gives the texts; `costs` the seconds, `call` of them with a call's first step. Other arguments: see
    `StepEngine` and `TimedRunner`.
    """

    def __init__(self, runner: ModelRunner, tokenizer: Tokenizer, clock: VirtualClock, costs: CostModel, *,
                 name: str = "simulate", kv_slots: int = 1 << 20, max_step_tokens: int | None = None,
                 max_batch: int | None = None, prefix_cache: bool = True, page_size: int = 16,
                 speculative_fills: bool = False, reads_shared_once: bool = True, trace: bool = False) -> None:
        self.clock = clock
        self._seconds_of_call = costs.call
        self._timed = TimedRunner(runner, costs, reads_shared_once=reads_shared_once)
        self._busy = False
        self._seconds_before = 0.0
        super().__init__(
            self._timed, tokenizer, name=name, kv_slots=kv_slots,
            max_step_tokens=max_step_tokens or costs.max_step_tokens, max_batch=max_batch or costs.max_batch,
            prefix_cache=prefix_cache, page_size=page_size,
            speculative_fills=speculative_fills, trace=trace)
        self.costs = costs
        clock.actors.append(self)
        self._idle = True

    def _start(self) -> None:
        """The clock makes the engine work, not a thread."""

    def begin(self) -> bool:
        """Begin the next step, if none is under way and there is something to compute."""
        if self._busy or (self._idle and not self._queue) or self._holds or self._closing:
            return False
        calls, self._queue = self._queue, []
        self._timed.extra_seconds += self._seconds_of_call * sum(isinstance(call, GenerateCall) for call in calls)
        self._idle, _, reports = self._turn(calls, False)
        self._busy = not self._idle
        if self._busy or reports:
            self.clock.at(self.now(), lambda: self._end(reports))
        self._seconds_before = self._timed.seconds
        return True

    def now(self) -> float:
        """The virtual time of events: within a step from its computation on, the time of its end."""
        return self.clock.now + self._timed.seconds - self._seconds_before

    def _end(self, reports: list[Callable[[], None]]) -> None:
        self._busy = False
        for report in reports:  # an error in one ends whoever advances the clock
            report()

    def close(self) -> None:
        """Fail the calls that have not ended."""
        with self._wake:
            if self._closing:
                return
            self._closing = True
            calls: list[QueuedCall]
            calls, self._queue = self._queue, []
        self.clock.actors.remove(self)
        for report in self._turn(calls, True)[2]:
            self._deliver(report)


