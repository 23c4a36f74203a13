"""Where a prefix is made: once, as far out as all of its users allow, where it is certain to be used.

From each operation that uses a prefix the place moves outwards, up to the scope that defines what the prefix holds:
through loops always (a prefix that a loop of no turns would have needed costs nothing on an engine that fills what
a call needs), out of the branches of a `flow.if` when both of them use it, and into a scope that uses it anyway. What
stays behind in a branch keeps a prefix of its own. With `speculate`, branches are left as well where several of them
have the prefix, or where that leaves a loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, TypeVar

from .scopes import Scope

Member = TypeVar("Member")


@dataclass(eq=False, slots=True)
class Group(Generic[Member]):
    """Users of one prefix that share it, and the place in front of all of them where it is made."""

    scope: Scope
    position: int
    members: list[Member]


class Placement(Generic[Member]):
    """Forms the groups of one prefix, scope by scope, the deepest first."""

    def __init__(self, home: Scope, *, speculate: bool) -> None:
        self._home = home
        self._speculate = speculate
        self._certain: dict[Scope, Group[Member]] = {}
        self._floating: dict[Scope, dict[Group[Member], int]] = {}
        """Groups in branches below a scope, with the position there of the operation around them."""
        self._half: dict[Scope, dict[int, tuple[Scope, Group[Member]]]] = {}
        """For each scope the branches that use the prefix while the other one may not, by the owner's position."""
        self._heap: list[tuple[int, int, Scope]] = []
        self._queued: dict[Scope, int] = {}

    def place(self, uses: Iterable[tuple[Scope, int, Member]]) -> list[Group[Member]]:
        """The groups; `uses` names scope, position and user."""
        for scope, position, member in uses:
            self._join(scope, Group(scope, position, [member]), position)
        while self._heap:
            scope = heappop(self._heap)[2]
            group = self._certain.get(scope)
            floating = self._floating.pop(scope, {})
            if group is not None:
                for other, position in floating.items():
                    _absorb(group, other, position)
                floating = {}
            if scope is self._home:
                return [group] if group is not None else self._settle(floating)
            self._climb(scope, group, floating)
        raise AssertionError("a use of a prefix lies outside of the scope that defines it")

    def _queue(self, scope: Scope) -> None:
        if scope not in self._queued:
            number = self._queued[scope] = len(self._queued)
            heappush(self._heap, (-scope.depth, number, scope))

    def _join(self, scope: Scope, group: Group[Member], position: int) -> None:
        """`group` is certainly used when `scope` runs, from `position` on."""
        self._queue(scope)
        known = self._certain.get(scope)
        if known is None:
            group.scope, group.position = scope, position
            self._certain[scope] = group
        else:
            _absorb(known, group, position)

    def _climb(self, scope: Scope, group: Group[Member] | None, floating: dict[Group[Member], int]) -> None:
        """Hand what was found in `scope` to the scope around it."""
        around, position = scope.around, scope.position
        assert around is not None
        self._queue(around)
        waiting = self._floating.setdefault(around, {})
        waiting.update(dict.fromkeys(floating, position))
        if group is None:
            return
        if scope.is_loop:
            self._join(around, group, position)
            return
        if scope.owner.name == "flow.if":
            halves = self._half.setdefault(around, {})
            other = halves.pop(position, None)
            if other is not None:
                del waiting[other[1]]
                _absorb(other[1], group, position)
                self._join(around, other[1], position)
                return
            halves[position] = scope, group
        waiting[group] = position

    def _settle(self, floating: dict[Group[Member], int]) -> list[Group[Member]]:
        """Groups that no scope around them is certain to use stay where they are."""
        groups = list(floating)
        home = self._home
        if not self._speculate or (len(groups) < 2 and all(g.scope.loops == home.loops for g in groups)):
            return groups
        first = Group(home, min(floating.values()), groups[0].members)
        for group in groups[1:]:
            first.members += group.members
        return [first]


def _absorb(group: Group[Member], other: Group[Member], position: int) -> None:
    """`group` serves the members of `other` as well, the first of which stands at `position` of its scope."""
    group.position = min(group.position, position)
    if len(other.members) > len(group.members):
        group.members, other.members = other.members, group.members
    group.members += other.members
