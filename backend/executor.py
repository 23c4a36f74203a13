"""Runs modules of the engine level: the one way in for commands, tests and the Python interface."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..ir.core import Module, Op, Table, Value, Word, walk
from ..ir.diagnostics import Diagnostic, InputError
from ..ir.reading import ValueMismatch, from_json
from ..ir.types import EFFECT
from ..ir.values import Failure, RuntimeValue, constant_value
from .engine import Engine, EngineStats
from .events import RunEvent
from .failures import FailureKind
from .host_import import search_directories
from .operations import HANDLERS
from .outputs import output_names
from .predictions import predict
from .results import RunResult, RunStats, collect_errors
from .run import Run
from .trace import TraceRecorder

NO_PROGRAM, WRONG_LEVEL, NO_ENGINE, WRONG_ARGUMENT = "E0951", "E0952", "E0953", "E0954"
NOT_EXECUTED = frozenset({"flow.const", "flow.yield", "sem.return"})


@dataclass(frozen=True)
class RunOptions:
    """How to run. `timeout` in seconds; `trace`: a file for the Chrome trace; `recorder`: what to record the run in.

    `on_event` is called as things happen, for released text from an engine's thread. `record_calls`: keep the tokens
    of every generate. `host_directory`: where hosts are looked up first when their declaration does not say.
    """

    seed: int = 0
    trace: str | Path | None = None
    on_event: Callable[[RunEvent], None] | None = None
    timeout: float | None = None
    record_calls: bool = False
    host_directory: str | None = None
    recorder: TraceRecorder | None = None
    ignore_eos: bool = False
    """Outputs are as long as they may be (benchmarks only)."""


def run_module(module: Module, engines: Mapping[str, Engine], arguments: Mapping[str, RuntimeValue], *,
               seed: int = 0, trace: str | Path | None = None, on_event: Callable[[RunEvent], None] | None = None,
               timeout: float | None = None, record_calls: bool = False,
               host_directory: str | None = None, recorder: TraceRecorder | None = None) -> RunResult:
    """Run the program of `module` (engine level) and return what it gave.

    `engines`: by model alias, the default model's has the alias ''. `arguments`: Python values by parameter name.
    Failures of the program are in the result. Raises InputError for a wrong module, argument or missing engine, and
    KeyboardInterrupt after everything has been stopped.
    """
    return RunHandle(module, engines, arguments, RunOptions(
        seed, trace, on_event, timeout, record_calls, host_directory, recorder)).run()


async def run_module_async(module: Module, engines: Mapping[str, Engine], arguments: Mapping[str, RuntimeValue],
                           options: RunOptions = RunOptions()) -> RunResult:
    """Like `run_module`, in a thread of its own; cancelling the caller cancels the run."""
    handle = start_module(module, engines, arguments, options)
    try:
        return await asyncio.to_thread(handle.result)
    except asyncio.CancelledError:
        handle.cancel()
        raise


def start_module(module: Module, engines: Mapping[str, Engine], arguments: Mapping[str, RuntimeValue],
                 options: RunOptions = RunOptions()) -> RunHandle:
    """Begin a run in a thread of its own."""
    handle = RunHandle(module, engines, arguments, options)
    handle.start()
    return handle


class RunHandle:
    """A run that can be cancelled from another thread. Raises InputError where `run_module` does."""

    def __init__(self, module: Module, engines: Mapping[str, Engine], arguments: Mapping[str, RuntimeValue],
                 options: RunOptions = RunOptions()) -> None:
        self._options = options
        self._program = find_program(module)
        check_executable(module, engines)
        values = prepare_arguments(self._program, arguments)
        self._trace = options.recorder or (TraceRecorder() if options.trace is not None else None)
        self._run = Run(module, self._program, engines, values, seed=options.seed, timeout=options.timeout,
                        record_calls=options.record_calls, ignore_eos=options.ignore_eos,
                        host_directory=options.host_directory,
                        on_event=options.on_event, trace=self._trace)
        self._result: RunResult | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def run(self) -> RunResult:
        """Run in the calling thread."""
        run = self.inner
        before = [binding.engine.stats() for binding in run.bindings]
        began = run.now()
        with search_directories(run.hosts.directories):
            run.execute()
        return self.measured(before, run.now() - began)

    @property
    def inner(self) -> Run:
        """The run itself, for whoever drives several runs in one time."""
        return self._run

    def measured(self, before: Sequence[EngineStats], seconds: float) -> RunResult:
        """The result of the run, which has ended; `before`: what its engines had counted when it began."""
        run = self._run
        stats = RunStats(calls=run.started_calls, host_calls=run.started_hosts)
        for binding, earlier in zip(run.bindings, before, strict=True):
            now = binding.engine.stats()
            stats.add_engine(earlier, now)
            stats.peak_kv_tokens += binding.peak_kv_tokens
            stats.peak_kv_bytes += binding.peak_kv_tokens * now.kv_bytes_per_token
        if run.handovers is not None:
            stats.handover_tokens, stats.wasted_tokens = run.handovers.handed_over, run.handovers.wasted
        stats.makespan_s = seconds
        predict(run, stats)
        if self._trace is not None:
            self._trace.collect(run.bindings)
            if self._options.trace is not None:
                self._trace.write(self._options.trace)
        return self._collect(stats)

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self._run_in_thread, name="semlang-run", daemon=True)
        self._thread.start()

    def _run_in_thread(self) -> None:
        try:
            self._result = self.run()
        except BaseException as error:
            self._error = error

    def cancel(self) -> None:
        """End the run early: calls are aborted, outputs that are not there yet fail."""
        self._run.stop("the run was cancelled", FailureKind.CANCELLED)

    def result(self, timeout: float | None = None) -> RunResult:
        """Wait for the result of a started run. TimeoutError when it is not there within `timeout` seconds."""
        assert self._thread is not None, "the run has not been started"
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the run has not ended within {timeout} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    @property
    def unreleased_contexts(self) -> int:
        """Contexts that were still held when the run ended; 0 unless it was stopped early."""
        return sum(binding.swept for binding in self._run.bindings)

    def _collect(self, stats: RunStats) -> RunResult:
        run = self._run
        names = output_names(self._program)
        values = {name: run.outputs[number] for number, name in enumerate(names)}
        types = dict(zip(names, (arg.type for arg in _returned(self._program)), strict=False))
        failed = {name: value for name, value in values.items() if isinstance(value, Failure)}
        outputs = {name: value for name, value in values.items() if name not in failed}
        stats.missed_deadlines = missed_deadlines(self._program, outputs, run.seconds)
        effects = [(host, failure) for _, host, failure in sorted(run.effect_failures, key=lambda item: item[0])]
        return RunResult(outputs, collect_errors(names, failed, effects), stats, types, run.records or [])


def _returned(program: Op) -> list[Value]:
    return program.regions[0].terminator.operands


def missed_deadlines(program: Op, outputs: Mapping[str, RuntimeValue],
                     seconds: Mapping[int, float]) -> dict[str, float]:
    """Outputs that were delivered after their deadline and by how much; `seconds` when each was there."""
    objectives = program.regions[0].terminator.attributes.get("objective") or ()
    assert isinstance(objectives, tuple)
    late: dict[str, float] = {}
    for number, (name, objective) in enumerate(zip(output_names(program), objectives, strict=False)):
        if isinstance(objective, Word) and objective.name == "deadline" and name in outputs:
            deadline = objective.arguments[0]
            assert isinstance(deadline, int | float)
            if seconds[number] > deadline:
                late[name] = seconds[number] - deadline
    return late


def find_program(module: Module) -> Op:
    """The only program of a module. Raises InputError."""
    programs = [op for op in module.ops if op.name == "sem.program"]
    if len(programs) != 1:
        names = ", ".join(op.symbol for op in programs) or "none"
        raise InputError.of(NO_PROGRAM, f"a run needs a module with one program; this one has {names}")
    return programs[0]


def check_executable(module: Module, engines: Mapping[str, Engine]) -> None:
    """Raise InputError for operations that only higher levels have, and for models without an engine."""
    for op in walk([find_program(module)]):
        if op.name not in HANDLERS and op.name not in NOT_EXECUTED and op.name != "sem.program":
            raise InputError.of(WRONG_LEVEL, f"`{op.name}` cannot be executed: the module is not at the engine level",
                                fix="run the passes of -O0 at least")
        alias = str(op.attributes.get("model") or "") if op.name == "engine.fill" else None
        if alias is not None and alias not in engines and "" not in engines:
            raise InputError.of(NO_ENGINE, f"there is no engine for the model `{alias or 'default'}`")


def prepare_arguments(program: Op, arguments: Mapping[str, RuntimeValue], *, partial: bool = False) -> list[Any]:
    """The program's parameters in order: arguments checked and copied, defaults, and the first effect.

    `partial`: what has neither argument nor default is left out. Raises InputError with a diagnostic for every
    unknown, missing or wrong argument.
    """
    parameters = [p for p in program.regions[0].parameters if p.type != EFFECT]
    defaults = program.attributes.get("defaults")
    table = dict(defaults.entries) if isinstance(defaults, Table) else {}
    names = [p.name for p in parameters]
    problems = [_unknown(program, name, names) for name in arguments if name not in names]
    values: list[Any] = []
    for parameter in program.regions[0].parameters:
        if parameter.type == EFFECT:
            values.append(EFFECT)
        elif parameter.name in arguments:
            try:
                values.append(from_json(arguments[parameter.name], parameter.type))
            except ValueMismatch as error:
                problems.append(Diagnostic(WRONG_ARGUMENT, f"the argument `{parameter.name}` is wrong: {error}"))
        elif parameter.name in table:
            values.append(constant_value(table[parameter.name], parameter.type))
        elif not partial:
            problems.append(Diagnostic(
                WRONG_ARGUMENT, f"`{program.symbol}` needs the argument `{parameter.name}`, of type {parameter.type}",
                fix=f"--arg {parameter.name}=…"))
    if problems:
        raise InputError(problems)
    return values


def _unknown(program: Op, name: str, names: list[str]) -> Diagnostic:
    close = get_close_matches(name, names, 1)
    fix = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(names)}" if names else "it has none"
    return Diagnostic(WRONG_ARGUMENT, f"`{program.symbol}` has no parameter `{name}`", fix=fix)
