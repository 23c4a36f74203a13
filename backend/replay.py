"""A run again, by lengths and by the cost model alone: what it was going to take, as soon as it is known what it asks.

The scheduler, the context tree and the leaps over equal steps are those of `simulate.length_engine`. Outputs run to
their budgets, which is what they may take; prompts share what their known tokens have in common. Each request
comes when what it waited for in the run has ended here. Hosts take as long as they did.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import cast

from ..passes.cost_model import CostModel
from .context_tree import Mark
from .engine import ROOT, Priority
from .prompt_pieces import Piece, PromptPieces, between
from .run_log import BEGIN, Action, LoggedCall, LoggedFill, LoggedFree, LoggedHost, RunLog
from .simulate.leap_scheduler import NO_DECODER, LengthCall
from .simulate.length_engine import LengthEngine


@dataclass(frozen=True)
class ReplayedEngine:
    """An engine of the run: its costs, its memory, whether it finds equal prompts, and its tokens at the begin."""

    costs: CostModel
    kv_slots: int
    prefix_cache: bool
    begin_tokens: int


@dataclass(frozen=True)
class Replayed:
    """Seconds from begin to end, and tokens over all engines."""

    makespan_s: float
    filled_tokens: int
    peak_kv_tokens: int


def replay(log: RunLog, engines: Sequence[ReplayedEngine]) -> Replayed | None:
    """What the logged run takes; None where an engine would have to give up."""
    run = _Replay(log, [_Engine(number, engine, log) for number, engine in enumerate(engines)])
    seconds = run.go()
    if seconds is None:
        return None
    stats = [engine.stats for engine in run.engines]
    return Replayed(seconds, sum(s.filled_tokens for s in stats), sum(s.peak_kv_tokens for s in stats))


@dataclass(frozen=True)
class _Pending:
    """A call that waits for the next step."""

    context: int
    tip: Mark
    tokens: int
    priority: Priority


class _Engine(LengthEngine):
    """A length engine whose contexts are kept until they are freed. `pieces`: of all prompts that it is to get."""

    def __init__(self, number: int, engine: ReplayedEngine, log: RunLog) -> None:
        super().__init__(number, engine.costs, engine.kv_slots, engine.prefix_cache,
                         begin_tokens=engine.begin_tokens)
        self._log = log
        self._pending: list[_Pending] = []
        self.is_overfull = False
        """Whether a call cannot fit into the memory."""
        self._marks: dict[int, Mark] = {ROOT: self.tree.context(())}
        pieces = PromptPieces(share=engine.prefix_cache)
        self._ends: dict[int, Piece] = {ROOT: pieces.root}
        for action in (a for actions in log.actions.values() for a in actions):
            if isinstance(action, LoggedFill) and action.engine == number:
                self._ends[action.context] = pieces.fill(self._ends[action.parent], action.ids)
            elif isinstance(action, LoggedCall) and action.engine == number:
                self._ends[action.context] = pieces.output(self._ends[action.parent])

    def knows(self, context: int) -> bool:
        """Whether a context is there."""
        return context in self._marks

    def fill(self, action: LoggedFill) -> None:
        """Make a context."""
        mark = self._marks[action.context] = self.tree.copy_mark(self._marks[action.parent])
        self.tree.extend(mark, between(self._ends[action.context], self._ends[action.parent]))

    def generate(self, action: LoggedCall) -> None:
        """Take a call."""
        tip = self.tree.copy_mark(self._marks[action.parent])
        self._pending.append(_Pending(action.context, tip, action.tokens, action.priority))
        self.is_overfull |= tip.position + action.tokens > self.kv_slots

    def free(self, context: int) -> None:
        """Give a context up."""
        self.tree.drop_mark(self._marks.pop(context))

    def begin(self, now: float) -> float | None:
        """See `LengthEngine.begin`."""
        if self.until is None:
            for pending in self._pending:
                call = LengthCall(self._orders.enter(pending.priority, now), pending.priority, pending.tip,
                                  pending.tip.position, NO_DECODER, 0, output=-pending.context,
                                  remaining=pending.tokens, owner=pending.context)
                self.scheduler.add(call)
                self._seconds_of_calls += self.costs.call
            self._pending.clear()
        return super().begin(now)

    def _leave(self, call: LengthCall) -> None:
        """The context stays, with as many computed tokens as it had in the run, and as many that were not."""
        context, node, tree = cast(int, call.owner), call.tip.node, self.tree
        computed, fresh = self._log.ends.get(context, (node.resident, 1))
        if computed < node.resident:
            tree.drop_kv(node, computed)
            tree.retreat(call.tip, call.base + computed)
        else:
            fresh -= 1  # the last token, which was not fed to the model
        if fresh > 0:
            tree.extend(call.tip, [(call.output, fresh)])
        self._marks[context] = call.tip


class _Replay:
    """The time of all engines."""

    def __init__(self, log: RunLog, engines: list[_Engine]) -> None:
        self.engines = engines
        self._log = log
        self._events: list[tuple[float, int, Hashable]] = []
        """Ends of hosts."""
        self._deferred: dict[tuple[int, int], list[Action]] = {}
        """Actions that came before the context that they need, as outputs ended earlier in the run than here."""
        self._order = count()

    def go(self) -> float | None:
        """Seconds until nothing is left to do; None where an engine can do nothing more for a call that waits."""
        now = 0.0
        self._ask(BEGIN, now)
        while True:
            for engine in self.engines:
                engine.begin(now)
            if any(engine.is_overfull for engine in self.engines):
                return None
            ends = [engine.until for engine in self.engines if engine.until is not None]
            if not ends and not self._events:
                return None if any(engine.scheduler.calls for engine in self.engines) else now
            now = min([*ends, *(time for time, _, _ in self._events[:1])])
            for cause in [*self._ended(now), *self._hosts(now)]:
                self._ask(cause, now)

    def _ended(self, now: float) -> Iterator[Hashable]:
        for engine in self.engines:
            if engine.until is not None and engine.until <= now:
                for call in engine.end(now):
                    context = cast(int, call.owner)
                    self._resume(engine.number, context, now)
                    yield context

    def _hosts(self, now: float) -> Iterator[Hashable]:
        while self._events and self._events[0][0] <= now:
            yield heapq.heappop(self._events)[2]

    def _ask(self, cause: Hashable, now: float) -> None:
        for action in self._log.actions.get(cause, ()):
            self._do(action, now)

    def _resume(self, engine: int, context: int, now: float) -> None:
        for action in self._deferred.pop((engine, context), ()):
            self._do(action, now)

    def _do(self, action: Action, now: float) -> None:
        if isinstance(action, LoggedHost):
            heapq.heappush(self._events, (now + action.seconds, next(self._order), action.key))
            return
        engine = self.engines[action.engine]
        needed = action.context if isinstance(action, LoggedFree) else action.parent
        if not engine.knows(needed):
            self._deferred.setdefault((action.engine, needed), []).append(action)
        elif isinstance(action, LoggedFill):
            engine.fill(action)
            self._resume(action.engine, action.context, now)
        elif isinstance(action, LoggedCall):
            engine.generate(action)
        else:
            engine.free(action.context)
