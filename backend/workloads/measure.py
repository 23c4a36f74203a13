"""Runs a workload once, compiled or request by request, and measures it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ...ir.core import Module
from ...ir.values import RuntimeValue
from ..engine import Engine
from ..executor import RunHandle, RunOptions
from ..results import RunResult
from .client_session import ClientSession, Server
from .timeline import RealTime, Timeline
from .workload import Application, Workload


class WorkloadError(Exception):
    """A workload could not be run to its end."""


@dataclass(frozen=True)
class Measurement:
    """Seconds and counters of one run of a workload. `seconds`: from arrival to result, by application.

    `generated`: tokens by application, where the clients counted them.
    """

    makespan_s: float
    seconds: tuple[float, ...]
    outputs: tuple[dict[str, RuntimeValue], ...]
    prompt_tokens: int
    filled_tokens: int
    generated_tokens: int
    engine_steps: int
    peak_kv_tokens: int
    generated: tuple[int, ...] = ()


class _Experiment:
    """What both ways to run a workload have in common."""

    def __init__(self, workload: Workload, engines: Sequence[Engine], timeline: Timeline, round_trip: float) -> None:
        self.workload = workload
        self.engines = engines
        self.timeline = timeline
        self.round_trip = round_trip
        count = len(workload.applications)
        self.outputs: list[dict[str, RuntimeValue] | None] = [None] * count
        self.seconds = [0.0] * count
        self.open = count
        self.began = timeline.now

    def end(self, number: int, outputs: dict[str, RuntimeValue]) -> None:
        """The application with this number has its result."""
        self.outputs[number] = outputs
        self.seconds[number] = self.timeline.now - self.began - self.workload.applications[number].arrival
        self.open -= 1

    def schedule(self, start: Callable[[int, Application], None], delay: float) -> None:
        """Start every application `delay` seconds after its arrival."""
        for number, application in enumerate(self.workload.applications):
            def begin(number: int = number, application: Application = application) -> None:
                start(number, application)

            self.timeline.at(self.began + application.arrival + delay, begin)

    def measured(self, generated: tuple[int, ...] = ()) -> Measurement:
        """The result, with what the engines counted since they were made."""
        stats = [engine.stats() for engine in self.engines]
        applications = self.workload.applications
        ends = [a.arrival + s for a, s in zip(applications, self.seconds, strict=True)]
        return Measurement(
            max(ends), tuple(self.seconds), tuple(outputs or {} for outputs in self.outputs),
            sum(s.prompt_tokens for s in stats), sum(s.filled_tokens for s in stats),
            sum(s.generated_tokens for s in stats), sum(s.engine_steps for s in stats),
            sum(s.peak_kv_tokens for s in stats), generated)


def run_requests(workload: Workload, engines: Sequence[Engine], timeline: Timeline, *,
                 round_trip: float = 0.0) -> Measurement:
    """Every application by its client. `engines` are fresh. Raises EngineError, WorkloadError."""
    experiment = _Experiment(workload, engines, timeline, round_trip)
    server = Server(engines, timeline)
    sessions: dict[int, ClientSession] = {}

    def start(number: int, application: Application) -> None:
        session = ClientSession(application.client(), server, timeline, round_trip,
                                lambda outputs: experiment.end(number, outputs))
        sessions[number] = session
        session.start()

    experiment.schedule(start, 0.0)
    while experiment.open:
        if not timeline.advance():
            raise WorkloadError(f"{workload.name}: nothing goes on, but {experiment.open} applications have not ended")
    return experiment.measured(tuple(sessions[n].generated_tokens for n in range(len(sessions))))


def run_programs(workload: Workload, modules: Mapping[str, Module], engine: Engine, members: Sequence[Engine],
                 timeline: Timeline, *, round_trip: float = 0.0, seed: int = 0) -> Measurement:
    """Every application by its program: `modules` at engine level by program, on `engine`; one round trip for each.

    `members`: the engines that `engine` stands for, or itself. Raises WorkloadError when a program fails.
    """
    experiment = _Experiment(workload, members, timeline, round_trip)
    active: dict[int, _VirtualRun] = {}
    options = RunOptions(seed=seed, ignore_eos=True)

    def end(number: int, result: RunResult) -> None:
        active.pop(number, None)
        if result.errors:
            name, error = next(iter(result.errors.items()))
            raise WorkloadError(f"{workload.name}: `{name}` failed: {error.message}")
        experiment.end(number, result.outputs)

    def start(number: int, application: Application) -> None:
        handle = RunHandle(modules[application.program], {"": engine}, application.arguments, options)
        if isinstance(timeline, RealTime):
            _run_in_thread(handle, timeline, lambda result: end(number, result))
        else:
            active[number] = _VirtualRun(handle)

    experiment.schedule(start, round_trip)
    while experiment.open:
        waiting = [(number, run) for number, run in active.items() if run.has_work]
        for number, run in waiting:
            result = run.go_on()
            if result is not None:
                end(number, result)
        if not waiting and not timeline.advance():
            raise WorkloadError(f"{workload.name}: nothing goes on, but {experiment.open} applications have not ended")
    return experiment.measured()


def _run_in_thread(handle: RunHandle, timeline: RealTime, done: Callable[[RunResult], None]) -> None:
    def work() -> None:
        try:
            result = handle.run()
        except BaseException as error:
            failed = error
            timeline.post(lambda: _raise(failed))
        else:
            timeline.post(lambda: done(result))

    threading.Thread(target=work, name="semlang-application", daemon=True).start()


def _raise(error: BaseException) -> None:
    raise error


class _VirtualRun:
    """A run beside others in one virtual time: it works whenever it has reports."""

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._run = handle.inner
        self._before = [binding.engine.stats() for binding in self._run.bindings]
        self._began = self._run.now()
        self._stack = ExitStack()
        self._stack.enter_context(self._run.going())
        self._fresh = True

    @property
    def has_work(self) -> bool:
        """Whether there is something to do at this time."""
        return self._fresh or not self._run.inbox.is_empty

    def go_on(self) -> RunResult | None:
        """Do what can be done at this time; the result when the run has ended."""
        if not self._fresh:
            self._run.answer()
        self._fresh = False
        if not self._run.turn():
            return None
        seconds = self._run.now() - self._began
        self._stack.close()
        return self._handle.measured(self._before, seconds)
