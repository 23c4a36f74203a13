"""A generate of a group of engines, which may begin again on another engine: what it released stays released."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..passes.engine_load import Demand, WaitingCall
from .engine import Callbacks, EngineError, Priority, SamplingOptions
from .group_contexts import GroupContext
from .group_member import Member

URGENT_OBJECTIVES = ("latency", "ttft", "deadline")


@dataclass(eq=False)
class GroupCall:
    """One generate. `attempt` counts its engines; reports of earlier ones are ignored."""

    context: GroupContext
    sampling: SamplingOptions
    callbacks: Callbacks
    priority: Priority
    label: str
    attempt: int = 0
    member: Member | None = None
    waiting: WaitingCall | None = None
    demand: Demand | None = None
    aborted: bool = False
    ended: bool = False
    released: str = ""
    """Text that the caller has been given."""
    repeated: str = field(default="", repr=False)
    """Text of this attempt."""

    @property
    def parent(self) -> GroupContext:
        """The context that the call continues."""
        assert self.context.parent is not None
        return self.context.parent

    @property
    def is_urgent(self) -> bool:
        """Whether its own latency counts."""
        return self.priority.objective.startswith(URGENT_OBJECTIVES)

    def begin(self, member: Member) -> None:
        """It is sent to an engine."""
        assert self.waiting is not None
        self.attempt += 1
        self.repeated = ""
        self.member = member
        self.demand = member.begin(self.waiting)

    def leave(self) -> Member:
        """It has ended on its engine, whatever came of it."""
        member, waiting, demand = self.member, self.waiting, self.demand
        assert member is not None and waiting is not None and demand is not None
        member.end(waiting, demand)
        self.member = self.demand = None
        return member

    def new_text(self, text: str) -> str:
        """What of a further piece of text the caller has not been given yet.

        Raises EngineError when the text differs from what was released: an engine failed, and another one does not
        compute the same.
        """
        self.repeated += text
        size = min(len(self.repeated), len(self.released))
        if self.repeated[:size] != self.released[:size]:
            raise text_differs()
        new = self.repeated[len(self.released):]
        self.released += new
        return new


def text_differs() -> EngineError:
    """The error of a call that was begun again and answers something else, after text had been released."""
    return EngineError("an engine failed after text had been released, and the text differs on another engine")
