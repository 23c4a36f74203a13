"""In which order an engine serves calls: one pure function of what is known of a call and of when it came.

Each call is due at a time: urgent ones when their application came, ones with a deadline at their deadline, the
others `PATIENCE` seconds after their application came. Earlier due goes first; so an urgent call passes the others,
but not one that has waited for longer than that. Among calls due together, applications go in the order in which they
came, so that programs finish instead of interleaving. Inside an application, groups stay together; first come those
of the critical path (least slack), then those with the fewest calls to follow, then those that came first. A group
has the slack and depth of its first call, and its own calls are ordered in the same way.

Nobody starves: an application keeps its place for `SENIORITY` seconds only, then its place moves on with the clock.
So a call waits for no call that came later than `PATIENCE + SENIORITY` seconds after it.
Sources: Parrot (OSDI'24), section 5, for applications, groups and depth; earliest deadline first for what is due.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from .engine import Priority

PATIENCE = 30.0
"""Seconds for which calls that are not urgent let urgent ones pass."""
SENIORITY = 30.0
"""Seconds for which an application keeps the place of its first call."""
REMEMBERED = 1024
"""Applications without running calls whose place is remembered."""
URGENT_OBJECTIVES = ("latency", "ttft", "deadline")


class CallOrder(NamedTuple):
    """The place of a call, smaller first. The first five are those of its group; `group` is its first arrival."""

    due: float
    application: int
    group_slack: float
    group_depth: int
    group: int
    slack: float
    depth: int
    arrival: int

    @property
    def after_group(self) -> tuple[float, ...]:
        """A place after every call that is next to this one in its group, and before all other later calls."""
        return (*self[:5], math.inf)


def is_urgent(priority: Priority) -> bool:
    """Whether the latency of the call itself counts."""
    return priority.objective.startswith(URGENT_OBJECTIVES)


def due_time(priority: Priority, now: float, since: float) -> float:
    """When a call that comes `now` is due; `since`: when the first call of its application came."""
    came = max(since, now - SENIORITY)
    if not is_urgent(priority):
        return came + PATIENCE
    if priority.deadline is not None:
        return min(priority.deadline, now + PATIENCE)
    return came


def call_order(priority: Priority, *, now: float, since: float, leader: Priority, group: int,
               arrival: int) -> CallOrder:
    """The place of a call that comes `now` as number `arrival`; `leader`, `group`: the first call of its group."""
    return CallOrder(due_time(priority, now, since), priority.application, leader.slack, leader.depth, group,
                     priority.slack, priority.depth, arrival)


@dataclass
class _Group:
    arrival: int
    leader: Priority
    calls: int = 0


@dataclass
class _Application:
    since: float
    calls: int = 0


class CallOrders:
    """Remembers when applications and groups came."""

    def __init__(self) -> None:
        self._arrivals = count()
        self._groups: dict[str, _Group] = {}
        self._applications: OrderedDict[int, _Application] = OrderedDict()

    def enter(self, priority: Priority, now: float) -> CallOrder:
        """The place of a call that comes `now`."""
        arrival = next(self._arrivals)
        group = None if priority.group is None else self._groups.get(priority.group)
        if group is None:
            group = _Group(arrival, priority)
            if priority.group is not None:
                self._groups[priority.group] = group
        group.calls += 1
        application = self._applications.get(priority.application)
        if application is None:
            application = self._applications[priority.application] = _Application(now)
        application.calls += 1
        return call_order(priority, now=now, since=application.since, leader=group.leader, group=group.arrival,
                          arrival=arrival)

    def leave(self, priority: Priority) -> None:
        """A call has ended. Groups are forgotten with their last call, old applications some time after it."""
        if priority.group is not None:
            group = self._groups[priority.group]
            group.calls -= 1
            if not group.calls:
                del self._groups[priority.group]
        application = self._applications[priority.application]
        application.calls -= 1
        if not application.calls:
            self._applications.move_to_end(priority.application)
            oldest = next(iter(self._applications))
            if len(self._applications) > REMEMBERED and not self._applications[oldest].calls:
                del self._applications[oldest]
