"""What planners ask of a step, and of the steps that it follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .work_items import Indices, KeyRun, QuerySegment


class SlotChain(Protocol):
    """Steps that follow one another."""

    def slots_between(self, first: int, last: int) -> Indices:
        """Slots of the tokens of the steps `first` to `last - 1`, int64 [last - first, segments]."""


class PlannedStep(Protocol):
    """A step as `backend.model_runner.StepBatch` has it.

    Within a `chain` every segment is one token, the next of its context; `age` numbers its steps.
    """

    age: int
    positions: Indices

    @property
    def chain(self) -> SlotChain: ...

    @property
    def runs(self) -> Sequence[KeyRun]: ...

    @property
    def segments(self) -> Sequence[QuerySegment]: ...

    @property
    def can_be_followed(self) -> bool: ...
