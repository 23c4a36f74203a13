"""How engines and hosts, in threads of their own, reach the one thread that executes a run."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

from ..ir.core import Op

ANSWER_SECONDS = 0.05
"""How long an engine waits until a finished call has been answered."""
LONGEST_WAIT = 1e6
"""Seconds; the clocks of some platforms have no room for more."""


class Source(Protocol):
    """Who reports: names the operation in messages about defects."""

    @property
    def op(self) -> Op:
        """The operation that the report belongs to."""


class Report(NamedTuple):
    """Something to be done by the run's thread: `function(payload)`."""

    source: Source | None
    function: Callable[[Any], None]
    payload: Any


class Inbox:
    """A queue of reports, and timers. The run's thread takes and answers, any thread may put."""

    def __init__(self) -> None:
        self.closed = False
        self._queue: SimpleQueue[Report] = SimpleQueue()
        self._timers: list[tuple[float, int, Report]] = []
        self._numbers = itertools.count()
        self._answer = threading.Condition()
        self._put = self._taken = self._answered = 0
        self._unresponsive = False
        self._owner = threading.get_ident()

    def own(self) -> None:
        """The calling thread is the one that takes and answers."""
        self._owner = threading.get_ident()

    def put(self, report: Report, *, wait: bool = False) -> None:
        """Add a report; ignored once the run is over.

        With `wait`, return when it has been answered, or after a moment: an engine that waits so before its next
        step lets calls that become ready together begin together.
        """
        with self._answer:
            if self.closed:
                return
            self._put += 1
            number = self._put
            self._queue.put(report)
            if not wait or threading.get_ident() == self._owner:
                return
            answered = self._answer.wait_for(
                lambda: self._answered >= number or self.closed or self._unresponsive, ANSWER_SECONDS)
            if not answered:
                self._unresponsive = True

    def put_at(self, deadline: float, report: Report) -> None:
        """Add a report at a time of `time.perf_counter`."""
        heapq.heappush(self._timers, (deadline, next(self._numbers), report))

    def take(self, deadline: float | None) -> list[Report]:
        """Everything that is there or due; waits for the first, no longer than until `deadline`."""
        times = [t for t in (deadline, self._timers[0][0] if self._timers else None) if t is not None]
        wait = min(max(0.0, min(times) - time.perf_counter()), LONGEST_WAIT) if times else None
        reports: list[Report] = []
        try:
            reports.append(self._queue.get(timeout=wait) if wait is None or wait > 0 else self._queue.get_nowait())
            while True:
                reports.append(self._queue.get_nowait())
        except Empty:
            pass
        self._taken += len(reports)
        now = time.perf_counter()
        while self._timers and self._timers[0][0] <= now:
            reports.append(heapq.heappop(self._timers)[2])
        return reports

    def settle(self) -> None:
        """Everything that was taken has been answered: whoever waits for that may go on."""
        with self._answer:
            self._answered = self._taken
            self._unresponsive = False
            self._answer.notify_all()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return self._queue.empty()

    def close(self) -> None:
        """The run is over: nobody is kept waiting, and reports are dropped."""
        with self._answer:
            self.closed = True
            self._timers.clear()
            self._answer.notify_all()
