"""The contexts that callers have named: what each one is, what waits for it, and its generate while that runs.

A context is ready (it has a mark in the tree), waits for an output further up, or has failed. Calls on waiting
contexts are put aside and applied when the output is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..ir.target import Tokenizer
from .call_order import CallOrders
from .context_tree import ContextTree, Mark
from .decoding.output_decoder import OutputDecoder
from .engine import ROOT, EngineError, EngineEvent, EngineStats, Generation
from .queued_calls import AbortCall, FillCall, FreeCall, GenerateCall, QueuedCall
from .sampling import UNDEFINED, choose_tokens
from .scheduler import Call, Scheduler


@dataclass(eq=False)
class Context:
    """One named context. Exactly one of `mark` (ready), `error` (failed) and neither (waiting) holds."""

    id: int
    mark: Mark | None = None
    error: EngineError | None = None
    waiting: list[tuple[Context, FillCall | GenerateCall]] = field(default_factory=list)
    """Calls whose parent this is, with the contexts that they make."""
    request: GenerateCall | None = None
    """The generate that makes this context, until it has ended."""
    call: Call | None = None
    freed: bool = False
    first_token: float | None = None


class ContextTable:
    """Applies calls to the tree and the scheduler. Reports are collected in `reports` for the engine to deliver."""

    def __init__(
        self,
        tree: ContextTree,
        scheduler: Scheduler,
        tokenizer: Tokenizer,
        stats: EngineStats,
        *,
        vocabulary_size: int,
        context_length: int,
        speculative_fills: bool,
        trace: bool,
        now: Callable[[], float] = time.perf_counter,
        jump_forward: bool = True,
    ) -> None:
        self._tree = tree
        self._scheduler = scheduler
        self._tokenizer = tokenizer
        self._stats = stats
        self._vocabulary_size = min(vocabulary_size, tokenizer.vocabulary_size)
        self._context_length = context_length
        self._speculative_fills = speculative_fills
        self._trace = trace
        self._now = now
        self._jump_forward = jump_forward
        self._bos = tree.root.end
        self._orders = CallOrders()
        self._contexts = {ROOT: Context(ROOT, mark=tree.root_mark())}
        self._running: dict[int, Context] = {}
        """Contexts whose generate has been scheduled, by the identity of its call."""
        self._unfinished: dict[int, Context] = {}
        """Contexts whose generate has not ended, by the identity of the context."""
        self._traced_fills: dict[int, tuple[FillCall, Mark, int]] = {}
        self._steps: list[Callable[[], None]] = []
        self._draining = False
        self.reports: list[Callable[[], None]] = []
        self.events: list[EngineEvent] = []

    def marks(self) -> list[Mark]:
        """Every mark that should be in the tree."""
        ready = [c.mark for c in self._contexts.values() if c.mark is not None]
        return ready + [c.call.tip for c in self._running.values() if c.call is not None]

    def apply(self, call: QueuedCall) -> None:
        """Do what a queued call asks, or put it aside until its parent is there."""
        self._scheduler.disturb()
        match call:
            case FillCall() | GenerateCall():
                context = Context(call.context_id)
                self._contexts[call.context_id] = context
                if isinstance(call, GenerateCall):
                    context.request = call
                    self._unfinished[id(context)] = context
                self._drain([partial(self._start, self._contexts[call.parent_id], context, call)])
            case AbortCall(context_id):
                found = self._contexts.get(context_id)
                if found is not None and found.request is not None:
                    self._settle(found, None, EngineError("the call was aborted"))
            case FreeCall(context_id):
                self._free(self._contexts.pop(context_id))

    def _free(self, context: Context) -> None:
        context.freed = True
        self._scheduler.early.discard(context.id)
        traced = self._traced_fills.pop(id(context), None)
        if traced is not None:
            self._record_fill(*traced, computed=False)
        if context.mark is not None:
            self._tree.drop_mark(context.mark)
            context.mark = None

    # ---- starting ----

    def _drain(self, steps: list[Callable[[], None]]) -> None:
        """Do `steps`, the last one first, and all that follows from them; a stack, as chains are long."""
        self._steps += steps
        if self._draining:
            return
        self._draining = True
        try:
            while self._steps:
                self._steps.pop()()
        finally:
            self._draining = False

    def _start(self, parent: Context, context: Context, call: FillCall | GenerateCall) -> None:
        if context.error is not None:
            return  # aborted while it waited
        if parent.error is not None:
            self._fail_context(context, parent.error)
        elif parent.mark is None:
            parent.waiting.append((context, call))
        elif isinstance(call, FillCall):
            self._start_fill(parent.mark, context, call)
            self._resolved(context)
        else:
            self._start_generate(parent.mark, context, call)

    def _resolved(self, context: Context) -> None:
        """`context` is ready or has failed: start what waits for it, then drop it if it was freed meanwhile."""
        waiting, context.waiting = context.waiting, []
        steps: list[Callable[[], None]] = [partial(self._free, context)] if context.freed else []
        self._drain(steps + [partial(self._start, context, child, call) for child, call in reversed(waiting)])

    def _start_fill(self, parent: Mark, context: Context, call: FillCall) -> None:
        self._stats.fills += 1
        length = parent.position + len(call.tokens)
        if length > self._context_length:
            context.error = EngineError(
                f"context overflow: the prompt has {length} tokens, the model's context holds {self._context_length}"
            )
            return
        context.mark = self._tree.copy_mark(parent)
        found = self._tree.append(context.mark, call.tokens)
        context.mark.next_use = call.hint.next_use
        if self._speculative_fills and not context.freed:
            self._scheduler.early.add(context.id, context.mark, call.hint)
        if self._trace:
            self._traced_fills[id(context)] = (call, context.mark, found)

    def _start_generate(self, parent: Mark, context: Context, request: GenerateCall) -> None:
        self._stats.generates += 1
        base = parent.position
        self._stats.prompt_tokens += base - self._bos
        try:
            if base == 0:
                raise EngineError("the prompt is empty and the model has no BOS token; give the prompt some text")
            prompt = self._tree.tokens_between(parent, 0) if request.sampling.repetition_penalty != 1.0 else None
            decoder = OutputDecoder(request.sampling, self._tokenizer, self._vocabulary_size, prompt=prompt,
                                    jump_forward=self._jump_forward)
        except EngineError as error:
            self._settle(context, None, error)
            return
        tip = self._tree.copy_mark(parent)
        context.call = Call(self._orders.enter(request.priority, self._now()), request.priority, tip, base, decoder)
        self._running[id(context.call)] = context
        self._scheduler.add(context.call)
        self._stats.generated_tokens += decoder.sampled
        self._stats.forced_tokens += decoder.forced
        self._go_on(context, context.call)

    # ---- going on ----

    def advance(self, consumers: Sequence[Sequence[Call]], logits: NDArray[np.float32]) -> None:
        """Give the calls in `consumers[i]` the row `logits[i]` [vocabulary], which follows their tips."""
        rows = [row for row, calls in enumerate(consumers) for _ in calls]
        waiting = [call for calls in consumers for call in calls]
        if not waiting:
            return
        known = logits[:, : self._vocabulary_size]
        tokens = choose_tokens(known, rows, [call.decoder.choice() for call in waiting])
        for call, token, row in zip(waiting, tokens, rows, strict=True):
            self._take(call, token, known[row] if call.decoder.needs_logits else None)

    def take(self, calls: Sequence[Call], tokens: NDArray[np.int64]) -> None:
        """Give each of `calls` its next token, int64 [calls], chosen as its decoder says."""
        for call, token in zip(calls, tokens.tolist(), strict=True):
            self._take(call, token, None)

    def is_running(self, call: Call) -> bool:
        """Whether `call` has not ended."""
        return id(call) in self._running

    def _take(self, call: Call, token: int, logits: NDArray[np.float32] | None) -> None:
        """`token`, chosen from `logits`, comes next in the output of `call`, unless that has ended."""
        context = self._running.get(id(call))
        if context is None:
            return
        if token == UNDEFINED:
            self.fail(call, EngineError("the model's logits are no finite numbers after this prompt; use dtype "
                                        "float32, or check its weights"))
            return
        if context.first_token is None:
            context.first_token = self._now()
        decoder = call.decoder
        sampled, forced = decoder.sampled, decoder.forced
        decoder.take(token, logits)
        self._stats.generated_tokens += decoder.sampled - sampled
        self._stats.forced_tokens += decoder.forced - forced
        self._go_on(context, call)

    def _go_on(self, context: Context, call: Call) -> None:
        """Put new tokens into the context; settle it where the output has ended."""
        finished = call.decoder.finished
        error = None
        if finished is None:
            error = self._append(call, call.decoder.tokens[call.fed :])
            call.fed = len(call.decoder.tokens)
        else:
            self._scheduler.disturb()  # before the tree changes: what is split now was in use until now
            error = self._set_output(call, finished)
        self._release_text(context, call)
        if error is not None:
            self._settle(context, None, error)
        elif finished is not None:
            self._settle(context, finished, None)

    def _append(self, call: Call, tokens: list[int]) -> EngineError | None:
        length = call.tip.position + len(tokens)
        if length > self._context_length:
            return EngineError(
                f"context overflow: prompt ({call.base} tokens) and output need more than {self._context_length} tokens"
            )
        if length > self._tree.allocator.capacity:
            return EngineError(
                f"the call needs KV for {length} tokens, the engine has {self._tree.allocator.capacity} slots; "
                "give it more KV memory, or shorten the prompt or max_tokens"
            )
        if len(tokens) == 1:
            self._tree.append_next(call.tip, tokens[0])
        elif tokens:
            self._tree.append(call.tip, np.array(tokens, dtype=np.int64))
        return None

    def _set_output(self, call: Call, output: Generation) -> EngineError | None:
        """Make the tip what the output's context is: the prompt, the kept tokens, the tail."""
        kept = list(output.kept_ids)
        if len(kept) < call.fed:
            self._tree.retreat(call.tip, call.base + len(kept))
        return self._append(call, kept[call.fed :] + list(output.tail_ids))

    def _release_text(self, context: Context, call: Call) -> None:
        request = context.request
        if request is not None and request.callbacks.on_text is not None:
            text = call.decoder.take_text()
            if text:
                self.reports.append(partial(request.callbacks.on_text, text))

    # ---- ending ----

    def fail(self, call: Call, error: EngineError) -> None:
        """The generate of `call` has failed."""
        context = self._running.get(id(call))
        if context is not None:
            self._settle(context, None, error)

    def fail_all(self, error: EngineError) -> None:
        """Every generate that has not ended fails."""
        for context in list(self._unfinished.values()):
            if context.request is not None:
                self._settle(context, None, error)

    def _settle(self, context: Context, output: Generation | None, error: EngineError | None) -> None:
        """The generate of `context` has ended, with an output or an error."""
        request, call = context.request, context.call
        assert request is not None
        context.request = context.call = None
        self._unfinished.pop(id(context), None)
        if call is not None:
            del self._running[id(call)]
            self._orders.leave(request.priority)
            self._scheduler.remove(call)
            self._record_generate(context, request, call, output)
        if error is None and output is not None and call is not None:
            context.mark = call.tip
            self.reports.append(partial(request.callbacks.on_finish, output))
        else:
            assert error is not None
            if call is not None:
                self._tree.drop_mark(call.tip)
            context.error = error
            self.reports.append(partial(request.callbacks.on_error, error))
        self._resolved(context)

    def _fail_context(self, context: Context, error: EngineError) -> None:
        """`context` can never be made."""
        if context.request is None:
            context.error = error
            self._resolved(context)
        else:
            self._settle(context, None, error)

    # ---- trace ----

    def after_step(self) -> None:
        """Record the fills whose tokens are resident now."""
        for key, (call, mark, found) in list(self._traced_fills.items()):
            if self._tree.first_missing(mark)[0] == mark.position:
                del self._traced_fills[key]
                self._record_fill(call, mark, found, computed=True)

    def _record_fill(self, call: FillCall, mark: Mark, found: int, *, computed: bool) -> None:
        arguments: dict[str, object] = {
            "context": call.context_id,
            "parent": call.parent_id,
            "tokens": len(call.tokens),
            "shared_tokens": found,
            "computed": computed,
        }
        name = call.label or f"fill {call.context_id}"
        self.events.append(EngineEvent("fill", name, call.time, self._now(), arguments))

    def _record_generate(self, context: Context, request: GenerateCall, call: Call, output: Generation | None) -> None:
        if not self._trace:
            return
        arguments: dict[str, object] = {
            "context": request.context_id,
            "parent": request.parent_id,
            "prompt_tokens": call.base - self._bos,
            "generated_tokens": call.decoder.sampled,
            "first_token": context.first_token,
            "finish_reason": output.finish_reason if output is not None else "error",
            "group": request.priority.group,
            "depth": request.priority.depth,
            "objective": request.priority.objective,
            "application": request.priority.application,
            "waited_steps": {str(reason): steps for reason, steps in call.waited.items()},
        }
        name = request.label or f"generate {request.context_id}"
        self.events.append(EngineEvent("generate", name, request.time, self._now(), arguments))
