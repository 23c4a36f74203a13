"""The time that a run goes by: the machine's, or the one that its engines keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from .engine import Engine


class Clock(Protocol):
    """Time that passes by itself does so in `now` only; time that has to be advanced moves on with `advance`."""

    host_seconds: float | None
    """What a host call takes; None measures it."""

    @property
    def now(self) -> float:
        """Seconds, from any begin."""

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do `action` at `time`, from inside `advance`."""

    def advance(self) -> bool:
        """Let the next thing happen; False when nothing ever will."""


def virtual_clock(engines: Iterable[Engine]) -> Clock | None:
    """The clock that these engines keep, or the engines that they stand for; None where it is the machine's.

    Raises ValueError where they keep several: a run has one time.
    """
    clocks: dict[int, Clock | None] = {}
    for engine in engines:
        members: tuple[Engine, ...] = getattr(engine, "members", ())
        clock: Clock | None = virtual_clock(members) if members else getattr(engine, "clock", None)
        clocks[id(clock)] = clock
    if len(clocks) > 1:
        raise ValueError("the engines of a run must keep one and the same time")
    return next(iter(clocks.values()), None)


def real_time() -> float:
    """Seconds of the machine's clock."""
    return time.perf_counter()
