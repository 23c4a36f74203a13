"""Host calls: threads and coroutines, timeouts, retries, the memo of pure ones, values by deep copy."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ..ir.core import Module, Op, Table
from ..ir.reading import ValueMismatch, from_json
from ..ir.rendering import canonical_bytes, to_json
from ..ir.types import EFFECT, Type
from ..ir.values import Failure
from .cells import NOT_PLAIN, NotReady, collect_pending, force
from .failures import FailureKind, failure
from .host_import import HostImportError, load_host
from .host_workers import CoroutineLoop, Job, WorkerPool
from .pure_regions import first_failure
from .region_instance import OpTask

if TYPE_CHECKING:
    from .run import Run

FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
"""Seconds before the first retry, doubled before each further one, and their bound."""


class HostFunction:
    """A declaration `sem.host` and the Python function that it names, which is imported by the first call."""

    def __init__(self, op: Op, directory: str | None) -> None:
        attributes = op.attributes
        parameters = attributes.get("parameters")
        assert isinstance(parameters, Table)
        self.name = op.symbol
        self.target = str(attributes["target"])
        self.directory = str(attributes["directory"]) if attributes.get("directory") is not None else directory
        self.parameters: list[Type] = [t for _, t in parameters.entries if isinstance(t, Type)]
        result = attributes.get("result")
        self.result = result if isinstance(result, Type) else None
        self.pure = bool(attributes.get("pure"))
        timeout, retries = attributes.get("timeout"), attributes.get("retries")
        self.timeout = float(timeout) if isinstance(timeout, int | float) else None
        may_repeat = self.pure or bool(attributes.get("idempotent"))
        self.retries = retries if isinstance(retries, int) and may_repeat else 0
        self._function: Callable[..., Any] | None = None
        self._error: HostImportError | None = None

    def load(self) -> Callable[..., Any]:
        """The function. Raises HostImportError, the same one for every call of a run."""
        if self._error is not None:
            raise self._error
        if self._function is None:
            try:
                self._function = load_host(self.target, self.directory)
            except HostImportError as error:
                self._error = error
                raise
        return self._function

    def convert(self, value: object) -> Any:
        """A result as a runtime value, copied deeply. Raises ValueMismatch."""
        return None if self.result is None else from_json(value, self.result)

    def key(self, arguments: Sequence[Any]) -> bytes:
        """The canonical bytes of the arguments, each with its length in front."""
        parts = [canonical_bytes(v, t) for v, t in zip(arguments, self.parameters, strict=True)]
        return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


class Hosts:
    """The host functions of a run, what pure ones have answered, and the calls that are under way."""

    def __init__(self, run: Run, module: Module, directory: str | None) -> None:
        self.run = run
        self.functions = {op.symbol: HostFunction(op, directory) for op in module.ops if op.name == "sem.host"}
        self.memo: dict[tuple[str, bytes], Any] = {}
        self.sharing: dict[tuple[str, bytes], HostCall] = {}
        self.calls: set[HostCall] = set()
        self.pool = WorkerPool()
        self.loop = CoroutineLoop()

    @property
    def directories(self) -> list[str]:
        """Directories of the files that declare hosts."""
        return [f.directory for f in self.functions.values() if f.directory is not None]

    @property
    def working(self) -> bool:
        """Whether some function is being executed now."""
        return any(call.working for call in self.calls)

    def call(self, task: OpTask, arguments: list[Any]) -> None:
        """Run a host call, or share the answer of an equal call of a pure host."""
        host = self.functions[task.op.symbol]
        key = (host.name, host.key(arguments)) if host.pure else None
        if key is not None and key in self.memo:
            finish(task, self.memo[key])
        elif key is not None and key in self.sharing:
            self.sharing[key].tasks.append(task)
        else:
            call = HostCall(self, host, task, arguments, key)
            if key is not None:
                self.sharing[key] = call
            self.calls.add(call)
            call.attempt()

    def close(self) -> None:
        """Cancel coroutines and leave threads that are still busy behind."""
        for call in list(self.calls):
            call.abandon()
        self.calls.clear()
        self.pool.close()
        self.loop.close()


class HostCall:
    """One execution of a host function, with its retries; several tasks may wait for a pure one."""

    def __init__(self, hosts: Hosts, host: HostFunction, task: OpTask, arguments: list[Any],
                 key: tuple[str, bytes] | None) -> None:
        self.hosts = hosts
        self.host = host
        self.tasks = [task]
        self.arguments = arguments
        self.key = key
        self.attempts = 0
        self.current: int | None = None
        """The attempt that is under way; what an earlier one still reports is ignored."""
        self.job: Job | None = None
        self.cancel_coroutine: Callable[[], None] | None = None
        self.working = False
        """Whether the function is being executed; a retry may be waited for instead."""
        self._attempt_began = 0.0
        self.started = hosts.run.now()
        self.cause = hosts.run.log.cause
        hosts.run.outstanding += 1

    @property
    def op(self) -> Op:
        """The operation that called first."""
        return self.tasks[0].op

    def attempt(self) -> None:
        """Begin the next attempt in a worker thread."""
        self.attempts += 1
        self.current = number = self.attempts
        self.working = True
        self.job = self.hosts.pool.submit(lambda: self._work(number))

    def _work(self, number: int) -> None:
        """Call the function; runs in a worker thread."""
        run, host = self.hosts.run, self.host
        self._attempt_began = time.perf_counter()
        if host.timeout is not None:
            run.report(self, self._begun, (number, time.perf_counter() + host.timeout))
        try:
            function = host.load()
        except HostImportError as error:
            self._report(self._failed, (number, str(error), FailureKind.HOST, False))
            return
        try:
            copies = [to_json(v, t) for v, t in zip(self.arguments, host.parameters, strict=True)]
            result = function(*copies)
            if inspect.isawaitable(result):
                run.report(self, self._awaiting, (number, result))
                return
            value = host.convert(result)
        except BaseException as error:
            self._report(self._failed, (number, *self._describe(error), True))
        else:
            self._report(self._succeeded, (number, value))

    def _report(self, function: Callable[[Any], None], payload: Any) -> None:
        """Have the run's thread call `function(payload)`, when the attempt has taken its time in the run's."""
        self.hosts.run.report(self, self._worked, (function, payload, time.perf_counter() - self._attempt_began))

    def _worked(self, report: tuple[Callable[[Any], None], Any, float]) -> None:
        function, payload, seconds = report
        if payload[0] != self.current:
            return
        self.working = False
        clock = self.hosts.run.clock
        if clock is None:
            function(payload)
        else:
            spent = seconds if clock.host_seconds is None else clock.host_seconds
            self.hosts.run.after(spent, self, function, payload)

    def _describe(self, error: BaseException) -> tuple[str, FailureKind]:
        if isinstance(error, ValueMismatch):
            return f"the host function `{self.host.name}` gave a wrong value: {error}", FailureKind.BOUNDARY
        text = str(error)
        what = f"{type(error).__name__}: {text}" if text else type(error).__name__
        return f"the host function `{self.host.name}` raised {what}", FailureKind.HOST

    def _begun(self, payload: tuple[int, float]) -> None:
        number, deadline = payload
        self.hosts.run.at(deadline, self, self._timed_out, number)

    def _awaiting(self, payload: tuple[int, Any]) -> None:
        number, awaitable = payload
        if number == self.current:
            self.cancel_coroutine = self.hosts.loop.start(self._await(number, awaitable))
        elif isinstance(awaitable, Coroutine):
            awaitable.close()

    async def _await(self, number: int, awaitable: Any) -> None:
        try:
            value = self.host.convert(await awaitable)
        except BaseException as error:
            self._report(self._failed, (number, *self._describe(error), True))
        else:
            self._report(self._succeeded, (number, value))

    def _timed_out(self, number: int) -> None:
        if number == self.current and self.working:
            self._stop_attempt()
            message = f"the host function `{self.host.name}` did not answer within {self.host.timeout:g} s"
            self._failed((number, message, FailureKind.TIMEOUT, True))

    def _stop_attempt(self) -> None:
        if self.job is not None:
            self.hosts.pool.abandon(self.job)
        if self.cancel_coroutine is not None:
            self.cancel_coroutine()
        self.job = self.cancel_coroutine = None
        self.working = False

    def abandon(self) -> None:
        """Nobody waits for the call any more."""
        self.current = None
        self._stop_attempt()

    def _succeeded(self, payload: tuple[int, Any]) -> None:
        number, value = payload
        if number == self.current:
            if self.key is not None:
                self.hosts.memo[self.key] = value
            self._end(lambda task: finish(task, value), None)

    def _failed(self, payload: tuple[int, str, FailureKind, bool]) -> None:
        number, message, kind, again = payload
        if number != self.current:
            return
        self.current = None
        if again and self.attempts <= self.host.retries:
            delay = min(FIRST_DELAY * 2 ** (number - 1), LONGEST_DELAY)
            self.hosts.run.after(delay, self, self._retry, None)
            return
        if number > 1:
            message += f" (attempt {number} of {number})"
        self._end(lambda task: fail(task, failure(task.op, message, kind)), message)

    def _retry(self, _: None) -> None:
        if self in self.hosts.calls:
            self.attempt()

    def _end(self, give: Callable[[OpTask], None], error: str | None) -> None:
        hosts = self.hosts
        self.current = None
        self.working = False
        hosts.calls.discard(self)
        hosts.run.outstanding -= 1
        if self.key is not None:
            hosts.sharing.pop(self.key, None)
        hosts.run.host_ended(self, error)
        for task in self.tasks:
            give(task)


def run_host(task: OpTask) -> None:
    """`flow.host`: a failed argument means that the function does not run; effects go on in any case."""
    operands = task.raw_operands()
    cells: list[Any] = []
    for value in operands:
        if type(value) in NOT_PLAIN:
            collect_pending(value, cells)
    if cells:
        raise NotReady(cells)
    arguments = [force(value) for value in (operands[:-1] if task.layout.has_effect else operands)]
    failed = first_failure(arguments)
    if failed is not None:
        fail(task, failed)
    else:
        task.run.hosts.call(task, arguments)


def finish(task: OpTask, value: Any) -> None:
    """Give a host call's results: the value where there is a result, and the effect."""
    task.finish(*(EFFECT if result.type == EFFECT else value for result in task.op.results))


def fail(task: OpTask, failed: Failure) -> None:
    """Fail a host call; the failure of one with effects is reported even if nothing depends on it."""
    if task.layout.has_effect:
        task.run.effect_failed(task, failed)
    finish(task, failed)


HANDLERS = {"flow.host": run_host}
