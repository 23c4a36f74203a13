"""Several engines that run one model, as one engine: each call goes where `passes.placement` sends it.

Fills only note their tokens. A generate is given an engine when it can begin (its prompt's tokens are known) and
nobody holds the group; calls that wait together are placed together. The contexts that it needs are then made on
that engine, as far as they are not there. A context may so be on several engines, and what one engine generated may
be continued on another.

An engine that fails is left out from then on. Its calls begin again elsewhere: tokens are known, random streams are
keyed, so the outputs are the same, and text that was released already is not released again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from functools import partial
from threading import RLock

from ..passes.cost_model import CostModel, default_cost_model
from ..passes.engine_load import WaitingCall
from .engine import (
    Callbacks,
    Engine,
    EngineClosed,
    EngineError,
    EngineEvent,
    EngineFailure,
    EngineStats,
    FillHint,
    Generation,
    Priority,
    SamplingOptions,
)
from .group_calls import GroupCall, text_differs
from .group_contexts import GroupContext, GroupContexts
from .group_member import Member
from .group_placing import GroupPlacing

MOST_ATTEMPTS = 4
"""Engines that one call may be the end of: it may be what breaks them."""

Report = Callable[[], None]


class EngineGroup:
    """Implements `engine.Engine` over `engines`, which it owns: nobody else may call them, and it closes them.

    `costs`: of a step of each engine; `prefix_cache`: whether the engines keep what was freed. Raises ValueError
    unless there is an engine and all have the same tokenizer and context length.
    """

    def __init__(self, engines: Sequence[Engine], *, costs: CostModel | None = None, prefix_cache: bool = True,
                 name: str | None = None) -> None:
        if not engines:
            raise ValueError("a group needs at least one engine")
        first = engines[0]
        for other in engines[1:]:
            if other.tokenizer.digest != first.tokenizer.digest or other.context_length != first.context_length:
                raise ValueError("engines of one group run the same model: their tokenizers or context lengths differ")
        self.name = name or first.name
        self.tokenizer = first.tokenizer
        self.context_length = first.context_length
        self.members = tuple(engines)
        """The engines, also those that have failed."""
        self.kv_slots: int | None = getattr(first, "kv_slots", None)
        """Of one engine, as the following are; None where they do not say."""
        self.max_batch: int | None = getattr(first, "max_batch", None)
        self.max_step_tokens: int | None = getattr(first, "max_step_tokens", None)
        self.costs: CostModel | None = costs or getattr(first, "costs", None)
        """Of a step of one engine; None where nobody has measured them."""
        assumed = self.costs or default_cost_model(self.name)
        self._members = [Member(engine, number, costs or getattr(engine, "costs", None) or assumed,
                                keeps_freed=prefix_cache) for number, engine in enumerate(engines)]
        self._contexts = GroupContexts()
        self._ready: list[GroupCall] = []
        self._running: set[GroupCall] = set()
        self._placing = GroupPlacing()
        self._holds = 0
        self._closing = False
        self._last_failure: EngineError | None = None
        self._reports: list[Report] = []
        self._dispatching = False
        self._lock = RLock()

    # ---- calls ----

    def fill(self, token_ids: Sequence[int], context_id: int, parent_context_id: int, *, label: str = "",
             hint: FillHint = FillHint()) -> None:
        """See `engine.Engine`. Raises ValueError for identifiers that are in use or unknown."""
        with self._lock:
            context = self._contexts.make(context_id, parent_context_id, label, hint)
            context.tokens = tuple(token_ids)

    def generate(
        self,
        sampling: SamplingOptions,
        context_id: int,
        parent_context_id: int,
        callbacks: Callbacks,
        *,
        priority: Priority = Priority(),
        label: str = "",
    ) -> None:
        """See `engine.Engine`. Raises ValueError for identifiers that are in use or unknown."""
        with self._changing():
            context = self._contexts.make(context_id, parent_context_id, label)
            call = context.call = GroupCall(context, sampling, callbacks, priority, label)
            source, context.source = context.source, context
            if self._closing:
                self._settle(call, None, EngineClosed(f"engine {self.name} is closed"))
            else:
                self._wait_for(source, call)

    def abort(self, context_id: int) -> None:
        """See `engine.Engine`. Nothing happens where the generate has ended already."""
        with self._changing():
            context = self._contexts.find(context_id)
            call = context.call if context is not None else None
            if call is None or call.aborted:
                return
            call.aborted = True
            if call.member is not None:
                call.member.engine.abort(context_id)
            else:
                self._settle(call, None, EngineError("the call was aborted"))

    def free_context(self, context_id: int) -> None:
        """See `engine.Engine`. Raises ValueError for identifiers that are unknown (or freed already)."""
        with self._lock:
            self._contexts.free(context_id)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Within this block calls wait, so that they are placed together and begin in the same steps."""
        with ExitStack() as holds:
            for engine in self.members:
                hold = getattr(engine, "hold", None)
                if hold is not None:
                    holds.enter_context(hold())
            with self._lock:
                self._holds += 1
            try:
                yield
            finally:
                with self._changing():
                    self._holds -= 1

    def stats(self) -> EngineStats:
        """The counters of all engines, added up; peaks too, though engines need not have reached them together.

        A call that began again elsewhere counts on each of its engines.
        """
        total = EngineStats()
        for engine in self.members:
            stats = engine.stats()
            for item in fields(EngineStats):
                if item.name not in ("kernels", "kv_bytes_per_token"):
                    setattr(total, item.name, getattr(total, item.name) + getattr(stats, item.name))
            total.kernels = total.kernels or stats.kernels
            total.kv_bytes_per_token = max(total.kv_bytes_per_token, stats.kv_bytes_per_token)
        return total

    def drain_events(self) -> list[EngineEvent]:
        """Trace events of all engines since the last call; each says which `engine` it is of."""
        return [replace(event, arguments={**event.arguments, "engine": number})
                for number, engine in enumerate(self.members) for event in engine.drain_events()]

    def check_integrity(self) -> None:
        """Raise AssertionError when an engine's books, or those of the group, disagree."""
        with self._lock:
            self._contexts.check()
            for member in self._members:
                running = sum(call.member is member for call in self._running)
                assert member.running == running, f"engine {member.number} counts {member.running} calls, not {running}"
        for engine in self.members:
            engine.check_integrity()

    def close(self) -> None:
        """Stop all engines; calls that still run fail."""
        with self._changing():
            self._closing = True
            error = EngineClosed(f"engine {self.name} was closed")
            for call in list(self._unplaced()):
                self._settle(call, None, error)
        for engine in self.members:
            engine.close()

    @property
    def live_contexts(self) -> int:
        """Contexts that somebody can still ask for."""
        return len(self._contexts)

    # ---- waiting ----

    def _wait_for(self, source: GroupContext | None, call: GroupCall) -> None:
        """Let `call` wait for the output that its prompt holds, if there is such."""
        if source is None or (source.call is None and source.error is None):
            self._ready.append(call)
        elif source.error is not None:
            self._settle(call, None, source.error)
        else:
            source.waiting.append(call)

    def _unplaced(self) -> Iterator[GroupCall]:
        yield from self._ready
        for running in list(self._running):
            stack = [running.context]
            while stack:
                for call in stack.pop().waiting:
                    yield call
                    stack.append(call.context)

    # ---- placing ----

    def _dispatch(self) -> None:
        """Send every call that can begin to an engine."""
        while self._ready and not self._closing:
            calls = [call for call in self._ready if not call.ended]
            self._ready = []
            alive = [member for member in self._members if member.alive]
            if not alive:
                for call in calls:
                    self._settle(call, None, EngineError(f"every engine of {self.name} has failed; the last one said: "
                                                         f"{self._last_failure}"))
                continue
            paths: dict[GroupContext, tuple[tuple[bytes, int], ...]] = {}
            for call in calls:
                if call.parent not in paths:
                    paths[call.parent] = self._contexts.runs(call.parent)
                call.waiting = WaitingCall(paths[call.parent], self._placing.expected_tokens(call),
                                           call.is_urgent)
            for call, member in zip(calls, self._placing.choose(calls, alive), strict=True):
                self._start(call, member)

    def _start(self, call: GroupCall, member: Member) -> None:
        if not member.alive:  # it failed while calls before this one were being sent
            self._ready.append(call)
            return
        self._running.add(call)
        call.begin(member)
        self._placing.started(call, member)
        self._contexts.bring(call.parent, member)
        attempt = call.attempt
        on_text = partial(self._text, call, attempt) if call.callbacks.on_text is not None else None
        callbacks = Callbacks(partial(self._finished, call, attempt), partial(self._failed, call, attempt), on_text)
        member.engine.generate(call.sampling, call.context.identifier, call.parent.identifier, callbacks,
                               priority=call.priority, label=call.label)
        if call.member is member:
            self._contexts.started(call.context)

    # ---- reports of engines ----

    def _text(self, call: GroupCall, attempt: int, text: str) -> None:
        try:
            new = call.new_text(text) if call.attempt == attempt and not call.ended else ""
        except EngineError as error:
            with self._changing():
                member = self._leave(call)
                member.engine.abort(call.context.identifier)
                self._settle(call, None, error, member)
            return
        if new and call.callbacks.on_text is not None:
            call.callbacks.on_text(new)

    def _finished(self, call: GroupCall, attempt: int, generation: Generation) -> None:
        with self._changing():
            if call.ended or call.attempt != attempt:
                return
            member = self._leave(call)
            if not generation.text.startswith(call.released):
                self._settle(call, None, text_differs(), member)
                return
            self._placing.ended(call, len(generation.sampled_ids))
            self._settle(call, generation, None, member)

    def _failed(self, call: GroupCall, attempt: int, error: EngineError) -> None:
        with self._changing():
            if call.ended or call.attempt != attempt:
                return
            member = self._leave(call)
            if isinstance(error, EngineFailure) and not self._closing:
                self._lose(member, error)
                if not call.aborted and call.attempt < MOST_ATTEMPTS and any(m.alive for m in self._members):
                    self._contexts.restart(call.context)
                    self._ready.append(call)
                    return
            self._settle(call, None, error, member)

    def _leave(self, call: GroupCall) -> Member:
        """`call` runs on its engine no longer."""
        self._running.discard(call)
        self._placing.left(call)
        return call.leave()

    def _lose(self, member: Member, error: EngineError) -> None:
        """An engine has failed: it gets no more calls, and those that it has come back one by one."""
        if not member.alive:
            return
        self._last_failure = error
        self._contexts.lost(member)
        self._reports.append(member.engine.close)

    def _settle(self, call: GroupCall, generation: Generation | None, error: EngineError | None,
                member: Member | None = None) -> None:
        """`call` has ended, and so has the waiting of calls for it, and for these."""
        stack: list[tuple[GroupCall, Member | None]] = [(call, member)]
        while stack:
            call, member = stack.pop()
            if call.ended:
                continue
            call.ended = True
            waiting, call.context.waiting = call.context.waiting, []
            if generation is not None and member is not None:
                kept = (*generation.kept_ids, *generation.tail_ids)
                self._contexts.finished(call.context, kept, member)
                self._reports.append(partial(call.callbacks.on_finish, generation))
                self._ready += waiting
                return
            assert error is not None
            self._contexts.failed(call.context, error, member)
            self._reports.append(partial(call.callbacks.on_error, error))
            stack += [(other, None) for other in reversed(waiting)]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the books; then send what can begin, and report what has ended, outside the lock.

        An engine may report at once, while it is being called: what follows from that is then done by the caller.
        """
        with self._lock:
            outer = not self._dispatching
            self._dispatching = True
            try:
                yield
                if outer and not self._holds:
                    self._dispatch()
            finally:
                reports: list[Report] = []
                if outer:
                    self._dispatching = False
                    reports, self._reports = self._reports, []
        for report in reports:
            report()
