"""Which engine of a group each waiting call goes to, as `passes.placement` says.

What is known beside the engines' loads: how long the outputs of a site were so far, and on which engines a task group
runs that is to stay on a few of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..passes.engine_load import EngineLoad, WaitingCall
from ..passes.placement import place
from .group_calls import GroupCall
from .group_member import Member


class GroupPlacing:
    """Chooses engines, and remembers of calls what the next choices need."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[int, set[Member]]] = {}
        """Of task groups that may not be spread at will: calls that have not ended, and their engines."""
        self._lengths: dict[str, tuple[int, int]] = {}
        """Outputs of each site and the tokens that they had."""

    def expected_tokens(self, call: GroupCall) -> float:
        """What the outputs of its site had so far, else its budget."""
        count, tokens = self._lengths.get(call.label, (0, 0))
        return tokens / count if count else float(call.sampling.max_tokens)

    def choose(self, calls: Sequence[GroupCall], alive: Sequence[Member]) -> list[Member]:
        """An engine for each call; a task group that is to stay on a few engines is placed by itself."""
        chosen: dict[GroupCall, Member] = {}
        narrow: dict[str, list[GroupCall]] = {}
        free = []
        for call in calls:
            if call.priority.group is not None and call.priority.engines is not None:
                narrow.setdefault(call.priority.group, []).append(call)
            else:
                free.append(call)
        loads = [member.load for member in alive]
        for name, members in narrow.items():
            limit = members[0].priority.engines or 1
            used = {member for member in self._groups.get(name, (0, set()))[1] if member.alive}
            indices = self._narrowed(members, alive, used, limit)
            among = [loads[index] for index in indices]
            placement = place([_shape(call) for call in members], among)
            for call, choice in zip(members, placement.engines, strict=True):
                chosen[call] = alive[indices[choice]]
            loads = _with(loads, [(indices[choice], _shape(call))
                                  for call, choice in zip(members, placement.engines, strict=True)])
        if free:
            placement = place([_shape(call) for call in free], loads)
            chosen |= {call: alive[choice] for call, choice in zip(free, placement.engines, strict=True)}
        return [chosen[call] for call in calls]

    def _narrowed(self, calls: Sequence[GroupCall], alive: Sequence[Member], used: set[Member],
                  limit: int) -> list[int]:
        """The engines of a task group that is to have `limit` of them: those it has, then the best ones."""
        own = [index for index, member in enumerate(alive) if member in used]
        if len(own) >= limit or limit >= len(alive):
            return own if own and len(own) >= limit else list(range(len(alive)))
        placement = place([_shape(call) for call in calls], [member.load for member in alive])
        counts = {index: placement.engines.count(index) for index in range(len(alive))}
        others = sorted((index for index in counts if index not in own), key=lambda index: -counts[index])
        return sorted(own + others[: limit - len(own)])

    def started(self, call: GroupCall, member: Member) -> None:
        """`call` goes to `member`."""
        name = call.priority.group
        if name is not None and call.priority.engines is not None:
            count, used = self._groups.setdefault(name, (0, set()))
            self._groups[name] = count + 1, used | {member}

    def left(self, call: GroupCall) -> None:
        """`call` runs on its engine no longer."""
        name = call.priority.group
        if name is not None and name in self._groups:
            count, used = self._groups.pop(name)
            if count > 1:
                self._groups[name] = count - 1, used

    def ended(self, call: GroupCall, tokens: int) -> None:
        """`call` has an output of so many tokens."""
        count, earlier = self._lengths.get(call.label, (0, 0))
        self._lengths[call.label] = count + 1, earlier + tokens


def _shape(call: GroupCall) -> WaitingCall:
    assert call.waiting is not None
    return call.waiting


def _with(loads: Sequence[EngineLoad], added: Sequence[tuple[int, WaitingCall]]) -> list[EngineLoad]:
    """Loads with more calls."""
    changed = list(loads)
    for index in {index for index, _ in added}:
        changed[index] = loads[index].copy()
    for index, call in added:
        changed[index].add(call)
    return changed
