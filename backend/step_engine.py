"""An engine around a `ModelRunner`: a thread that takes queued calls, plans a step, runs it, reports.

Calls return at once; the thread takes everything that is queued before each step, so calls that arrive together
share batches. `hold()` keeps a wave of calls together. Callbacks run in the engine's thread, outside its locks.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from ..ir.target import Tokenizer
from ..passes.cost_model import CostModel, default_cost_model
from .context_table import ContextTable
from .context_tree import ContextTree
from .device_runner import is_device_runner
from .early_fills import EarlyTokens
from .engine import (
    ROOT,
    Callbacks,
    EngineClosed,
    EngineEvent,
    EngineFailure,
    EngineStats,
    FillHint,
    PeakWatch,
    Priority,
    SamplingOptions,
)
from .model_runner import ModelRunner, StepBatch
from .overlap import Overlap
from .page_allocator import PageAllocator
from .queued_calls import AbortCall, FillCall, FreeCall, GenerateCall, QueuedCall
from .scheduler import Plan, Scheduler
from .step_plan import step_size
from .tree_integrity import check_tree


class StepEngine:
    """Implements `engine.Engine`.

    `kv_slots`: token slots of the KV pool (rounded down to whole pages of `page_size`); the runner reserves
    `max_batch` more, as scratch. `max_step_tokens`, `max_batch`: most tokens and rows of one step.
    `prefix_cache`: whether fills and outputs find equal tokens of other contexts. `speculative_fills`: whether spare
    tokens of a step, or idle time, compute fills that nothing needs yet, `early_tokens` how many. `trace`: whether to
    record events. `overlap`: whether steps are handed over to a device before the last one has ended.
    `jump_forward`: whether tokens without an alternative follow without a step of their own.
    """

    def __init__(
        self,
        runner: ModelRunner,
        tokenizer: Tokenizer,
        *,
        name: str,
        kv_slots: int,
        max_step_tokens: int = 2048,
        max_batch: int = 256,
        prefix_cache: bool = True,
        page_size: int = 16,
        speculative_fills: bool = True,
        early_tokens: EarlyTokens = EarlyTokens(),
        trace: bool = False,
        overlap: bool = True,
        jump_forward: bool = True,
    ) -> None:
        if max_step_tokens < 1 or max_batch < 1:
            raise ValueError("max_step_tokens and max_batch must be at least 1")
        self.name = name
        self.tokenizer = tokenizer
        self.max_step_tokens = max_step_tokens
        self.max_batch = max_batch
        self.context_length = runner.context_length
        self.fills_early = speculative_fills
        self._runner = runner
        self._stats = EngineStats(kernels=runner.kernels, kv_bytes_per_token=runner.kv_bytes_per_token)
        allocator = PageAllocator(kv_slots, page_size)
        self.kv_slots = allocator.capacity
        self.prefix_cache = prefix_cache
        runner.allocate(allocator.capacity + max_batch)
        self._tree = ContextTree(allocator, tokenizer.bos_id, share=prefix_cache)
        self._scheduler = Scheduler(
            self._tree, max_step_tokens=max_step_tokens, max_batch=max_batch, stats=self._stats,
            costs=default_cost_model(name), early_tokens=early_tokens, trace=trace,
        )
        self._table = ContextTable(
            self._tree, self._scheduler, tokenizer, self._stats, vocabulary_size=runner.vocabulary_size,
            context_length=runner.context_length, speculative_fills=speculative_fills, trace=trace, now=self.now,
            jump_forward=jump_forward,
        )
        self._overlap: Overlap | None = None
        if is_device_runner(runner):
            self._overlap = Overlap(
                runner, self._tree, self._scheduler, self._table,
                vocabulary_size=min(runner.vocabulary_size, tokenizer.vocabulary_size), commit=self._commit,
                abandon=self._abandon, now=self.now, ahead=overlap)
        self._costs: CostModel | None = None
        self._trace = trace
        self._lock = threading.RLock()  # the tree, the table and the counters
        self._queue: list[QueuedCall] = []
        self._known: set[int] = {ROOT}
        self._watches: list[PeakWatch] = []
        self._holds = 0
        self._closing = False
        self._wake = threading.Condition()  # the queue and the flags above
        self._thread = threading.Thread(target=self._work, name=f"engine-{name}", daemon=True)
        self._start()

    def now(self) -> float:
        """The time of events, in seconds of `time.perf_counter`."""
        return time.perf_counter()

    @property
    def costs(self) -> CostModel | None:
        """What its steps cost as measured; None as long as nobody has set it."""
        return self._costs

    @costs.setter
    def costs(self, costs: CostModel | None) -> None:
        self._costs = costs
        if costs is not None:
            self._scheduler.costs = costs

    def _start(self) -> None:
        """Begin to take calls."""
        self._thread.start()

    # ---- calls ----

    def fill(self, token_ids: Sequence[int], context_id: int, parent_context_id: int, *, label: str = "",
             hint: FillHint = FillHint()) -> None:
        """See `engine.Engine`. Raises ValueError for identifiers that are in use or unknown."""
        tokens = np.array(token_ids, dtype=np.int64)
        self._submit(FillCall(context_id, parent_context_id, tokens, label, self.now(), hint))

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
        call = GenerateCall(context_id, parent_context_id, sampling, callbacks, priority, label, self.now())
        self._submit(call)

    def abort(self, context_id: int) -> None:
        """See `engine.Engine`. Nothing happens where the generate has ended already."""
        self._submit(AbortCall(context_id))

    def free_context(self, context_id: int) -> None:
        """See `engine.Engine`. Raises ValueError for identifiers that are unknown (or freed already)."""
        if context_id == ROOT:
            raise ValueError("the root context is never freed")
        self._submit(FreeCall(context_id))

    def _submit(self, call: QueuedCall) -> None:
        with self._wake:
            closed = self._closing
            if not closed:
                self._register(call)
                self._queue.append(call)
                self._wake.notify_all()
        if closed and isinstance(call, GenerateCall):
            call.callbacks.on_error(EngineClosed(f"engine {self.name} is closed"))

    def _register(self, call: QueuedCall) -> None:
        """Check the identifiers of `call` in the order of the calls, whatever has been done of them."""
        if isinstance(call, FillCall | GenerateCall):
            if call.parent_id not in self._known:
                raise ValueError(f"context {call.parent_id} is unknown or freed")
            if call.context_id in self._known:
                raise ValueError(f"context {call.context_id} is in use")
            self._known.add(call.context_id)
        elif isinstance(call, FreeCall):
            if call.context_id not in self._known:
                raise ValueError(f"context {call.context_id} is unknown or freed")
            self._known.discard(call.context_id)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Within this block queued calls wait, so that they all begin in the same step."""
        with self._wake:
            self._holds += 1
        try:
            yield
        finally:
            with self._wake:
                self._holds -= 1
                self._wake.notify_all()

    def stats(self) -> EngineStats:
        """A consistent copy of the counters."""
        with self._lock:
            self._stats.kernels = self._runner.kernels  # which may be others after the first steps
            return copy.deepcopy(self._stats)

    def watch_kv(self) -> PeakWatch:
        """Begin to note the most KV tokens that live contexts hold after a step; `end_watch` ends it."""
        with self._lock:
            watch = PeakWatch(0)
            self._watches.append(watch)
            return watch

    def end_watch(self, watch: PeakWatch) -> None:
        """Note no more."""
        with self._lock:
            self._watches.remove(watch)

    def _note_kv(self) -> None:
        live = self._tree.live_tokens
        self._stats.peak_kv_tokens = max(self._stats.peak_kv_tokens, live)
        self._stats.peak_kv_slots = max(self._stats.peak_kv_slots, self._tree.allocator.used_slots)
        for watch in self._watches:
            watch.peak_kv_tokens = max(watch.peak_kv_tokens, live)

    def drain_events(self) -> list[EngineEvent]:
        """Trace events since the last call."""
        with self._lock:
            events, self._table.events = self._table.events, []
            return events

    def check_integrity(self) -> None:
        """Raise AssertionError when reference counts, pages and the tree disagree."""
        with self._lock:
            lent = self._overlap.loans.slots if self._overlap is not None else ()
            check_tree(self._tree, self._table.marks(), lent)

    def close(self) -> None:
        """Stop the thread; calls that still run fail. May be called from a callback."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # ---- the thread ----

    def _work(self) -> None:
        idle = True
        while True:
            with self._wake:
                while not self._closing and (not self._queue or self._holds) and idle:
                    self._wake.wait()
                closing = self._closing
                calls: list[QueuedCall] = []
                if closing or not self._holds:
                    calls, self._queue = self._queue, []
            idle, closing, reports = self._turn(calls, closing)
            for report in reports:
                self._deliver(report)
            if closing:
                return

    def _turn(self, calls: list[QueuedCall], closing: bool) -> tuple[bool, bool, list[Callable[[], None]]]:
        """Apply `calls` and run a step: whether there was none to run, whether the engine ends, what to report."""
        with self._lock:
            idle = True
            try:
                for call in calls:
                    self._table.apply(call)
                if self._overlap is not None and any(isinstance(call, GenerateCall) for call in calls):
                    self._overlap.disturb()
                idle = closing or not self._step()
                if closing:
                    if self._overlap is not None:
                        self._overlap.drop()
                    self._table.fail_all(EngineClosed(f"engine {self.name} was closed"))
            except Exception as error:  # a bug in the engine: nobody may wait for it for ever
                self._table.fail_all(EngineFailure(f"engine {self.name} broke down: {error!r}"))
                closing = self._break_down(error)
            reports, self._table.reports = self._table.reports, []
        return idle, closing, reports

    def _break_down(self, error: Exception) -> bool:
        with self._wake:
            self._closing = True
            calls, self._queue = self._queue, []
        for call in calls:
            if isinstance(call, GenerateCall):
                failure = EngineFailure(f"engine {self.name} broke down: {error!r}")
                self._table.reports.append(partial(call.callbacks.on_error, failure))
        self._table.reports.append(partial(_raise, error))
        return True

    def _deliver(self, report: Callable[[], None]) -> None:
        try:
            report()
        except Exception as error:  # a bug of the caller must not end the engine
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, self._thread)))

    def _step(self) -> bool:
        """Plan and run one step; False when there was nothing to do."""
        if self._overlap is not None:
            worked = self._overlap.step()
            self._note_kv()
            return worked
        plan = self._scheduler.plan()
        if plan.is_empty:
            return False
        start = self.now()
        try:
            batch = plan.batch()
            logits = self._runner.run(batch)
        except Exception as error:  # whatever the model raises, its calls must learn of it
            self._abandon(plan, error)
            return True
        self._commit(plan, batch, start)
        self._table.advance(plan.consumers, logits)
        self._note_kv()
        return True

    def _commit(self, plan: Plan, batch: StepBatch, start: float) -> None:
        """The step has run: its KV is resident."""
        stats = self._stats
        self._scheduler.commit(plan, batch)
        for work in plan.works:
            stats.filled_tokens += work.filled
            stats.refilled_tokens += work.refilled
            stats.early_tokens += work.filled + work.refilled if work.is_early else 0
        stats.engine_steps += 1
        stats.batch_sizes.append(len(plan.consumers))
        self._note_kv()
        if self._trace:
            arguments: dict[str, object] = {
                "rows": len(batch.starts) - 1,
                "calls": len(plan.consumers),
                "tokens": len(batch.token_ids),
                **vars(step_size(plan.all_works(), batch)),
                "kv_tokens": self._tree.live_tokens,
                "free_pages": self._tree.allocator.free_pages,
                "waiting": {str(reason): number for reason, number in plan.waiting.items()},
            }
            event = EngineEvent("step", f"step {stats.engine_steps}", start, self.now(), arguments)
            self._table.events.append(event)
        self._table.after_step()

    def _abandon(self, plan: Plan, error: Exception) -> None:
        """The step failed: give its slots back and fail every call that took part in it."""
        works = plan.all_works()
        for work in reversed(works):
            for node in reversed(work.reserved):
                self._tree.roll_back(node)
        failure = EngineFailure(f"engine {self.name} failed: {error or type(error).__name__}")
        failure.__cause__ = error
        self._scheduler.disturb()
        touched = {node.id for work in works for node in work.reserved}
        waiting = {id(call) for consumers in plan.consumers for call in consumers}
        self._scheduler.early.clear()
        for call in list(self._scheduler.calls):
            if id(call) in waiting or any(node.id in touched for node in self._tree.path(call.tip)):
                self._table.fail(call, failure)


def _raise(error: Exception) -> None:
    raise error
