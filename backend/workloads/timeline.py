"""The time in which a workload runs: virtual, or the machine's. One thread drives everything that happens in it."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from itertools import count
from queue import Empty, SimpleQueue
from typing import Protocol


class Timeline(Protocol):
    """What happens when. `simulate.virtual_clock.VirtualClock` is one."""

    @property
    def now(self) -> float:
        """Seconds, from any begin."""

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do `action` at `time`, or as soon as possible after it."""

    def advance(self) -> bool:
        """Let the next thing happen; False when nothing ever will."""


class RealTime:
    """A `Timeline` of the machine's clock; other threads may add to it."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    @property
    def now(self) -> float:
        """Seconds of `time.perf_counter`."""
        return time.perf_counter()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """See `Timeline`. Only for the thread that drives it."""
        heapq.heappush(self._timers, (time, next(self._numbers), action))

    def post(self, action: Callable[[], None]) -> None:
        """Do `action` as soon as possible; from any thread."""
        self._queue.put(action)

    def advance(self) -> bool:
        """Wait for the next thing and do it."""
        wait = self._timers[0][0] - self.now if self._timers else None
        try:
            action = self._queue.get(timeout=wait) if wait is None or wait > 0 else self._queue.get_nowait()
        except Empty:
            action = heapq.heappop(self._timers)[2]
        action()
        return True
