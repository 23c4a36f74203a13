"""What a run asked of its engines, and what each request waited for: enough to run it again by the cost model alone.

Everything is noted under its cause: the call or host whose end the run was answering when it asked.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from .engine import Priority

MOST_ACTIONS = 300_000
"""Longer runs are not noted."""
BEGIN: Hashable = None
"""The cause of what a run asks at its begin."""


@dataclass(frozen=True, slots=True)
class LoggedFill:
    """`context` is `parent` (a context, or the root 0) followed by tokens."""

    engine: int
    context: int
    parent: int
    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A generate of at most `tokens` tokens."""

    engine: int
    context: int
    parent: int
    tokens: int
    priority: Priority


@dataclass(frozen=True, slots=True)
class LoggedFree:
    """A context was given up."""

    engine: int
    context: int


@dataclass(frozen=True, slots=True)
class LoggedHost:
    """A host call ended under the cause `key`, so many seconds after it had been asked for."""

    key: Hashable
    seconds: float


Action = LoggedFill | LoggedCall | LoggedFree | LoggedHost


@dataclass
class RunLog:
    """Actions by cause, in order. `ends`: of finished outputs, how many of the tokens that their contexts keep had been
    computed, and how many had not.
    """

    actions: dict[Hashable, list[Action]] = field(default_factory=dict)
    cause: Hashable = BEGIN
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)
    count: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything was noted."""
        return self.count <= MOST_ACTIONS

    def note(self, action: Action) -> None:
        """The run asks for `action` now."""
        self.note_under(self.cause, action)

    def note_under(self, cause: Hashable, action: Action) -> None:
        """The run asked for `action` when it answered `cause`."""
        self.count += 1
        if self.count <= MOST_ACTIONS:
            self.actions.setdefault(cause, []).append(action)
        elif self.actions:
            self.actions.clear()
