"""Virtual time: what happens next, and when. Nothing waits and nothing runs in threads, so runs are repeatable."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Protocol


class Actor(Protocol):
    """Something that begins work by itself when it has some and is not at work: an engine."""

    def begin(self) -> bool:
        """Begin what can be begun at the clock's time; whether there was anything."""


class VirtualClock:
    """Seconds of a simulation, from 0. `host_seconds`: what a host call takes; None measures it where it runs."""

    def __init__(self, *, host_seconds: float | None = None) -> None:
        self.now = 0.0
        self.host_seconds = host_seconds
        self.actors: list[Actor] = []
        self._numbers = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do `action` at `time`, or now if that is over; what is due at one time happens in the order of calls."""
        heapq.heappush(self._events, (max(time, self.now), next(self._numbers), action))

    def advance(self) -> bool:
        """Let the next thing happen; False when nothing ever will.

        What is due now comes before engines begin to work, so that calls of one instant share a step.
        """
        if not (self._events and self._events[0][0] <= self.now):
            for actor in self.actors:
                actor.begin()
        if not self._events:
            return False
        self.now, _, action = heapq.heappop(self._events)
        action()
        return True
