"""One run of a program: the queue of tasks, which one thread executes, and every way to end."""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from ..ir.core import Module, Op
from ..ir.values import Failure
from ..passes.cost_model import CostModel
from .cells import NotReady, Task, force
from .clock import real_time, virtual_clock
from .contexts import EngineBinding
from .engine import Engine, FillHint, Generation
from .engine_costs import costs_of
from .events import CallEnded, CallStarted, OutputReady, RunEvent, TextReleased
from .failures import FailureKind, failure_at
from .generation import Call, CallRecord
from .handover import Handovers, fills_early
from .hosts import HostCall, Hosts
from .inbox import Inbox, Report, Source
from .operations import HANDLERS
from .outputs import OutputTask, output_names
from .planning import RunPlan
from .progress import UNPLANNED, ProgressTable, plan_of
from .pure_regions import PureEvaluator, RunStopped
from .region_instance import OpTask, RegionInstance
from .region_layout import Layouts, RegionLayout
from .results import RunError
from .run_log import LoggedHost, RunLog
from .trace import TraceRecorder

LIVE_INSTANCES = 4096
"""Region instances that may live at once; beyond, iterations begin one by one."""
HOLD_SECONDS = 0.02
"""How long engines wait for calls while tasks are being executed."""
STOP_SECONDS = 5.0
"""How long a run that ends early waits for engines to give up its calls."""

_log = logging.getLogger(__name__)
_numbers = itertools.count(1)


class Run:
    """See the module's docstring. `seed`: of the random streams; `timeout`: seconds, or None."""

    def __init__(self, module: Module, program: Op, engines: Mapping[str, Engine], arguments: Sequence[Any], *,
                 seed: int, timeout: float | None, record_calls: bool, host_directory: str | None, ignore_eos: bool,
                 on_event: Callable[[RunEvent], None] | None, trace: TraceRecorder | None) -> None:
        self.program = program
        self.seed = seed
        self.timeout = timeout
        self.on_event = on_event
        self.trace = trace
        self.identifier = next(_numbers)
        self.ignore_eos = ignore_eos
        self.records: list[CallRecord] | None = [] if record_calls else None
        self.queue: deque[Task] = deque()
        self.inbox = Inbox()
        self.handlers: dict[str, Callable[[OpTask], None]] = HANDLERS
        self.log = RunLog()
        unique = {id(engine): engine for engine in engines.values()}
        by_engine = {key: EngineBinding(engine, record_calls, number=number, log=self.log)
                     for number, (key, engine) in enumerate(unique.items())}
        self._aliases = {alias: by_engine[id(engine)] for alias, engine in engines.items()}
        self.bindings = list(by_engine.values())
        self.clock = virtual_clock([binding.engine for binding in self.bindings])
        self.layouts = Layouts(program)
        default = self._aliases.get("") or next(iter(self.bindings), None)
        self.pure = PureEvaluator(self.layouts, default.engine.tokenizer if default else None, self.stopped)
        self.hosts = Hosts(self, module, host_directory)
        self.plan = RunPlan(program, costs_of(default.engine) if default else CostModel(), self.identifier,
                            getattr(default.engine, "kv_slots", None) if default else None)
        planned = plan_of(program)
        self.progress = ProgressTable(self.plan.order) if planned.early else None
        self.handovers = Handovers() if planned.streams and any(fills_early(b.engine) for b in self.bindings) else None
        self.outstanding = 0
        self.calls: set[Call] = set()
        self.started_calls = 0
        self.started_hosts = 0
        self.effect_failures: list[tuple[tuple[int, ...], str, Failure]] = []
        self.outputs: dict[int, Any] = {}
        self.seconds: dict[int, float] = {}
        """When each output was there, since the run began."""
        self.stop_reason: Failure | None = None
        self._arguments = arguments
        self._instances: set[RegionInstance] = set()
        self._root_done = False
        self._began = 0.0
        self._deadline: float | None = None
        self._output_tasks: list[OutputTask] = []

    # ---- the way through ----

    def execute(self) -> None:
        """Run to the end. Failures of the program are values; KeyboardInterrupt is raised after everything stopped."""
        with self.going():
            while not self.turn():
                self._take_reports()

    @contextmanager
    def going(self) -> Iterator[None]:
        """A run that has begun; everything is stopped where the block is left early."""
        self.inbox.own()
        self._began = self.now()
        self.plan.begin(self._began)
        if self.trace is not None:
            self.trace.began = self._began
        if self.timeout is not None:
            self._deadline = self._began + self.timeout
        try:
            self._begin()
            yield
        except BaseException as error:
            self.stop(f"the run was interrupted by {type(error).__name__}", FailureKind.CANCELLED)
            self._give_up()
            raise
        finally:
            self._close()

    def now(self) -> float:
        """The time of the run, in seconds; virtual where its engines are."""
        return real_time() if self.clock is None else self.clock.now

    def turn(self) -> bool:
        """Execute what can be executed; whether the run has ended."""
        if not self._complete():
            self._drain()
            self._settle()
        if self._complete():
            return True
        self._check_end()
        if self.stop_reason is not None:
            self._give_up()
            return True
        return False

    def _begin(self) -> None:
        for binding in self.bindings:
            binding.begin()
        region = self.program.regions[0]
        root = self.enter(self.layouts.of(region), (), self._arguments, self, None, ())
        for number, value in enumerate(root.yields()):
            self._output_tasks.append(OutputTask(self, number, value))

    def instance_done(self, instance: RegionInstance) -> None:
        """The program's own region has ended."""
        self._root_done = True

    def _complete(self) -> bool:
        return self._root_done and len(self.outputs) == len(self._output_tasks)

    def _drain(self) -> None:
        """Execute tasks until none is ready. Engines are held so that calls made together begin together."""
        while self.queue and not self.stopped():
            with ExitStack() as holds:
                for binding in self.bindings:
                    hold: Callable[[], AbstractContextManager[None]] | None = getattr(binding.engine, "hold", None)
                    if hold is not None:
                        holds.enter_context(hold())
                self._execute_until(time.perf_counter() + HOLD_SECONDS)

    def _execute_until(self, end: float) -> None:
        while self.queue:
            for _ in range(min(64, len(self.queue))):
                task = self.queue.popleft()
                try:
                    task.execute()
                except RunStopped:
                    return
                except Exception as error:
                    self._broke(getattr(task, "op", None), error)
                    return
            self._free_released()
            if self.stopped() or time.perf_counter() > end:
                return

    def _free_released(self) -> None:
        for binding in self.bindings:
            if binding.released:
                binding.free_released()

    def _settle(self) -> None:
        """Everything reported so far has been answered: engines may go on."""
        self._free_released()
        self.inbox.settle()

    def _check_end(self) -> None:
        """Notice that the time is over, or that nothing can ever happen again."""
        if self._deadline is not None and self.now() >= self._deadline:
            self.stop(f"the run did not end within {self.timeout:g} s", FailureKind.TIMEOUT)
        elif self.outstanding == 0 and not self.queue and self.inbox.is_empty and self.stop_reason is None:
            waiting = sorted({f"{op.name} at {op.location}" for op in self._waiting_ops()})
            self.stop("internal error: nothing is running, but values are still awaited by "
                      + (", ".join(waiting[:5]) or "the outputs"), FailureKind.INTERNAL)

    def _waiting_ops(self) -> Iterable[Op]:
        return [layout.op for instance in self._instances for layout in instance.unfinished()]

    def _take_reports(self) -> None:
        """Wait for reports and do what they ask for. Virtual time goes on until there are some, but for hosts."""
        while self.clock is not None and self.inbox.is_empty and not self.hosts.working:
            if (self._deadline is not None and self.now() >= self._deadline) or not self.clock.advance():
                break
        self.answer()

    def answer(self) -> None:
        """Wait for reports and timers where time passes by itself or a host is at work; do what they ask for."""
        if self.clock is not None and not self.hosts.working:
            reports = self.inbox.take(real_time())
        else:
            reports = self.inbox.take(self._deadline if self.clock is None else None)
        for report in reports:
            self._note_cause(report)
            try:
                report.function(report.payload)
            except Exception as error:
                self._broke(report.source.op if report.source is not None else None, error)

    def _note_cause(self, report: Report) -> None:
        """What is asked from now on is asked because of `report`."""
        if isinstance(report.source, Call):
            self.log.cause = report.source.identifier
        elif isinstance(report.source, HostCall):
            host = report.source
            key = "host", self.log.count
            self.log.note_under(host.cause, LoggedHost(key, self.now() - host.started))
            self.log.cause = key

    # ---- ends ----

    def stopped(self) -> bool:
        """Whether the run is to end early."""
        return self.stop_reason is not None or (self._deadline is not None and self.now() >= self._deadline)

    def stop(self, message: str, kind: FailureKind, op: Op | None = None) -> None:
        """End the run early; outputs that are not there yet fail with `message`. Any thread may call this."""
        if self.stop_reason is None:
            self.stop_reason = failure_at((op or self.program).location, message, kind)
            self.report(None, lambda _: None, None)

    def _broke(self, op: Op | None, error: Exception) -> None:
        """A defect: the run fails with its name and place instead of hanging."""
        _log.debug("internal error", exc_info=error)
        where = f"{op.name} at {op.location}" if op is not None else "the executor"
        self.stop(f"internal error in {where}: {type(error).__name__}: {error}", FailureKind.INTERNAL, op)

    def _give_up(self) -> None:
        """Stop what runs, deliver what is there, and fail the rest."""
        assert self.stop_reason is not None
        self.queue.clear()
        self._settle()
        self.hosts.close()
        for call in self.calls:
            call.binding.engine.abort(call.identifier)
        deadline = time.perf_counter() + STOP_SECONDS
        while self.calls and time.perf_counter() < deadline:
            self.calls.difference_update(r.source for r in self.inbox.take(deadline) if isinstance(r.source, Call))
            self._settle()
        for task in self._output_tasks:
            if task.number not in self.outputs:
                try:
                    self.deliver(task.number, force(task.value))
                except NotReady:
                    self.deliver(task.number, self.stop_reason)

    def _close(self) -> None:
        self.inbox.close()
        self.queue.clear()
        self.hosts.close()
        for instance in self._instances:
            instance.forget()
        self._instances.clear()
        self.calls.clear()
        self._output_tasks.clear()
        self._arguments = ()
        if self.handovers is not None:
            self.handovers.close()
        for binding in self.bindings:
            binding.sweep()
            binding.end()

    # ---- what tasks use ----

    def enter(self, layout: RegionLayout, captured: Sequence[Any], parameters: Sequence[Any], owner: Any,
              parent: RegionInstance | None, place: tuple[int, ...]) -> RegionInstance:
        """Instantiate a region."""
        instance = RegionInstance(self, layout, captured, parameters, owner, parent, place)
        self._instances.add(instance)
        return instance

    def left(self, instance: RegionInstance) -> None:
        """An instance is done."""
        self._instances.discard(instance)
        if self.progress is not None:
            self.progress.ended(instance)

    def has_room(self) -> bool:
        """Whether another instance may live now."""
        return len(self._instances) < LIVE_INSTANCES

    def binding(self, alias: str) -> EngineBinding:
        """The engine that a model alias stands for; the default one where nothing was bound."""
        found = self._aliases.get(alias) or self._aliases.get("")
        assert found is not None, f"no engine for the model `{alias}`"
        return found

    def hint(self, task: OpTask) -> FillHint:
        """What the plan says of a fill."""
        return UNPLANNED if self.progress is None else self.progress.hint(task)

    def at(self, deadline: float, source: Source, function: Callable[[Any], None], payload: Any) -> None:
        """Call `function(payload)` at a time of `time.perf_counter`; `source` is for messages about defects."""
        self.inbox.put_at(deadline, Report(source, function, payload))

    def after(self, seconds: float, source: Source, function: Callable[[Any], None], payload: Any) -> None:
        """Call `function(payload)` when so much of the run's time has passed."""
        if self.clock is None:
            self.at(real_time() + seconds, source, function, payload)
        else:
            self.clock.at(self.clock.now + seconds, lambda: self.inbox.put(Report(source, function, payload)))

    def report(self, source: Source | None, function: Callable[[Any], None], payload: Any) -> None:
        """Have the run's thread call `function(payload)`. Engines' threads wait until that has been answered."""
        self.inbox.put(Report(source, function, payload), wait=isinstance(source, Call))

    def deliver(self, number: int, value: Any) -> None:
        """An output is there: a plain value or a failure."""
        self.outputs[number] = value
        self.seconds[number] = self.now() - self._began
        names = output_names(self.program)
        if self.on_event is not None and number < len(names):
            error = RunError.of(value) if type(value) is Failure else None
            self.on_event(OutputReady(names[number], None if error else value, error))

    def effect_failed(self, task: OpTask, failed: Failure) -> None:
        """A host with effects failed; that is reported whatever depends on it."""
        self.effect_failures.append(((*task.instance.place, task.layout.position), task.op.symbol, failed))

    def call_started(self, call: Call) -> None:
        """A generate is on its way."""
        self.outstanding += 1
        self.started_calls += 1
        self.calls.add(call)
        if self.on_event is not None:
            self.on_event(CallStarted(str(call.op.location), str(call.op.attributes["output"])))

    def call_ended(self, call: Call, result: Generation | None) -> None:
        """A generate has answered; None where it failed."""
        self.outstanding -= 1
        self.calls.discard(call)
        if self.trace is not None:
            self.trace.call(call, result)
        if self.records is not None and result is not None:
            self.records.append(call.record(result))
        if self.on_event is not None:
            tokens = None if result is None else len(result.sampled_ids)
            self.on_event(CallEnded(str(call.op.location), str(call.op.attributes["output"]), tokens))

    def text_released(self, call: Call, text: str) -> None:
        """A piece of an output's text is final; called from the engine's thread."""
        if self.on_event is None or self.inbox.closed:
            return
        try:
            self.on_event(TextReleased(str(call.op.location), str(call.op.attributes["output"]), call.request.indices,
                                       call.sample, text))
        except Exception as error:
            self._broke(call.op, error)

    def host_ended(self, call: HostCall, error: str | None) -> None:
        """A host call has ended."""
        self.started_hosts += 1
        if self.trace is not None:
            self.trace.host(call.op, call.started, self.now(), call.attempts, error)
